//! Every metric on real servers: a few devices whose events fit on a page, and the numbers that a person gets who counts
//! them by hand. The report has the same numbers as the queries.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::Instant,
};

use devstack::{pipeline::Pipeline, query};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;
use system_tests::{WAIT, eventually, pipeline_without_topics, stack, start_stages, topic};

mod clients;
mod daily;
mod report;

use clients::clients;
use daily::DAILY;
use report::the_report_equals_the_queries;

const ZONE: &str = "Asia/Shanghai";
/// The day of most events, in days before today.
const DAY: i64 = 3;

/// A business day, in days before [`DAY`]. Today is read once: the test may run past midnight.
fn day(before: i64) -> Date {
    static TODAY: OnceLock<Date> = OnceLock::new();
    let today = TODAY.get_or_init(|| Timestamp::now().to_zoned(TimeZone::get(ZONE).unwrap()).date());
    *today - Span::new().days(DAY + before)
}

/// Epoch milliseconds of a minute of that day's morning.
fn at(before: i64, minute: i64) -> i64 {
    let ten = day(before).at(10, 0, 0, 0).to_zoned(TimeZone::get(ZONE).unwrap()).unwrap();
    ten.timestamp().as_millisecond() + minute * 60_000
}

/// A pipeline with events: each once, one of them twice, and a record that is not JSON.
struct Sent {
    pipeline: Pipeline,
    events: Vec<Value>,
    /// Before the first was sent.
    started: Instant,
}

fn through_the_stages() -> Sent {
    let mut pipeline = pipeline_without_topics("metrics");
    pipeline.set("MILLRACE__INGEST__MAX_EVENT_AGE", "60d");
    pipeline.create().unwrap();
    let create = ["activity", "create", "--id", "draw-1", "--name", "Draw", "--event", "visit=Visit"];
    pipeline.millrace(&[&create[..], &["--event", "done=Done"]].concat()).unwrap();
    let mut stages = start_stages(&pipeline);
    let events = clients().events;
    let started = Instant::now();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let topic = topic(&pipeline, "raw-events");
    let again = events.iter().find(|event| event["anonymous_id"] == "web-1").unwrap().to_string();
    let payloads = events.iter().map(Value::to_string).chain([again, "{".to_owned()]);
    for payload in payloads {
        // One partition, so that the order of the records is that of their processing.
        let record = BaseRecord::<(), _>::to(&topic).partition(0).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let number = |what: &str, view: &str| {
        let sql = format!("SELECT {what} FROM {}.{view}", pipeline.name());
        query(stack().clickhouse_url(), &sql).ok()?.trim().parse::<usize>().ok()
    };
    let all = events.len() + 2;
    eventually("received", WAIT, || (number("sumIf(events, pane = '60s')", "quality")? == all).then_some(()));
    let rejected =
        query(stack().clickhouse_url(), &format!("SELECT message FROM {}.dead_letters", pipeline.name()));
    assert_eq!(number("count()", "dead_letters"), Some(1), "{}", rejected.unwrap());
    eventually("counted in lane report", WAIT, || {
        (number("sumIf(events, pane = '1d')", "traffic")? == events.len()).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap();
    Sent { pipeline, events, started }
}

/// The rows of a query as `dimension|dimension` and value; of a series with the time in front.
fn ask(pipeline: &Pipeline, question: &str) -> BTreeMap<String, Option<f64>> {
    let words: Vec<&str> = question.split_whitespace().collect();
    let said = pipeline.millrace(&[&["metrics", "query"], &words[..], &["--json"]].concat());
    let said = said.unwrap_or_else(|error| panic!("{question}: {error}"));
    let answer: Value = serde_json::from_str(&said).unwrap();
    let by = answer["by"].as_array().unwrap();
    let rows = answer["rows"].as_array().unwrap().iter().map(|row| {
        let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
        let time = text("time");
        let names = by.iter().map(|name| text(name.as_str().unwrap()));
        let parts: Vec<String> = std::iter::once(time).filter(|time| !time.is_empty()).chain(names).collect();
        (parts.join("|"), row["value"].as_f64())
    });
    rows.collect()
}

/// The devices of each day, by definition `any`.
fn active_days(events: &[Value]) -> BTreeMap<Date, BTreeSet<String>> {
    let mut days: BTreeMap<Date, BTreeSet<String>> = BTreeMap::new();
    for event in events {
        let at = Timestamp::from_millisecond(event["original_timestamp"].as_i64().unwrap()).unwrap();
        let day = at.to_zoned(TimeZone::get(ZONE).unwrap()).date();
        days.entry(day).or_default().insert(event["anonymous_id"].as_str().unwrap().to_owned());
    }
    days
}

fn monday(day: Date) -> Date {
    day - Span::new().days(day.weekday().to_monday_zero_offset())
}

/// The difference between an answer and the expected one; shares are equal to nine digits. A sum may be 0 for a dimension
/// that exists for another measure of its cube.
fn difference(
    question: &str,
    found: &BTreeMap<String, Option<f64>>,
    expected: &[(String, Option<f64>)],
) -> Option<String> {
    let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        (a, b) => a == b,
    };
    let all = expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| close(*found, *value)));
    let no_more = found
        .iter()
        .all(|(key, value)| *value == Some(0.0) || expected.iter().any(|(expected, _)| expected == key));
    (!all || !no_more).then(|| format!("{question}\nfound    {found:?}\nexpected {expected:?}"))
}

