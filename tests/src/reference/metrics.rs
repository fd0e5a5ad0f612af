//! Every metric as its words define it, from events and plain sets of devices, without cubes and without SQL.

use std::collections::{BTreeMap, BTreeSet};

use super::Reference;
use super::day::{day_of, month_of, start_of, week_of, written};
use super::event::{Definition, Event};

/// What is asked: whole business days, both included.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// First business day.
    pub from: i64,
    /// Last business day.
    pub to: i64,
    /// The present, epoch ms.
    pub now: i64,
    /// One value for each of these.
    pub step: Step,
}

/// Periods of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The whole range.
    Total,
    /// Business days.
    Day,
    /// Weeks from Monday.
    Week,
    /// Calendar months.
    Month,
}

/// One number; none where it is not known. With a confidence interval where the metric has one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Value {
    /// The number.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// Numbers by period (its first day; '' for the whole range) and dimensions.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether the pipeline may estimate it by a sketch.
    pub estimate: bool,
    /// By period and dimensions.
    pub rows: BTreeMap<(String, Vec<String>), Value>,
}

/// What is known of one group of events.
struct Group<'e> {
    /// Values of the dimensions it is split by.
    key: &'e [String],
    /// Its events.
    own: &'e [&'e Event],
    /// All events of the period, of any group.
    all: &'e [&'e Event],
}

/// How a metric follows from events.
struct Metric {
    each: &'static [&'static str],
    time: fn(&Event) -> Option<i64>,
    of: fn(&Event) -> bool,
    estimate: bool,
    value: Box<dyn Fn(&Group<'_>) -> Value>,
}

