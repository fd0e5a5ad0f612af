//! The cubes of the contract: which events count in which cell, and with which amounts.

use std::collections::{BTreeMap, BTreeSet};

use super::day::{day_of, start_of};
use super::event::ReferenceEvent;

/// The amount that one event adds to one measure of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// A number.
    Sum(i64),
    /// An ID that counts once; none adds nothing.
    Once(Option<String>),
}

/// A measure of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeasureTotal {
    /// A plain sum.
    Sum(i64),
    /// The distinct IDs.
    Distinct(BTreeSet<String>),
}

impl MeasureTotal {
    /// Its number.
    pub fn value(&self) -> i64 {
        match self {
            Self::Sum(sum) => *sum,
            Self::Distinct(those) => those.len() as i64,
        }
    }

    fn add(&mut self, amount: &Amount) {
        match (self, amount) {
            (Self::Sum(sum), Amount::Sum(more)) => *sum += more,
            (Self::Distinct(those), Amount::Once(one)) => those.extend(one.clone()),
            _ => {}
        }
    }
}

/// What one event adds to one cell: values of the dimensions and amounts of the measures, in the order of the cube.
type CubeRow = (Vec<String>, Vec<Amount>);

/// A cube of the contract.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceCube {
    /// Name of the view.
    pub name: &'static str,
    /// Widths of its buckets.
    pub panes: &'static [&'static str],
    /// Columns of the key, beside pane and bucket.
    pub dimensions: &'static [&'static str],
    /// Columns of the measures; `~` marks sketches.
    pub measures: &'static [&'static str],
    rows: fn(&ReferenceEvent) -> Vec<CubeRow>,
}

/// Cells by bucket (epoch seconds) and dimensions, separated by tabs.
pub type Cells = BTreeMap<String, Vec<MeasureTotal>>;

impl ReferenceCube {
    /// Every cell of one pane.
    pub fn cells(&self, pane: &str, events: &[ReferenceEvent]) -> Cells {
        let mut cells = Cells::new();
        for event in events {
            for (key, amounts) in self.rows_of(pane, event) {
                let empty = || {
                    let total = |amount: &Amount| match amount {
                        Amount::Sum(_) => MeasureTotal::Sum(0),
                        Amount::Once(_) => MeasureTotal::Distinct(BTreeSet::new()),
                    };
                    amounts.iter().map(total).collect()
                };
                let totals = cells.entry(key).or_insert_with(empty);
                totals.iter_mut().zip(&amounts).for_each(|(total, amount)| total.add(amount));
            }
        }
        cells
    }

    /// The events that count in one cell.
    pub fn events_of_cell<'e>(
        &self,
        pane: &str,
        key: &str,
        events: &'e [ReferenceEvent],
    ) -> Vec<&'e ReferenceEvent> {
        let feeds = |event: &&ReferenceEvent| self.rows_of(pane, event).iter().any(|(of, _)| of == key);
        events.iter().filter(feeds).collect()
    }

    fn rows_of(&self, pane: &str, event: &ReferenceEvent) -> Vec<(String, Vec<Amount>)> {
        let moment = if self.name == "quality" { event.received_at } else { event.event_time };
        let bucket = match pane {
            "10s" => moment.div_euclid(10_000) * 10,
            "60s" => moment.div_euclid(60_000) * 60,
            "1h" => moment.div_euclid(3_600_000) * 3_600,
            _ => start_of(day_of(moment)) / 1_000,
        };
        let rows = (self.rows)(event).into_iter();
        rows.map(|(dimensions, amounts)| (format!("{bucket}\t{}", dimensions.join("\t")), amounts)).collect()
    }
}

const ALL_PANES: &[&str] = &["10s", "60s", "1h", "1d"];
const LIVE: &[&str] = &["10s", "60s"];
const REPORT: &[&str] = &["1h", "1d"];
const DAYS: &[&str] = &["1d"];

macro_rules! cube {
    ($name:ident, $panes:expr, $dimensions:expr, $measures:expr) => {
        ReferenceCube {
            name: stringify!($name),
            panes: $panes,
            dimensions: $dimensions,
            measures: $measures,
            rows: $name,
        }
    };
}