fn assert_answer(question: &str, found: &BTreeMap<String, Option<f64>>, expected: &[(String, Option<f64>)]) {
    let difference = difference(question, found, expected);
    assert!(difference.is_none(), "{}", difference.unwrap());
}

#[test]
fn every_metric_equals_a_count_by_hand_and_the_report_has_the_same_numbers() {
    let Sent { pipeline, events, started } = through_the_stages();
    let asked = the_day_is_right(&pipeline);
    let asked = &asked | &periods_are_right(&pipeline, &events);
    let asked = &asked | &retention_is_right(&pipeline);
    let asked = &asked | &quality_is_right(&pipeline, events.len() as f64, started);
    every_definition_was_queried(&pipeline, &asked);
    the_interval_of_a_lift_is_that_of_two_proportions(&pipeline);
    definitions_are_loaded_once(&pipeline);
    the_report_equals_the_queries(&pipeline);
}

/// As of the end of the day.
fn as_of() -> String {
    format!("{}T00:00:00+08:00", day(-1))
}

fn the_day_is_right(pipeline: &Pipeline) -> BTreeSet<String> {
    let (day, as_of) = (day(0), as_of());
    let mut differences = Vec::new();
    for (question, expected) in DAILY {
        let found = ask(pipeline, &format!("{question} --from {day} --to {day} --at {as_of}"));
        let series = question.starts_with("active_devices_day");
        let expected: Vec<(String, Option<f64>)> = expected
            .iter()
            .map(|(key, value)| match (series, key.is_empty() && !question.contains("--by")) {
                (true, true) => (day.to_string(), *value),
                (true, false) => (format!("{day}|{key}"), *value),
                (false, _) => ((*key).to_owned(), *value),
            })
            .collect();
        differences.extend(difference(question, &found, &expected));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    DAILY.iter().map(|(question, _)| definition_of(question)).collect()
}

/// Unique devices of days, weeks and months equal a naive count over the events.
fn periods_are_right(pipeline: &Pipeline, events: &[Value]) -> BTreeSet<String> {
    let days = active_days(events);
    let as_of = format!("{}T00:00:00+08:00", day(-DAY - 1));
    let mut asked = BTreeSet::new();
    let grouped = |begin: fn(Date) -> Date| {
        let mut groups: BTreeMap<Date, BTreeSet<&String>> = BTreeMap::new();
        for (day, devices) in &days {
            groups.entry(begin(*day)).or_default().extend(devices);
        }
        groups
    };
    for (name, begin) in [
        ("active_devices_day", (|day| day) as fn(Date) -> Date),
        ("active_devices_week", monday),
        ("active_devices_month", Date::first_of_month),
    ] {
        let question = format!("{name} --from {} --at {as_of}", day(31));
        let expected: Vec<(String, Option<f64>)> = grouped(begin)
            .iter()
            .map(|(begin, devices)| (begin.to_string(), Some(devices.len() as f64)))
            .collect();
        assert_answer(&question, &ask(pipeline, &question), &expected);
        // Two logins on two days: in one week or month they are still two devices.
        for (definition, devices) in [("login", 2.0), ("core_flow", 1.0)] {
            let question = format!("{name} --definition {definition} --from {} --at {as_of}", day(31));
            let found: f64 = ask(pipeline, &question).values().flatten().sum();
            assert!((found - devices).abs() < 1e-9, "{question}: {found}");
            asked.insert(definition_of(&question));
        }
        asked.insert(definition_of(&question));
    }
    // The average day of a month that is over, or as much of it as has begun, divided by the month.
    let today = day(-DAY);
    for (definition, days_active) in [("any", None), ("login", Some(1.0)), ("core_flow", Some(1.0))] {
        let question = format!("stickiness --definition {definition} --from {} --at {as_of}", day(31));
        let found = ask(pipeline, &question);
        for (month, devices) in grouped(Date::first_of_month) {
            let begun = days_begun(month, today);
            let active: usize = days
                .iter()
                .filter(|(day, _)| day.first_of_month() == month)
                .map(|(_, devices)| devices.len())
                .sum();
            let key = month.to_string();
            match days_active {
                None => {
                    let expected = active as f64 / begun / devices.len() as f64;
                    assert!((found[&key].unwrap() - expected).abs() < 1e-9, "{question}: {found:?}");
                }
                // One day for each device, whenever it was; no device, no number.
                Some(one) => assert!(
                    found.get(&key).copied().flatten().is_none_or(|value| (value - one / begun).abs() < 1e-9),
                    "{question}: {found:?}"
                ),
            }
        }
        asked.insert(definition_of(&question));
    }
    let on_the_day = events.iter().filter(|event| {
        let at = event["original_timestamp"].as_i64().unwrap();
        (self::at(0, -600)..self::at(0, 840)).contains(&at)
    });
    let question = format!("events --from {0} --to {0}", day(0));
    assert_answer(&question, &ask(pipeline, &question), &[(String::new(), Some(on_the_day.count() as f64))]);
    asked.insert(definition_of(&question));
    asked
}

/// Days of the month that have begun when `tomorrow` has not: the question is asked at its midnight.
fn days_begun(month: Date, today: Date) -> f64 {
    let last = month.last_of_month().min(today + Span::new().days(1));
    f64::from((last - month).get_days() + 1)
}

fn retention_is_right(pipeline: &Pipeline) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    let as_of = as_of();
    for (days, definition, cohort, expected) in [
        (1, "any", 1, Some(1.0)),
        (1, "any", 8, Some(0.5)),
        (1, "login", 8, Some(0.0)),
        (1, "core_flow", 1, Some(1.0)),
        // The next day is not over: unknown, not 0.
        (1, "any", 0, None),
        (3, "any", 8, Some(0.0)),
        (3, "login", 8, Some(0.0)),
        (3, "core_flow", 8, Some(0.0)),
        (7, "any", 8, Some(0.5)),
        (7, "login", 8, Some(0.5)),
        (7, "core_flow", 8, Some(0.0)),
        (14, "any", 8, None),
        (14, "any", 31, Some(0.0)),
        (14, "login", 31, Some(0.0)),
        (14, "core_flow", 31, Some(0.0)),
        (30, "any", 31, Some(1.0)),
        (30, "login", 31, Some(0.0)),
        (30, "core_flow", 31, Some(0.0)),
        (30, "any", 8, None),
    ] {
        let cohort = day(cohort);
        let question = format!(
            "retention_day_{days} --definition {definition} --from {cohort} --to {cohort} --step day --at {as_of}"
        );
        assert_answer(&question, &ask(pipeline, &question), &[(cohort.to_string(), expected)]);
        asked.insert(definition_of(&question));
    }
    for definition in ["any", "login", "core_flow"] {
        let question =
            format!("retention --definition {definition} --from {0} --to {0} --at {as_of}", day(8));
        let found = ask(pipeline, &question);
        let expected: Vec<(String, Option<f64>)> = (0..31)
            .map(|days| {
                let share = match (days, definition) {
                    (0, "any") => Some(1.0),
                    (1, "any") | (7, "any" | "login") => Some(0.5),
                    (0..=8, _) => Some(0.0),
                    _ => None,
                };
                (days.to_string(), share)
            })
            .collect();
        assert_answer(&question, &found, &expected);
        asked.insert(definition_of(&question));
    }
    asked
}

