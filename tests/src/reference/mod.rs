//! An independent, slow reference: the number that every cell of every cube must have, computed from the raw records.
//!
//! It uses plain maps over the raw JSON, in the order of processing, and shares no code with the stages. It supports what
//! the simulator's clients send. Where it differs from the pipeline, the contract decides which one is wrong.

mod agent;
mod channel;
pub mod cubes;
pub mod day;
mod device;
mod event;
mod event_sets;
mod metric_definitions;
pub mod metric_query;
pub mod metrics;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use event::{Definition, ReferenceEvent};
pub use verdict::ContractRules;

use device::{ReferenceDevice, number, text};
use event::Texts;
use verdict::ValidEvent;

/// One record of the raw topic.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    /// When the broker received it, epoch ms.
    pub received_at: i64,
    /// JSON, or the bytes of a broken client.
    pub value: Vec<u8>,
}

/// An activity of the registry.
#[derive(Debug, Clone, Default)]
pub struct ReferenceActivity {
    /// Its ID.
    pub id: String,
    /// template or custom.
    pub kind: String,
    /// Apps it runs in; empty for all.
    pub apps: Vec<String>,
    /// First moment, epoch ms.
    pub starts_at: i64,
    /// First moment after it, epoch ms.
    pub ends_at: i64,
    /// Keys of its events.
    pub keys: Vec<String>,
    /// Key and event name of its rule: events with this name belong to it although their client names no activity.
    pub rule: Option<(String, String)>,
    /// How long after a touch a conversion counts for it, ms.
    pub window_ms: i64,
}

impl From<&simulator::ActivityPlan> for ReferenceActivity {
    fn from(plan: &simulator::ActivityPlan) -> Self {
        Self {
            id: plan.activity_id.clone(),
            kind: plan.kind.as_str().to_owned(),
            apps: plan.app_ids.clone(),
            starts_at: plan.starts_at,
            ends_at: plan.ends_at,
            keys: plan.events.clone(),
            rule: None,
            window_ms: 24 * 3_600_000,
        }
    }
}

/// The state of the whole pipeline.
#[derive(Debug)]
pub struct Reference {
    rules: ContractRules,
    activities: BTreeMap<String, ReferenceActivity>,
    seen: BTreeSet<(String, String, String)>,
    devices: BTreeMap<(String, String), ReferenceDevice>,
    texts: Texts,
    /// Every event, in the order of processing.
    pub events: Vec<ReferenceEvent>,
    /// Times at which rejected elements were received, epoch ms.
    pub rejected: Vec<i64>,
}

