//! Every metric as its definition says, from events and plain sets of devices, without cubes and without SQL.

use std::collections::BTreeMap;

use super::{
    Reference,
    day::{day_of, month_of, week_of, written},
    event::{Definition, ReferenceEvent},
    metric_definitions::{EventGroup, EventMetric, event_metric},
    metric_query::{MetricAnswer, MetricQuery, Period, plain, ratio},
};

/// The expected answer; none when the reference does not have the metric.
pub fn answer(
    reference: &Reference,
    name: &str,
    definition: &str,
    query: &MetricQuery,
) -> Option<MetricAnswer> {
    let known = ["any", "login", "core_flow"].into_iter().find(|known| *known == definition);
    match (name, known) {
        ("active_devices_day", Some(of)) => Some(active(reference, of, query, |day| day)),
        ("active_devices_week", Some(of)) => Some(active(reference, of, query, week_of)),
        ("active_devices_month", Some(of)) => Some(active(reference, of, query, month_of)),
        ("stickiness", Some(of)) => Some(stickiness(reference, of, query)),
        ("retention", Some(of)) => Some(retention(reference, of, query, None)),
        (name, Some(of)) if name.starts_with("retention_day_") => {
            let after = name.trim_start_matches("retention_day_").parse().ok()?;
            Some(retention(reference, of, query, Some(after)))
        }
        ("sessions_per_device", None) if definition == "per_day" => Some(sessions_per_day(reference, query)),
        ("freshness", None) => {
            let received = reference.events.iter().map(|event| event.received_at);
            let newest = received.chain(reference.rejected.iter().copied()).max()?;
            let value = plain((query.now - newest) as f64 / 1_000.0);
            Some(MetricAnswer {
                estimate: false,
                rows: BTreeMap::from([((String::new(), Vec::new()), value)]),
            })
        }
        _ => Some(of_events(reference, &event_metric(name, definition)?, query)),
    }
}

/// First business day of the period that contains a day.
fn period(day: i64, step: Period) -> String {
    match step {
        Period::Total => String::new(),
        Period::Day => written(day),
        Period::Week => written(week_of(day) * 7 - 3),
        Period::Month => format!("{}-01", &written(day)[..7]),
    }
}

fn active(reference: &Reference, of: Definition, query: &MetricQuery, by: fn(i64) -> i64) -> MetricAnswer {
    let mut rows = BTreeMap::new();
    let active = reference.active_devices(of, by);
    let periods: BTreeMap<i64, i64> = (query.from..=query.to).rev().map(|day| (by(day), day)).collect();
    for (at, devices) in active {
        if let Some(day) = periods.get(&at) {
            rows.insert((period(*day, query.step), Vec::new()), plain(devices as f64));
        }
    }
    MetricAnswer { estimate: false, rows }
}

fn stickiness(reference: &Reference, of: Definition, query: &MetricQuery) -> MetricAnswer {
    let days = reference.active_devices(of, |day| day);
    let today = day_of(query.now);
    let mut rows = BTreeMap::new();
    for (month, devices) in reference.active_devices(of, month_of) {
        let in_month = |day: &i64| month_of(*day) == month;
        let begun = (query.from - 31..=today).filter(in_month).count();
        let active: u64 = days.iter().filter(|(day, _)| in_month(day)).map(|(_, devices)| devices).sum();
        let first = (query.from - 31..=query.to).find(in_month).unwrap_or(query.from);
        let value = ratio(active as f64 / begun as f64, devices as f64);
        rows.insert((period(first, query.step), Vec::new()), value);
    }
    MetricAnswer { estimate: false, rows }
}

/// The share of the devices that were new on a day and active so many days later, over all days of the range. NULL
/// while the later day is not over.
fn retention(reference: &Reference, of: Definition, query: &MetricQuery, after: Option<i64>) -> MetricAnswer {
    let retained = reference.retained(of);
    let new = reference.new_devices();
    let today = day_of(query.now);
    let mut rows = BTreeMap::new();
    for days in after.map_or(0..=30, |after| after..=after) {
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (cohort, size) in new.range(query.from..=query.to) {
            let sum = sums.entry(period(*cohort, query.step)).or_default();
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
    MetricAnswer { estimate: false, rows }
}

fn sessions_per_day(reference: &Reference, query: &MetricQuery) -> MetricAnswer {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let in_range = |day: &i64| (query.from..=query.to).contains(day);
    for (day, devices) in reference.active_devices("any", |day| day) {
        if in_range(&day) {
            sums.entry(period(day, query.step)).or_default().1 += devices as f64;
        }
    }
    for event in &reference.events {
        let day = day_of(event.event_time);
        if in_range(&day) {
            sums.entry(period(day, query.step)).or_default().0 += event.number("session_start") as f64;
        }
    }
    let row = |(period, (sessions, devices))| ((period, Vec::new()), ratio(sessions, devices));
    MetricAnswer { estimate: false, rows: sums.into_iter().map(row).collect() }
}

fn of_events(reference: &Reference, metric: &EventMetric, query: &MetricQuery) -> MetricAnswer {
    let letter =
        |&received_at: &i64| ReferenceEvent { kind: "dead_letter", received_at, ..ReferenceEvent::default() };
    let letters: Vec<ReferenceEvent> = reference.rejected.iter().map(letter).collect();
    let mut periods: BTreeMap<String, Vec<&ReferenceEvent>> = BTreeMap::new();
    for event in reference.events.iter().chain(&letters).filter(|event| (metric.of)(event)) {
        if let Some(time) = (metric.time)(event)
            && (query.from..=query.to).contains(&day_of(time))
        {
            periods.entry(period(day_of(time), query.step)).or_default().push(event);
        }
    }
    let mut rows = BTreeMap::new();
    for (period, all) in periods {
        let mut groups: BTreeMap<Vec<String>, Vec<&ReferenceEvent>> = BTreeMap::new();
        for event in &all {
            for key in keys(event, metric.each) {
                groups.entry(key).or_default().push(event);
            }
        }
        for (key, own) in &groups {
            let value = (metric.value)(&EventGroup { key, own, all: &all });
            rows.insert((period.clone(), key.clone()), value);
        }
    }
    // A lift has no value for the control itself.
    rows.retain(|_, value| value.value.is_none_or(f64::is_finite));
    MetricAnswer { estimate: metric.estimate, rows }
}

fn keys(event: &ReferenceEvent, each: &[&str]) -> Vec<Vec<String>> {
    if each.contains(&"experiment") {
        let key = |(name, variant): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
            vec![name.to_string(), variant.to_string()]
        };
        return event.experiments.iter().map(key).collect();
    }
    vec![each.iter().map(|name| event.text(name).to_owned()).collect()]
}