/// The events of one group.
type Own<'e> = &'e [&'e Event];

/// Any number of groups of these events.
fn grouped(of: fn(&Event) -> bool, value: impl Fn(&Group<'_>) -> Value + 'static) -> Metric {
    Metric { each: &[], time: happened, of, estimate: false, value: Box::new(value) }
}

/// A plain number of these events.
fn number(of: fn(&Event) -> bool, value: impl Fn(Own<'_>) -> f64 + 'static) -> Metric {
    grouped(of, move |group| plain(value(group.own)))
}

/// A ratio of two numbers of these events.
fn share(
    of: fn(&Event) -> bool,
    above: impl Fn(Own<'_>) -> f64 + 'static,
    below: impl Fn(Own<'_>) -> f64 + 'static,
) -> Metric {
    grouped(of, move |group| ratio(above(group.own), below(group.own)))
}

impl Metric {
    /// Always split by these.
    fn by(self, each: &'static [&'static str]) -> Self {
        Self { each, ..self }
    }

    /// By another time than that of the event.
    fn at(self, time: fn(&Event) -> Option<i64>) -> Self {
        Self { time, ..self }
    }

    /// The pipeline uses a sketch.
    fn estimated(self) -> Self {
        Self { estimate: true, ..self }
    }
}

/// The metric as it must be; none when no such metric is known here.
pub fn answer(reference: &Reference, name: &str, definition: &str, question: &Question) -> Option<Answer> {
    let known = ["any", "login", "core_flow"].into_iter().find(|known| *known == definition);
    match (name, known) {
        ("active_devices_day", Some(of)) => Some(active(reference, of, question, |day| day)),
        ("active_devices_week", Some(of)) => Some(active(reference, of, question, week_of)),
        ("active_devices_month", Some(of)) => Some(active(reference, of, question, month_of)),
        ("stickiness", Some(of)) => Some(stickiness(reference, of, question)),
        ("retention", Some(of)) => Some(retention(reference, of, question, None)),
        (name, Some(of)) if name.starts_with("retention_day_") => {
            let after = name.trim_start_matches("retention_day_").parse().ok()?;
            Some(retention(reference, of, question, Some(after)))
        }
        ("sessions_per_device", None) if definition == "per_day" => {
            Some(sessions_per_day(reference, question))
        }
        ("freshness", None) => {
            let received = reference.events.iter().map(|event| event.received_at);
            let newest = received.chain(reference.rejected.iter().copied()).max()?;
            let value = plain((question.now - newest) as f64 / 1_000.0);
            Some(Answer { estimate: false, rows: BTreeMap::from([((String::new(), Vec::new()), value)]) })
        }
        _ => Some(of_events(reference, &metric(name, definition)?, question)),
    }
}

fn plain(value: f64) -> Value {
    Value { value: Some(value), interval: None }
}

fn ratio(above: f64, below: f64) -> Value {
    Value { value: (below != 0.0).then(|| above / below), interval: None }
}

/// First business day of the period a day belongs to.
fn period(day: i64, step: Step) -> String {
    match step {
        Step::Total => String::new(),
        Step::Day => written(day),
        Step::Week => written(week_of(day) * 7 - 3),
        Step::Month => format!("{}-01", &written(day)[..7]),
    }
}

fn active(reference: &Reference, of: Definition, question: &Question, by: fn(i64) -> i64) -> Answer {
    let mut rows = BTreeMap::new();
    let active = reference.active_devices(of, by);
    let periods: BTreeMap<i64, i64> = (question.from..=question.to).rev().map(|day| (by(day), day)).collect();
    for (at, devices) in active {
        if let Some(day) = periods.get(&at) {
            rows.insert((period(*day, question.step), Vec::new()), plain(devices as f64));
        }
    }
    Answer { estimate: false, rows }
}

fn stickiness(reference: &Reference, of: Definition, question: &Question) -> Answer {
    let days = reference.active_devices(of, |day| day);
    let today = day_of(question.now);
    let mut rows = BTreeMap::new();
    for (month, devices) in reference.active_devices(of, month_of) {
        let in_month = |day: &i64| month_of(*day) == month;
        let begun = (question.from - 31..=today).filter(in_month).count();
        let active: u64 = days.iter().filter(|(day, _)| in_month(day)).map(|(_, devices)| devices).sum();
        let first = (question.from - 31..=question.to).find(in_month).unwrap_or(question.from);
        let value = ratio(active as f64 / begun as f64, devices as f64);
        rows.insert((period(first, question.step), Vec::new()), value);
    }
    Answer { estimate: false, rows }
}

/// Of the devices new on a day the share active so many days later, over all first days of the range; NULL while that day
/// is not over.
fn retention(reference: &Reference, of: Definition, question: &Question, after: Option<i64>) -> Answer {
    let retained = reference.retained(of);
    let new = reference.new_devices();
    let today = day_of(question.now);
    let mut rows = BTreeMap::new();
    for days in after.map_or(0..=30, |after| after..=after) {
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (cohort, size) in new.range(question.from..=question.to) {
            let sum = sums.entry(period(*cohort, question.step)).or_default();
            if cohort + days < today {
                sum.0 += retained.get(&(*cohort, cohort + days)).copied().unwrap_or(0);
                sum.1 += size;
            }
        }
        for (period, (retained, size)) in sums {
            let key = if after.is_some() { Vec::new() } else { vec![days.to_string()] };
            rows.insert((period, key), ratio(retained as f64, size as f64));
        }
    }
    Answer { estimate: false, rows }
}

fn sessions_per_day(reference: &Reference, question: &Question) -> Answer {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let in_range = |day: &i64| (question.from..=question.to).contains(day);
    for (day, devices) in reference.active_devices("any", |day| day) {
        if in_range(&day) {
            sums.entry(period(day, question.step)).or_default().1 += devices as f64;
        }
    }
    for event in &reference.events {
        let day = day_of(event.event_time);
        if in_range(&day) {
            sums.entry(period(day, question.step)).or_default().0 += event.number("session_start") as f64;
        }
    }
    let row = |(period, (sessions, devices))| ((period, Vec::new()), ratio(sessions, devices));
    Answer { estimate: false, rows: sums.into_iter().map(row).collect() }
}

fn of_events(reference: &Reference, metric: &Metric, question: &Question) -> Answer {
    let letter = |&received_at: &i64| Event { kind: "dead_letter", received_at, ..Event::default() };
    let letters: Vec<Event> = reference.rejected.iter().map(letter).collect();
    let mut periods: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
    for event in reference.events.iter().chain(&letters).filter(|event| (metric.of)(event)) {
        if let Some(time) = (metric.time)(event)
            && (question.from..=question.to).contains(&day_of(time))
        {
            periods.entry(period(day_of(time), question.step)).or_default().push(event);
        }
    }
    let mut rows = BTreeMap::new();
    for (period, all) in periods {
        let mut groups: BTreeMap<Vec<String>, Vec<&Event>> = BTreeMap::new();
        for event in &all {
            for key in keys(event, metric.each) {
                groups.entry(key).or_default().push(event);
            }
        }
        for (key, own) in &groups {
            let value = (metric.value)(&Group { key, own, all: &all });
            rows.insert((period.clone(), key.clone()), value);
        }
    }
    // The control is not compared with itself.
    rows.retain(|_, value| value.value.is_none_or(f64::is_finite));
    Answer { estimate: metric.estimate, rows }
}

fn keys(event: &Event, each: &[&str]) -> Vec<Vec<String>> {
    if each.contains(&"experiment") {
        let key = |(name, variant): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
            vec![name.to_string(), variant.to_string()]
        };
        return event.experiments.iter().map(key).collect();
    }
    vec![each.iter().map(|name| event.text(name).to_owned()).collect()]
}

fn counted(events: &[&Event], of: impl Fn(&Event) -> bool) -> f64 {
    events.iter().filter(|event| of(event)).count() as f64
}

fn summed(events: &[&Event], name: &str) -> f64 {
    events.iter().map(|event| event.number(name)).sum::<i64>() as f64
}

fn different<'e>(events: &[&'e Event], who: impl Fn(&'e Event) -> Option<&'e str>) -> f64 {
    events.iter().filter_map(|event| who(event)).collect::<BTreeSet<&str>>().len() as f64
}

fn devices(events: &[&Event]) -> f64 {
    different(events, |event| event.device.as_deref())
}

fn payers(events: &[&Event]) -> f64 {
    let users = different(events, |event| event.user.as_deref());
    users + different(events, |event| event.user.is_none().then_some(event.device.as_deref()).flatten())
}

fn uploads(events: &[&Event]) -> f64 {
    different(events, |event| Some(event.text("upload_id")))
}

/// Those of the events that fulfil this.
fn only<'e>(events: &[&'e Event], of: impl Fn(&Event) -> bool) -> Vec<&'e Event> {
    events.iter().copied().filter(|event| of(event)).collect()
}