impl Reference {
    /// The state before the first record.
    pub fn new(rules: ContractRules, activities: Vec<ReferenceActivity>) -> Self {
        let activities = activities.into_iter().map(|activity| (activity.id.clone(), activity)).collect();
        Self {
            rules,
            activities,
            seen: BTreeSet::new(),
            devices: BTreeMap::new(),
            texts: Texts::default(),
            events: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// Processes the next record. Records of one device must come in the order of their partition.
    pub fn take(&mut self, record: &RawRecord) {
        for element in verdict::elements(&record.value, record.received_at, &self.rules) {
            match element {
                Some(valid) => self.accept(&valid, record.received_at),
                None => self.rejected.push(record.received_at),
            }
        }
    }

    fn accept(&mut self, valid: &ValidEvent, received_at: i64) {
        let raw = &valid.members;
        let (app, id) = (text(raw, "app_id").to_owned(), text(raw, "anonymous_id").to_owned());
        let key = (app.clone(), id.clone(), text(raw, "event_id").to_lowercase());
        let kind = match self.seen.insert(key) {
            false => "duplicate",
            true if raw.get("is_test") == Some(&Value::Bool(true)) => "test",
            true if agent::is_bot(text(raw, "user_agent")) => "bot",
            true => "event",
        };
        let mut event = self.as_sent(valid, kind, received_at);
        if kind != "event" {
            self.events.push(event);
            return;
        }
        self.describe(raw, &mut event);
        let mut device = match id.is_empty() {
            true => None,
            false => Some(self.devices.entry((app.clone(), id.clone())).or_default()),
        };
        match &mut device {
            Some(device) => device.take(raw, &mut event, &mut self.texts),
            None => {
                let group = channel::by_evidence(raw, false).unwrap_or_else(|| device::without_evidence(raw));
                event.set(&mut self.texts, "channel_group", group);
            }
        }
        self.attribute(raw, &mut event, (!id.is_empty()).then_some((app, id)));
        self.events.push(event);
    }

    fn as_sent(&mut self, valid: &ValidEvent, kind: &'static str, received_at: i64) -> ReferenceEvent {
        let (raw, texts) = (&valid.members, &mut self.texts);
        let mut event =
            ReferenceEvent { kind, event_time: valid.event_time, received_at, ..ReferenceEvent::default() };
        for (name, path) in [
            ("app_id", "app_id"),
            ("platform", "platform"),
            ("event_id", "event_id"),
            ("event_name", "event_name"),
            ("library", "library.name"),
            ("library_version", "library.version"),
        ] {
            event.set(texts, name, text(raw, path));
        }
        event.set(texts, "time_source", valid.time_source);
        let of_app = |id: &str| format!("{}:{id}", text(raw, "app_id"));
        let [device, user] = ["anonymous_id", "user_id"].map(|field| text(raw, field));
        event.device = (!device.is_empty()).then(|| texts.keep(&of_app(device)));
        event.user = (!user.is_empty()).then(|| texts.keep(&of_app(user)));
        event
    }

    /// The fields that cubes use, besides the identity.
    fn describe(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent) {
        let texts = &mut self.texts;
        for (name, path) in [
            ("app_version", "app_version"),
            ("install_source", "install_source"),
            ("producer_type", "content.producer_type"),
            ("category", "content.category"),
            ("content_source", "content.source"),
            ("playback_state", "playback.state"),
            ("entry_point", "commerce.entry_point"),
            ("product_type", "commerce.product_type"),
            ("currency", "commerce.currency"),
            ("upload_step", "upload.step"),
            ("upload_id", "upload.id"),
            ("error_code", "upload.error_code"),
            ("creator_id", "creator.id"),
            ("creator_level", "creator.level"),
        ] {
            event.set(texts, name, text(raw, path));
        }
        for (name, path) in [
            ("played_ms", "playback.played_ms"),
            ("rebuffer_ms", "playback.rebuffer_ms"),
            ("quantity", "commerce.quantity"),
            ("revenue_minor", "commerce.revenue_minor"),
            ("upload_bytes", "upload.bytes"),
        ] {
            event.put(name, number(raw, path));
        }
        if event.is_named(&["creator_level_changed"]) {
            event.set(texts, "previous_level", text(raw, "creator.previous_level"));
        }
        let agent = agent::read(text(raw, "user_agent"));
        for (name, path, otherwise) in [
            ("device_brand", "device.manufacturer", agent.brand),
            ("device_model", "device.model", &agent.model),
            ("os_name", "device.os_name", agent.os_name),
            ("os_version", "device.os_version", &agent.os_version),
        ] {
            let own = text(raw, path);
            event.set(texts, name, if own.is_empty() { otherwise } else { own });
        }
        let published = raw.get("content").and_then(|content| verdict::moment(content.get("published_at")?));
        let published =
            published.or_else(|| event.is_named(&["content_published"]).then_some(event.event_time));
        if let Some(published) = published {
            event.set(texts, "publish_day", &day::written(day::day_of(published)));
        }
        let tags = raw.get("content").and_then(|content| content.get("tags")?.as_array());
        event.tags =
            tags.into_iter().flatten().filter_map(Value::as_str).map(|tag| texts.keep(tag)).collect();
        let experiments = raw.get("experiments").and_then(Value::as_object).into_iter().flatten();
        event.experiments = experiments
            .filter_map(|(name, variant)| Some((texts.keep(name), texts.keep(variant.as_str()?))))
            .collect();
    }

    fn attribute(
        &mut self,
        raw: &Map<String, Value>,
        event: &mut ReferenceEvent,
        device: Option<(String, String)>,
    ) {
        let texts = &mut self.texts;
        let mut device = device.and_then(|key| self.devices.get_mut(&key));
        let app = text(raw, "app_id");
        let runs_in = |of: &ReferenceActivity| of.apps.is_empty() || of.apps.iter().any(|known| known == app);
        let runs = |of: &ReferenceActivity| (of.starts_at..of.ends_at).contains(&event.event_time);
        let given = text(raw, "activity_event_id").split_once('_').map(|(id, key)| {
            let status = match self.activities.get(id) {
                None => "unregistered",
                Some(of) if !runs_in(of) => "wrong_app",
                Some(of) if !of.keys.iter().any(|known| known == key) => "unknown_key",
                Some(of) if !runs(of) => "outside_dates",
                Some(_) => "ok",
            };
            (id.to_owned(), key.to_owned(), status)
        });
        let ruled = || {
            let ruled = self.activities.values().filter(|of| runs_in(of) && runs(of)).find_map(|of| {
                let (key, name) = of.rule.as_ref()?;
                (text(raw, "event_name") == name).then(|| (of.id.clone(), key.clone()))
            });
            ruled.map(|(id, key)| (id, key, "ok"))
        };
        if let Some((id, key, status)) = given.or_else(ruled) {
            let kind = self.activities.get(&id).map_or("", |of| &of.kind);
            for (name, value) in [
                ("activity_id", id.as_str()),
                ("activity_event_key", &key),
                ("activity_type", kind),
                ("activity_status", status),
            ] {
                event.set(texts, name, value);
            }
            if status == "ok"
                && let Some(device) = &mut device
            {
                event.put("activity_first_touch", i64::from(device.touch_activity(&id, event.event_time)));
            }
        }
        if event.is_named(&["vip_opened", "gift_sent"])
            && let Some(device) = &device
        {
            let window = |id: &str| self.activities.get(id).map_or(24 * 3_600_000, |of| of.window_ms);
            let activity = device.attributed(event.event_time, window).unwrap_or_default();
            event.set(texts, "attributed_activity_id", activity);
        }
    }

    /// By definition and business day: how many devices were active.
    pub fn active_devices(&self, definition: Definition, period: fn(i64) -> i64) -> BTreeMap<i64, u64> {
        let mut active: BTreeMap<i64, u64> = BTreeMap::new();
        for device in self.devices.values() {
            let periods: BTreeSet<i64> = device.active_days(definition).into_iter().map(period).collect();
            periods.iter().for_each(|period| *active.entry(*period).or_default() += 1);
        }
        active
    }

    /// By business day: devices seen for the first time.
    pub fn new_devices(&self) -> BTreeMap<i64, u64> {
        let mut new: BTreeMap<i64, u64> = BTreeMap::new();
        for day in self.devices.values().filter_map(ReferenceDevice::first_day) {
            *new.entry(day).or_default() += 1;
        }
        new
    }

    /// The retention triangle: devices by the day of their first event and a day, not before it, they were active on.
    pub fn retained(&self, definition: Definition) -> BTreeMap<(i64, i64), u64> {
        let mut retained: BTreeMap<(i64, i64), u64> = BTreeMap::new();
        for device in self.devices.values() {
            let Some(first) = device.first_day() else { continue };
            for day in device.active_days(definition).range(first..) {
                *retained.entry((first, *day)).or_default() += 1;
            }
        }
        retained
    }
}

#[cfg(test)]
mod tests;