/// By the time of receipt, which is the time of this test.
fn quality_is_right(pipeline: &Pipeline, events: f64, started: Instant) -> BTreeSet<String> {
    let questions = [
        ("received --by kind", vec![("dead_letter", 1.0), ("duplicate", 1.0), ("event", events)]),
        ("dead_letters --by code", vec![("malformed_json", 1.0)]),
        ("client_loss_rate", vec![("", 2.0 / (events + 2.0))]),
        ("duplicate_rate", vec![("", 1.0 / (events + 2.0))]),
        ("late_rate", vec![("", (events - 1.0) / events)]),
        ("completeness", vec![("", events / (events + 3.0))]),
        ("completeness --definition of_received", vec![("", (events + 1.0) / (events + 2.0))]),
    ];
    let mut asked = BTreeSet::new();
    for (question, expected) in questions {
        let expected: Vec<(String, Option<f64>)> =
            expected.into_iter().map(|(key, value)| (key.to_owned(), Some(value))).collect();
        // Two days: midnight may pass while the test runs.
        assert_answer(question, &ask(pipeline, &format!("{question} --from 2d")), &expected);
        asked.insert(definition_of(question));
    }
    let age = ask(pipeline, "freshness --from 2d")[""].unwrap();
    assert!((0.0..=started.elapsed().as_secs_f64()).contains(&age), "{age}");
    let nothing = ask(pipeline, &format!("freshness --from {0} --to {0}", day(20)));
    assert!(nothing.values().all(Option::is_none), "{nothing:?}");
    asked.insert("freshness".to_owned());
    asked
}

