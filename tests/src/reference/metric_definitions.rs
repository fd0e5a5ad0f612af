//! The metrics that follow from events alone: which events each needs, and the value of one group of them.

use std::collections::BTreeSet;

use super::{
    event::ReferenceEvent,
    event_sets::{
        Events, STEPS, content, converted, counted, created, devices, distinct, funnel_step, gift, happened,
        is_pgc, only, order, page_visit, payers, playback, promoted, published, real, received, step, summed,
        touched, uploads, versioned, vip,
    },
    metric_query::{MetricValue, plain, ratio},
};

/// A group of events of one period.
pub(super) struct EventGroup<'e> {
    /// Values of the dimensions of the group.
    pub(super) key: &'e [String],
    /// Its events.
    pub(super) own: &'e [&'e ReferenceEvent],
    /// All events of the period, in any group.
    pub(super) all: &'e [&'e ReferenceEvent],
}

/// A metric that is a function of the events of a period.
pub(super) struct EventMetric {
    pub(super) each: &'static [&'static str],
    pub(super) time: fn(&ReferenceEvent) -> Option<i64>,
    pub(super) of: fn(&ReferenceEvent) -> bool,
    pub(super) estimate: bool,
    pub(super) value: Box<dyn Fn(&EventGroup<'_>) -> MetricValue>,
}