fn real(event: &Event) -> bool {
    event.kind == "event"
}

fn touched(event: &Event) -> bool {
    event.text("activity_status") == "ok"
}

fn content(event: &Event) -> bool {
    event.is_named(&["content_published", "content_featured", "content_view"])
}

fn playback(event: &Event) -> bool {
    event.text("event_name").starts_with("playback_")
}

fn page_visit(event: &Event) -> bool {
    event.is_named(&["vip_page_viewed"])
}

fn order(event: &Event) -> bool {
    event.is_named(&["vip_opened", "gift_sent"]) && event.number("repeated_order") == 0
}

fn vip(event: &Event) -> bool {
    order(event) && event.text("product_type") != "gift"
}

fn gift(event: &Event) -> bool {
    order(event) && event.text("product_type") == "gift"
}

fn converted(event: &Event) -> bool {
    order(event) && !event.text("attributed_activity_id").is_empty()
}

fn versioned(event: &Event) -> bool {
    real(event) && !event.text("app_version").is_empty()
}

fn is_pgc(event: &Event) -> bool {
    event.text("producer_type") == "pgc"
}

fn happened(event: &Event) -> Option<i64> {
    real(event).then_some(event.event_time)
}

fn received(event: &Event) -> Option<i64> {
    Some(event.received_at)
}

/// Noon of the day the content was published.
fn published(event: &Event) -> Option<i64> {
    let day: jiff::civil::Date = event.text("publish_day").parse().ok()?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(start_of(midnight / 86_400_000))
}

const COMPLETING: [&str; 5] = ["complete", "completed", "done", "finish", "finished"];
const STEPS: [&str; 6] = ["select", "edit", "encode", "transfer", "submit", "done"];

fn step(event: &Event) -> bool {
    event.is_named(&["upload_step"])
}

fn funnel_step(event: &Event) -> bool {
    step(event) && STEPS.contains(&event.text("upload_step"))
}

fn reached(group: &Group<'_>, step: &str) -> f64 {
    uploads(&only(group.all, |event| event.text("upload_step") == step))
}