/// `metric:definition` of a question, without the definition when it names none.
fn definition_of(question: &str) -> String {
    let mut words = question.split_whitespace();
    let name = words.next().unwrap();
    match words.skip_while(|word| *word != "--definition").nth(1) {
        Some(definition) => format!("{name}:{definition}"),
        None => name.to_owned(),
    }
}

fn every_definition_was_queried(pipeline: &Pipeline, asked: &BTreeSet<String>) {
    let list: Value =
        serde_json::from_str(&pipeline.millrace(&["metrics", "list", "--json"]).unwrap()).unwrap();
    let mut missing = Vec::new();
    for metric in list.as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        for (nth, definition) in metric["definitions"].as_array().unwrap().iter().enumerate() {
            let full = format!("{name}:{}", definition.as_str().unwrap());
            let by_name = nth == 0 && asked.contains(name);
            if !by_name && !asked.contains(&full) {
                missing.push(full);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?} was not compared");
}

fn the_interval_of_a_lift_is_that_of_two_proportions(pipeline: &Pipeline) {
    let question = ["metrics", "query", "experiment_lift", "--definition", "exposed_register", "--json"];
    let day = day(0).to_string();
    let said = pipeline.millrace(&[&question[..], &["--from", &day, "--to", &day]].concat()).unwrap();
    let answer: Value = serde_json::from_str(&said).unwrap();
    // 2 of 5 against 1 of 5: the logarithm of their ratio is off by sqrt(1/2 - 1/5 + 1/1 - 1/5).
    let reach = 1.959_964 * 1.1_f64.sqrt();
    for (name, expected) in [("low", 2.0 * (-reach).exp() - 1.0), ("high", 2.0 * reach.exp() - 1.0)] {
        let found = answer["rows"][0][name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "{name}: {found}, not {expected}");
    }
}

fn definitions_are_loaded_once(pipeline: &Pipeline) {
    let count = |what: &str| {
        let sql = format!("SELECT {what} FROM {}.metric_definitions FINAL WHERE current", pipeline.name());
        query(stack().clickhouse_url(), &sql).unwrap().trim().parse::<u64>().unwrap()
    };
    let (rows, names) = (count("count()"), count("uniqExact(name)"));
    assert!(names >= 60 && rows > names, "{names} metrics with {rows} definitions");
    let again = pipeline.millrace(&["migrate"]).unwrap();
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(count("countIf(words_zh = '' OR words_en = '' OR sql = '')"), 0);
    assert_eq!(count("count()"), rows);
}