/// A function of the groups of these events.
fn grouped(
    of: fn(&ReferenceEvent) -> bool,
    value: impl Fn(&EventGroup<'_>) -> MetricValue + 'static,
) -> EventMetric {
    EventMetric { each: &[], time: happened, of, estimate: false, value: Box::new(value) }
}

/// A function of these events.
fn number(of: fn(&ReferenceEvent) -> bool, value: impl Fn(Events<'_>) -> f64 + 'static) -> EventMetric {
    grouped(of, move |group| plain(value(group.own)))
}

/// A ratio of two functions of these events.
fn share(
    of: fn(&ReferenceEvent) -> bool,
    above: impl Fn(Events<'_>) -> f64 + 'static,
    below: impl Fn(Events<'_>) -> f64 + 'static,
) -> EventMetric {
    grouped(of, move |group| ratio(above(group.own), below(group.own)))
}

impl EventMetric {
    /// Always grouped by these dimensions.
    fn by(self, each: &'static [&'static str]) -> Self {
        Self { each, ..self }
    }

    /// With another time than the event time.
    fn at(self, time: fn(&ReferenceEvent) -> Option<i64>) -> Self {
        Self { time, ..self }
    }

    /// The pipeline estimates it with a sketch.
    fn estimated(self) -> Self {
        Self { estimate: true, ..self }
    }
}

const COMPLETING: [&str; 5] = ["complete", "completed", "done", "finish", "finished"];

pub(super) fn event_metric(name: &str, definition: &str) -> Option<EventMetric> {
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

fn sum_of(name: &'static str) -> impl Fn(Events<'_>) -> f64 {
    move |own| summed(own, name)
}

fn count_of(name: &'static str) -> impl Fn(Events<'_>) -> f64 {
    move |own| counted(own, |event| event.is_named(&[name]))
}

fn count(own: Events<'_>) -> f64 {
    own.len() as f64
}

fn of_visits(name: &str, definition: &str) -> Option<EventMetric> {
    Some(match (name, definition) {
        ("new_devices", _) => number(real, sum_of("is_new_device")),
        ("sessions", _) => number(real, sum_of("session_start")),
        ("sessions_per_device", "per_range") => share(real, sum_of("session_start"), devices).estimated(),
        ("events", _) => number(real, count),
        ("devices", _) => number(real, devices).estimated(),
        _ => return None,
    })
}

fn of_activities(name: &str, definition: &str) -> Option<EventMetric> {
    let of = if definition == "all" {
        |event: &ReferenceEvent| !event.text("activity_id").is_empty()
    } else {
        touched
    };
    Some(match (name, definition) {
        ("activity_events", _) => number(of, count),
        ("activity_devices", _) => number(of, devices).estimated(),
        ("activity_users", _) => number(of, |own| distinct(own, |event| event.user.as_deref())).estimated(),
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
            if done.is_empty() { MetricValue::default() } else { ratio(devices(&done), devices(group.own)) }
        })
        .by(&["activity_id"])
        .estimated(),
        ("activity_conversions", _) => number(converted, count),
        ("activity_converting_devices", _) => number(converted, devices).estimated(),
        ("activity_revenue", _) => number(converted, sum_of("revenue_minor")).by(&["currency"]),
        _ => return None,
    })
}

fn of_contents(name: &str, definition: &str) -> Option<EventMetric> {
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

fn of_playbacks(name: &str) -> Option<EventMetric> {
    let of_pgc = |name: &'static str| move |own: Events<'_>| summed(&only(own, is_pgc), name);
    let time = |own: Events<'_>| summed(own, "played_ms");
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

fn of_orders(name: &str, definition: &str) -> Option<EventMetric> {
    let either = |event: &ReferenceEvent| page_visit(event) || order(event);
    let visits = |own: Events<'_>| counted(own, page_visit);
    let matched = |event: &ReferenceEvent| vip(event) && !event.text("matched_entry_point").is_empty();
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

fn of_uploads_and_tags(name: &str, definition: &str) -> Option<EventMetric> {
    let tags = |own: Events<'_>| own.iter().map(|event| event.tags.len()).sum::<usize>() as f64;
    let failed = |own: Events<'_>| uploads(&only(own, |event| event.text("upload_step") == "failed"));
    let from_select = |group: &EventGroup<'_>| ratio(uploads(group.own), reached(group, "select"));
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

fn of_versions(name: &str, definition: &str) -> Option<EventMetric> {
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

fn of_experiments(name: &str, definition: &str) -> Option<EventMetric> {
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
        "creators" => number(created, |own| distinct(own, |event| Some(event.text("creator_id"))))
            .by(&["creator_level"])
            .estimated(),
        "creator_promotions" => number(created, |own| counted(own, promoted)),
        "creator_level_changes" => number(created, count_of("creator_level_changed")),
        _ => return None,
    })
}

fn of_quality(name: &str, definition: &str) -> Option<EventMetric> {
    let everything = |_: &ReferenceEvent| true;
    let of_kind = |kind: &'static str| move |own: Events<'_>| counted(own, |event| event.kind == kind);
    let lost = sum_of("lost_events");
    let metric = match (name, definition) {
        ("received", _) => number(everything, count),
        ("dead_letters", _) => number(|event| event.kind == "dead_letter", count),
        ("client_loss_rate", _) => {
            share(everything, sum_of("lost_events"), move |own| lost(own) + of_kind("event")(own))
        }
        ("duplicate_rate", _) => share(everything, of_kind("duplicate"), count),
        ("late_rate", _) => {
            let late = |event: &ReferenceEvent| real(event) && event.received_at - event.event_time > 600_000;
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

fn reached(group: &EventGroup<'_>, step: &str) -> f64 {
    uploads(&only(group.all, |event| event.text("upload_step") == step))
}

fn of_previous(group: &EventGroup<'_>) -> MetricValue {
    let place = STEPS.iter().position(|step| *step == group.key[0]).unwrap_or(0);
    let before = STEPS[..place].iter().rev().map(|step| reached(group, step)).find(|uploads| *uploads > 0.0);
    ratio(uploads(group.own), before.unwrap_or(0.0))
}

/// The number of devices of a variant, or of those that were exposed to it, and how many of them reached the goal.
fn converts(events: &[&ReferenceEvent], definition: &str) -> (f64, f64) {
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

fn lift(group: &EventGroup<'_>, name: &str) -> MetricValue {
    let [experiment, variant] = group.key else { return MetricValue::default() };
    let has = |event: &ReferenceEvent, wanted: &str| {
        event.experiments.iter().any(|(name, variant)| **name == **experiment && **variant == *wanted)
    };
    let of_experiment = group.all.iter().flat_map(|event| &event.experiments);
    let variants = of_experiment.filter(|(name, _)| **name == **experiment).map(|(_, variant)| &**variant);
    let variants: BTreeSet<&str> = variants.collect();
    let Some(control) = variants.get("control").or(variants.first()).copied() else {
        return MetricValue::default();
    };
    if control == variant {
        // The caller removes values that are not finite.
        return plain(f64::NAN);
    }
    let (n, x) = converts(group.own, name);
    let (n0, x0) = converts(&only(group.all, |event| has(event, control)), name);
    if x0 == 0.0 || n == 0.0 {
        return MetricValue::default();
    }
    let risk = x / n / (x0 / n0);
    let reach = 1.959_964 * (1.0 / x - 1.0 / n + 1.0 / x0 - 1.0 / n0).sqrt();
    let interval = (x > 0.0).then(|| (risk * (-reach).exp() - 1.0, risk * reach.exp() - 1.0));
    MetricValue { value: Some(risk - 1.0), interval }
}