fn of_previous(group: &Group<'_>) -> Value {
    let place = STEPS.iter().position(|step| *step == group.key[0]).unwrap_or(0);
    let before = STEPS[..place].iter().rev().map(|step| reached(group, step)).find(|uploads| *uploads > 0.0);
    ratio(uploads(group.own), before.unwrap_or(0.0))
}

/// Devices of a variant, or those of them that were exposed to it, and how many of these did it.
fn converts(events: &[&Event], definition: &str) -> (f64, f64) {
    let of = |name: &str| -> BTreeSet<&str> {
        let named = events.iter().filter(|event| name.is_empty() || event.is_named(&[name]));
        named.filter_map(|event| event.device.as_deref()).collect()
    };
    let (asked, did) = match definition.strip_prefix("exposed_") {
        Some(goal) => (of("experiment_exposed"), of(goal)),
        None => (of(""), of(definition)),
    };
    (asked.len() as f64, asked.intersection(&did).count() as f64)
}

fn lift(group: &Group<'_>, name: &str) -> Value {
    let [experiment, variant] = group.key else { return Value::default() };
    let has = |event: &Event, wanted: &str| {
        event.experiments.iter().any(|(name, variant)| **name == **experiment && **variant == *wanted)
    };
    let of_experiment = group.all.iter().flat_map(|event| &event.experiments);
    let variants = of_experiment.filter(|(name, _)| **name == **experiment).map(|(_, variant)| &**variant);
    let variants: BTreeSet<&str> = variants.collect();
    let Some(control) = variants.get("control").or(variants.first()).copied() else {
        return Value::default();
    };
    if control == variant {
        // Left out by the caller.
        return plain(f64::NAN);
    }
    let (n, x) = converts(group.own, name);
    let (n0, x0) = converts(&only(group.all, |event| has(event, control)), name);
    if x0 == 0.0 || n == 0.0 {
        return Value::default();
    }
    let risk = x / n / (x0 / n0);
    let reach = 1.959_964 * (1.0 / x - 1.0 / n + 1.0 / x0 - 1.0 / n0).sqrt();
    let interval = (x > 0.0).then(|| (risk * (-reach).exp() - 1.0, risk * reach.exp() - 1.0));
    Value { value: Some(risk - 1.0), interval }
}