/// Every cube of the contract.
pub const CUBES: &[ReferenceCube] = &[
    cube!(
        traffic,
        ALL_PANES,
        &["app_id", "platform", "event_name", "channel_group"],
        &["events", "sessions", "new_devices", "devices~"]
    ),
    cube!(
        activity,
        ALL_PANES,
        &[
            "app_id",
            "activity_id",
            "activity_event_key",
            "activity_type",
            "activity_status",
            "platform",
            "channel_group"
        ],
        &["events", "participants", "new_devices", "devices~", "users~"]
    ),
    cube!(
        conversions,
        ALL_PANES,
        &["app_id", "attributed_activity_id", "event_name", "platform", "channel_group"],
        &["events", "revenue_minor", "devices~"]
    ),
    cube!(
        playback,
        ALL_PANES,
        &["app_id", "platform", "producer_type", "category", "playback_state"],
        &[
            "events",
            "plays",
            "effective_plays",
            "completed_plays",
            "replays",
            "played_ms",
            "rebuffer_ms",
            "viewers~"
        ]
    ),
    cube!(
        revenue,
        ALL_PANES,
        &[
            "app_id",
            "platform",
            "entry_point",
            "matched_entry_point",
            "product_type",
            "currency",
            "channel_group",
            "attributed_activity_id"
        ],
        &["page_visits", "orders", "quantity", "revenue_minor", "payers~"]
    ),
    cube!(
        audience,
        REPORT,
        &[
            "app_id",
            "platform",
            "channel_group",
            "first_channel_group",
            "install_source",
            "app_version",
            "device_brand",
            "device_model",
            "os_name",
            "os_version",
            "active_definition"
        ],
        &["new_devices", "active_day_devices", "active_week_devices", "active_month_devices", "sessions"]
    ),
    cube!(
        retention,
        DAYS,
        &["app_id", "platform", "first_channel_group", "cohort_day", "active_definition"],
        &["active_devices"]
    ),
    cube!(
        content,
        REPORT,
        &["app_id", "platform", "content_source", "producer_type", "category", "publish_day"],
        &["published", "featured", "content_views"]
    ),
    cube!(
        upload,
        ALL_PANES,
        &["app_id", "platform", "content_source", "upload_step", "error_code"],
        &["events", "bytes", "uploads~"]
    ),
    cube!(tags, REPORT, &["app_id", "tag", "platform", "event_name"], &["uses", "devices~"]),
    cube!(
        versions,
        REPORT,
        &["app_id", "platform", "app_version", "install_source"],
        &["events", "devices~", "updates"]
    ),
    cube!(
        experiments,
        REPORT,
        &["app_id", "experiment", "variant", "event_name"],
        &["exposures", "events", "devices~", "revenue_minor"]
    ),
    cube!(
        creators,
        DAYS,
        &["app_id", "creator_level", "previous_level"],
        &["level_changes", "published", "creators~"]
    ),
    cube!(
        quality,
        LIVE,
        &["app_id", "platform", "library", "library_version", "time_source", "kind"],
        &["events", "lost_events", "late_events"]
    ),
];

fn texts(event: &ReferenceEvent, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| event.text(name).to_owned()).collect()
}

fn sum(of: impl Into<i64>) -> Amount {
    Amount::Sum(of.into())
}

fn device(event: &ReferenceEvent) -> Amount {
    Amount::Once(event.device.as_deref().map(str::to_owned))
}

fn is_event(event: &ReferenceEvent) -> bool {
    event.kind == "event"
}

fn is_order(event: &ReferenceEvent) -> bool {
    event.is_named(&["vip_opened", "gift_sent"]) && event.number("repeated_order") == 0
}

fn traffic(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) {
        return Vec::new();
    }
    let amounts =
        vec![sum(1), sum(event.number("session_start")), sum(event.number("is_new_device")), device(event)];
    vec![(texts(event, &["app_id", "platform", "event_name", "channel_group"]), amounts)]
}

fn activity(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) || event.text("activity_id").is_empty() {
        return Vec::new();
    }
    let first_touch = event.number("activity_first_touch");
    let on_first_day = if event.number("days_since_first") == 0 { first_touch } else { 0 };
    let user = Amount::Once(event.user.as_deref().map(str::to_owned));
    let amounts = vec![sum(1), sum(first_touch), sum(on_first_day), device(event), user];
    let names = [
        "app_id",
        "activity_id",
        "activity_event_key",
        "activity_type",
        "activity_status",
        "platform",
        "channel_group",
    ];
    vec![(texts(event, &names), amounts)]
}

fn conversions(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) || !is_order(event) || event.text("attributed_activity_id").is_empty() {
        return Vec::new();
    }
    let amounts = vec![sum(1), sum(event.number("revenue_minor")), device(event)];
    let names = ["app_id", "attributed_activity_id", "event_name", "platform", "channel_group"];
    vec![(texts(event, &names), amounts)]
}

fn playback(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) || !event.text("event_name").starts_with("playback_") {
        return Vec::new();
    }
    let stamps = ["play_start", "effective_play", "completed_play", "replay", "played_ms", "rebuffer_ms"];
    let mut amounts = vec![sum(1)];
    amounts.extend(stamps.map(|name| sum(event.number(name))));
    amounts.push(device(event));
    vec![(texts(event, &["app_id", "platform", "producer_type", "category", "playback_state"]), amounts)]
}