fn level(text: &str) -> Option<i64> {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn promoted(event: &Event) -> bool {
    let levels = [level(event.text("creator_level")), level(event.text("previous_level"))];
    event.is_named(&["creator_level_changed"])
        && levels[0].is_some()
        && levels[1].is_some()
        && levels[0] > levels[1]
}

fn created(event: &Event) -> bool {
    event.is_named(&["creator_level_changed", "content_published"]) && !event.text("creator_id").is_empty()
}

fn metric(name: &str, definition: &str) -> Option<Metric> {
    of_visits(name, definition)
        .or_else(|| of_activities(name, definition))
        .or_else(|| of_contents(name, definition))
        .or_else(|| of_playbacks(name))
        .or_else(|| of_orders(name, definition))
        .or_else(|| of_uploads_and_tags(name, definition))
        .or_else(|| of_versions(name, definition))
        .or_else(|| of_experiments(name, definition))
        .or_else(|| of_quality(name, definition))
}

fn sum_of(name: &'static str) -> impl Fn(Own<'_>) -> f64 {
    move |own| summed(own, name)
}

fn count_of(name: &'static str) -> impl Fn(Own<'_>) -> f64 {
    move |own| counted(own, |event| event.is_named(&[name]))
}

fn count(own: Own<'_>) -> f64 {
    own.len() as f64
}

fn of_visits(name: &str, definition: &str) -> Option<Metric> {
    Some(match (name, definition) {
        ("new_devices", _) => number(real, sum_of("is_new_device")),
        ("sessions", _) => number(real, sum_of("session_start")),
        ("sessions_per_device", "per_range") => share(real, sum_of("session_start"), devices).estimated(),
        ("events", _) => number(real, count),
        ("devices", _) => number(real, devices).estimated(),
        _ => return None,
    })
}

fn of_activities(name: &str, definition: &str) -> Option<Metric> {
    let of =
        if definition == "all" { |event: &Event| !event.text("activity_id").is_empty() } else { touched };
    Some(match (name, definition) {
        ("activity_events", _) => number(of, count),
        ("activity_devices", _) => number(of, devices).estimated(),
        ("activity_users", _) => number(of, |own| different(own, |event| event.user.as_deref())).estimated(),
        ("activity_participants", _) => number(of, sum_of("activity_first_touch")),
        ("activity_new_devices", _) => number(of, |own| {
            summed(&only(own, |event| event.number("days_since_first") == 0), "activity_first_touch")
        }),
        ("activity_completion_rate", "per_key") => grouped(of, |group| {
            let of_activity = only(group.all, |event| event.text("activity_id") == group.key[0]);
            ratio(devices(group.own), devices(&of_activity))
        })
        .by(&["activity_id", "activity_event_key"])
        .estimated(),
        ("activity_completion_rate", "completing_key") => grouped(of, |group| {
            let done = only(group.own, |event| COMPLETING.contains(&event.text("activity_event_key")));
            if done.is_empty() { Value::default() } else { ratio(devices(&done), devices(group.own)) }
        })
        .by(&["activity_id"])
        .estimated(),
        ("activity_conversions", _) => number(converted, count),
        ("activity_converting_devices", _) => number(converted, devices).estimated(),
        ("activity_revenue", _) => number(converted, sum_of("revenue_minor")).by(&["currency"]),
        _ => return None,
    })
}

fn of_contents(name: &str, definition: &str) -> Option<Metric> {
    let metric = match name {
        "videos_published" => number(content, count_of("content_published")),
        "videos_featured" => number(content, count_of("content_featured")),
        "featured_rate" => share(content, count_of("content_featured"), count_of("content_published")),
        "content_views" => number(content, count_of("content_view")),
        "pgc_share_of_content" => share(
            content,
            |own| counted(own, |event| is_pgc(event) && event.is_named(&["content_published"])),
            count_of("content_published"),
        ),
        _ => return None,
    };
    Some(if definition == "publish_day" { metric.at(published) } else { metric })
}

fn of_playbacks(name: &str) -> Option<Metric> {
    let of_pgc = |name: &'static str| move |own: Own<'_>| summed(&only(own, is_pgc), name);
    let time = |own: Own<'_>| summed(own, "played_ms");
    let per_play = |stamp| share(playback, sum_of(stamp), sum_of("play_start"));
    Some(match name {
        "pgc_share_of_plays" => share(playback, of_pgc("play_start"), sum_of("play_start")),
        "pgc_share_of_watch_time" => share(playback, of_pgc("played_ms"), time),
        "plays" => number(playback, sum_of("play_start")),
        "effective_plays" => number(playback, sum_of("effective_play")),
        "effective_play_rate" => per_play("effective_play"),
        "play_completion_rate" => per_play("completed_play"),
        "replay_rate" => per_play("replay"),
        "watch_time" => number(playback, move |own| time(own) / 3_600_000.0),
        "watch_time_per_viewer" => share(playback, move |own| time(own) / 1_000.0, devices).estimated(),
        "viewers" => number(playback, devices).estimated(),
        "rebuffer_ratio" => {
            share(playback, sum_of("rebuffer_ms"), move |own| summed(own, "rebuffer_ms") + time(own))
        }
        _ => return None,
    })
}

fn of_orders(name: &str, definition: &str) -> Option<Metric> {
    let either = |event: &Event| page_visit(event) || order(event);
    let visits = |own: Own<'_>| counted(own, page_visit);
    let matched = |event: &Event| vip(event) && !event.text("matched_entry_point").is_empty();
    Some(match (name, definition) {
        ("vip_page_visits", _) => number(page_visit, count),
        ("vip_orders", _) => number(vip, count),
        ("vip_revenue", _) => number(vip, sum_of("revenue_minor")).by(&["currency"]),
        ("vip_payers", _) => number(vip, payers).estimated(),
        ("vip_open_rate", "by_entry_point") => share(either, |own| counted(own, vip), visits),
        ("vip_open_rate", "matched") => share(either, move |own| counted(own, matched), visits),
        ("gifts_sent", _) => number(gift, count),
        ("gift_items", _) => number(gift, sum_of("quantity")),
        ("gift_senders", _) => number(gift, payers).estimated(),
        ("gift_value", _) => number(gift, sum_of("revenue_minor")).by(&["currency"]),
        _ => return None,
    })
}

fn of_uploads_and_tags(name: &str, definition: &str) -> Option<Metric> {
    let tags = |own: Own<'_>| own.iter().map(|event| event.tags.len()).sum::<usize>() as f64;
    let failed = |own: Own<'_>| uploads(&only(own, |event| event.text("upload_step") == "failed"));
    let from_select = |group: &Group<'_>| ratio(uploads(group.own), reached(group, "select"));
    Some(match (name, definition) {
        ("uploads", _) => number(step, uploads).by(&["upload_step"]).estimated(),
        ("upload_step_conversion", "of_begun") => {
            grouped(funnel_step, from_select).by(&["upload_step"]).estimated()
        }
        ("upload_step_conversion", "of_previous") => {
            grouped(funnel_step, of_previous).by(&["upload_step"]).estimated()
        }
        ("upload_failure_rate", _) => share(step, failed, uploads).estimated(),
        ("tag_uses", "any_event") => number(real, tags),
        ("tag_uses", "published") => number(|event| event.is_named(&["content_published"]), tags),
        ("tag_devices", _) => number(|event| !event.tags.is_empty(), devices).estimated(),
        _ => return None,
    })
}

fn of_versions(name: &str, definition: &str) -> Option<Metric> {
    Some(match (name, definition) {
        ("version_devices", _) => number(versioned, devices).estimated(),
        ("version_adoption", _) => grouped(versioned, |group| ratio(devices(group.own), devices(group.all)))
            .by(&["app_version"])
            .estimated(),
        ("updates", _) => number(real, count_of("app_updated")),
        ("update_rate", _) => share(
            |event| real(event) && ["ios", "android", "pc"].contains(&event.text("platform")),
            |own| devices(&only(own, |event| event.is_named(&["app_updated"]))),
            devices,
        )
        .estimated(),
        ("updates_per_device", _) => share(versioned, count_of("app_updated"), devices).estimated(),
        _ => return None,
    })
}

fn of_experiments(name: &str, definition: &str) -> Option<Metric> {
    const VARIANTS: &[&str] = &["experiment", "variant"];
    let goal = definition.to_owned();
    Some(match name {
        "experiment_exposures" => number(real, count_of("experiment_exposed")).by(VARIANTS),
        "experiment_devices" => number(real, devices).by(VARIANTS).estimated(),
        "experiment_conversion_rate" => grouped(real, move |group| {
            let (n, x) = converts(group.own, &goal);
            ratio(x, n)
        })
        .by(VARIANTS)
        .estimated(),
        "experiment_lift" => grouped(real, move |group| lift(group, &goal)).by(VARIANTS).estimated(),
        "creators" => number(created, |own| different(own, |event| Some(event.text("creator_id"))))
            .by(&["creator_level"])
            .estimated(),
        "creator_promotions" => number(created, |own| counted(own, promoted)),
        "creator_level_changes" => number(created, count_of("creator_level_changed")),
        _ => return None,
    })
}

fn of_quality(name: &str, definition: &str) -> Option<Metric> {
    let everything = |_: &Event| true;
    let of_kind = |kind: &'static str| move |own: Own<'_>| counted(own, |event| event.kind == kind);
    let lost = sum_of("lost_events");
    let metric = match (name, definition) {
        ("received", _) => number(everything, count),
        ("dead_letters", _) => number(|event| event.kind == "dead_letter", count),
        ("client_loss_rate", _) => {
            share(everything, sum_of("lost_events"), move |own| lost(own) + of_kind("event")(own))
        }
        ("duplicate_rate", _) => share(everything, of_kind("duplicate"), count),
        ("late_rate", _) => {
            let late = |event: &Event| real(event) && event.received_at - event.event_time > 600_000;
            share(everything, move |own| counted(own, late), of_kind("event"))
        }
        ("completeness", "of_sent") => share(everything, of_kind("event"), move |own| {
            of_kind("event")(own) + of_kind("dead_letter")(own) + lost(own)
        }),
        ("completeness", "of_received") => {
            share(everything, |own| counted(own, |event| event.kind != "dead_letter"), count)
        }
        _ => return None,
    };
    Some(metric.at(received))
}