fn revenue(event: &ReferenceEvent) -> Vec<CubeRow> {
    let page_visit = event.is_named(&["vip_page_viewed"]);
    if !is_event(event) || !(page_visit || is_order(event)) {
        return Vec::new();
    }
    let amounts = if page_visit {
        vec![sum(1), sum(0), sum(0), sum(0), Amount::Once(None)]
    } else {
        let payer = event.user.as_deref().map(|user| format!("user {user}"));
        let payer = payer.or_else(|| event.device.as_deref().map(|device| format!("device {device}")));
        let (quantity, revenue) = (event.number("quantity"), event.number("revenue_minor"));
        vec![sum(0), sum(1), sum(quantity), sum(revenue), Amount::Once(payer)]
    };
    let names = [
        "app_id",
        "platform",
        "entry_point",
        "matched_entry_point",
        "product_type",
        "currency",
        "channel_group",
        "attributed_activity_id",
    ];
    vec![(texts(event, &names), amounts)]
}

fn audience(event: &ReferenceEvent) -> Vec<CubeRow> {
    let names = [
        "app_id",
        "platform",
        "channel_group",
        "first_channel_group",
        "install_source",
        "app_version",
        "device_brand",
        "device_model",
        "os_name",
        "os_version",
    ];
    let row = |definition| {
        let any = |name| if definition == "any" { event.number(name) } else { 0 };
        let in_list = |list: &[&str]| sum(list.contains(&definition));
        let mut dimensions = texts(event, &names);
        dimensions.push(definition.to_owned());
        let amounts = vec![
            sum(any("is_new_device")),
            in_list(&event.active_day),
            in_list(&event.active_week),
            in_list(&event.active_month),
            sum(any("session_start")),
        ];
        (dimensions, amounts)
    };
    event.active_definitions().into_iter().map(row).collect()
}

fn retention(event: &ReferenceEvent) -> Vec<CubeRow> {
    if event.number("days_since_first") < 0 {
        return Vec::new();
    }
    let row = |definition: &&str| {
        let mut dimensions = texts(event, &["app_id", "platform", "first_channel_group", "cohort_day"]);
        dimensions.push((*definition).to_owned());
        (dimensions, vec![sum(1)])
    };
    event.active_day.iter().map(row).collect()
}

fn content(event: &ReferenceEvent) -> Vec<CubeRow> {
    let names = ["content_published", "content_featured", "content_view"];
    if !is_event(event) || !event.is_named(&names) {
        return Vec::new();
    }
    let dimensions = ["app_id", "platform", "content_source", "producer_type", "category", "publish_day"];
    vec![(texts(event, &dimensions), names.iter().map(|name| sum(event.is_named(&[name]))).collect())]
}

fn upload(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) || !event.is_named(&["upload_step"]) {
        return Vec::new();
    }
    let amounts = vec![
        sum(1),
        sum(event.number("upload_bytes")),
        Amount::Once(Some(event.text("upload_id").to_owned())),
    ];
    vec![(texts(event, &["app_id", "platform", "content_source", "upload_step", "error_code"]), amounts)]
}

fn tags(event: &ReferenceEvent) -> Vec<CubeRow> {
    let row = |tag: &std::sync::Arc<str>| {
        let mut dimensions = texts(event, &["app_id", "platform", "event_name"]);
        dimensions.insert(1, tag.to_string());
        (dimensions, vec![sum(1), device(event)])
    };
    event.tags.iter().map(row).collect()
}

fn versions(event: &ReferenceEvent) -> Vec<CubeRow> {
    if !is_event(event) {
        return Vec::new();
    }
    let amounts = vec![sum(1), device(event), sum(event.is_named(&["app_updated"]))];
    vec![(texts(event, &["app_id", "platform", "app_version", "install_source"]), amounts)]
}

fn experiments(event: &ReferenceEvent) -> Vec<CubeRow> {
    let revenue = if is_order(event) { event.number("revenue_minor") } else { 0 };
    let exposure = event.is_named(&["experiment_exposed"]);
    let row = |(name, variant): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
        let dimensions = vec![
            event.text("app_id").to_owned(),
            name.to_string(),
            variant.to_string(),
            event.text("event_name").to_owned(),
        ];
        (dimensions, vec![sum(exposure), sum(1), device(event), sum(revenue)])
    };
    event.experiments.iter().map(row).collect()
}

fn creators(event: &ReferenceEvent) -> Vec<CubeRow> {
    let [changed, published] =
        ["creator_level_changed", "content_published"].map(|name| event.is_named(&[name]));
    let creator = event.text("creator_id");
    if !is_event(event) || !(changed || published && !creator.is_empty()) {
        return Vec::new();
    }
    let amounts = vec![sum(changed), sum(published), Amount::Once(Some(creator.to_owned()))];
    vec![(texts(event, &["app_id", "creator_level", "previous_level"]), amounts)]
}

fn quality(event: &ReferenceEvent) -> Vec<CubeRow> {
    let late = is_event(event) && event.received_at - event.event_time > 600_000;
    let mut dimensions = texts(event, &["app_id", "platform", "library", "library_version", "time_source"]);
    dimensions.push(event.kind.to_owned());
    vec![(dimensions, vec![sum(1), sum(event.number("lost_events")), sum(late)])]
}
