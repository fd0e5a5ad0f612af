//! The state of one device and its effect on the next event, as the contract defines it, with sets where the pipeline
//! has bitmaps and lists where it has hashes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::channel;
use super::day::{day_of, month_of, week_of, written};
use super::event::{Definition, ReferenceEvent, Texts};

const MINUTES_30: i64 = 30 * 60_000;
const DAYS_30: i64 = 30 * 86_400_000;

/// The state of a device. Only events of kind `event` change it.
#[derive(Debug, Default)]
pub(super) struct ReferenceDevice {
    first: Option<First>,
    newest: i64,
    /// Session IDs of clients and the channel of each, the newest last.
    sessions: Vec<(String, &'static str)>,
    last_session: &'static str,
    touch: Option<(i64, &'static str)>,
    active: BTreeMap<Definition, BTreeSet<i64>>,
    /// Completed steps, by definition and day.
    steps: BTreeMap<(Definition, i64), usize>,
    index: Option<u64>,
    playbacks: BTreeMap<String, Playback>,
    contents: Vec<String>,
    orders: Vec<String>,
    vip_page: Option<(i64, String)>,
    activities: Vec<String>,
    activity: Option<(i64, String)>,
    install_source: String,
}

#[derive(Debug)]
struct First {
    day: i64,
    channel_group: &'static str,
}

#[derive(Debug, Default)]
struct Playback {
    played_ms: i64,
    effective: bool,
    completed: bool,
}

/// Moves `one` to the end of a list of the last `most` distinct texts. Returns whether it was in the list.
fn move_to_end(list: &mut Vec<String>, one: &str, most: usize) -> bool {
    let before = list.len();
    list.retain(|known| known != one);
    let was_there = list.len() < before;
    list.push(one.to_owned());
    if list.len() > most {
        list.remove(0);
    }
    was_there
}

/// A text of the raw event; empty when absent.
pub(super) fn text<'a>(event: &'a Map<String, Value>, path: &str) -> &'a str {
    at(event, path).and_then(Value::as_str).unwrap_or_default()
}

/// A number of the raw event; 0 when absent.
pub(super) fn number(event: &Map<String, Value>, path: &str) -> i64 {
    at(event, path).and_then(Value::as_i64).unwrap_or_default()
}

fn at<'a>(event: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((part, member)) => event.get(part)?.get(member),
        None => event.get(path),
    }
}

/// Group of a session without any evidence.
pub(super) fn without_evidence(raw: &Map<String, Value>) -> &'static str {
    if text(raw, "platform") == "mini_program" {
        "mini_program"
    } else if super::agent::is_in_app(text(raw, "user_agent")) {
        "in_app_browser"
    } else {
        "direct"
    }
}

impl ReferenceDevice {
    /// Applies the next event to the device, and adds what follows from the state to the event, except activities.
    pub(super) fn take(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent, texts: &mut Texts) {
        let is_new = self.first.is_none();
        event.put("is_new_device", i64::from(is_new));
        if self.install_source.is_empty() {
            text(raw, "install_source").clone_into(&mut self.install_source);
        }
        if text(raw, "install_source").is_empty() {
            event.set(texts, "install_source", &self.install_source);
        }
        let channel_group = self.visit(raw, event, is_new);
        event.set(texts, "channel_group", channel_group);
        let day = day_of(event.event_time);
        let first = self.first.get_or_insert(First { day, channel_group });
        event.set(texts, "first_channel_group", first.channel_group);
        event.set(texts, "cohort_day", &written(first.day));
        event.put("days_since_first", day - first.day);
        self.be_active(raw, event);
        if let Some(index) = raw.get("event_index").and_then(Value::as_u64) {
            let jump = self.index.map_or(0, |last| index.saturating_sub(last));
            let lost = if jump > 1_000_000 { 0 } else { jump.saturating_sub(1) };
            event.put("lost_events", lost as i64);
            self.index = Some(self.index.map_or(index, |last| last.max(index)));
        }
        if text(raw, "event_name").starts_with("playback_") {
            self.play(raw, event);
        }
        self.buy(raw, event, texts);
    }

    fn visit(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent, is_new: bool) -> &'static str {
        let shown = channel::by_evidence(raw, is_new);
        let id = text(raw, "session_id");
        let known = self.sessions.iter().find(|(known, _)| known == id).map(|(_, group)| *group);
        let joined = if id.is_empty() {
            (!is_new && event.event_time - self.newest <= MINUTES_30).then_some(self.last_session)
        } else {
            known
        };
        let group = joined.unwrap_or_else(|| {
            let age = |touched: i64| event.event_time - touched;
            let inherited =
                self.touch.filter(|(at, _)| (0..=DAYS_30).contains(&age(*at))).map(|(_, group)| group);
            let group = shown.or(inherited).unwrap_or_else(|| without_evidence(raw));
            event.put("session_start", 1);
            self.last_session = group;
            if !id.is_empty() {
                self.sessions.push((id.to_owned(), group));
                if self.sessions.len() > 16 {
                    self.sessions.remove(0);
                }
            }
            group
        });
        if let Some(shown) = shown.filter(|group| *group != "internal")
            && self.touch.is_none_or(|(at, _)| event.event_time >= at)
        {
            self.touch = Some((event.event_time, shown));
        }
        self.newest = if is_new { event.event_time } else { self.newest.max(event.event_time) };
        group
    }

    fn be_active(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent) {
        let day = day_of(event.event_time);
        let name = text(raw, "event_name");
        let long_enough = number(raw, "playback.played_ms") >= 10_000;
        let core = match self.steps.get(&("core_flow", day)).copied().unwrap_or(0) {
            0 => name == "app_open",
            1 => name == "content_view",
            _ => name == "playback_ping" && long_enough,
        };
        if core {
            *self.steps.entry(("core_flow", day)).or_default() += 1;
        }
        let core_done = core && self.steps[&("core_flow", day)] >= 3;
        for (definition, qualifies) in [("any", true), ("core_flow", core_done), ("login", name == "login")] {
            let days = self.active.entry(definition).or_default();
            if !qualifies || days.contains(&day) {
                continue;
            }
            event.active_day.push(definition);
            if !days.iter().any(|other| week_of(*other) == week_of(day)) {
                event.active_week.push(definition);
            }
            if !days.iter().any(|other| month_of(*other) == month_of(day)) {
                event.active_month.push(definition);
            }
            days.insert(day);
        }
    }

    fn play(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent) {
        let id = text(raw, "playback.id");
        if !self.playbacks.contains_key(id) {
            event.put("play_start", 1);
            let content = text(raw, "content.id");
            event.put("replay", i64::from(move_to_end(&mut self.contents, content, 64)));
        }
        let playback = self.playbacks.entry(id.to_owned()).or_default();
        playback.played_ms += number(raw, "playback.played_ms");
        let duration = number(raw, "content.duration_ms");
        if playback.played_ms >= 10_000 && !playback.effective {
            playback.effective = true;
            event.put("effective_play", 1);
        }
        if duration > 0 && playback.played_ms * 100 >= duration * 90 && !playback.completed {
            playback.completed = true;
            event.put("completed_play", 1);
        }
    }

    fn buy(&mut self, raw: &Map<String, Value>, event: &mut ReferenceEvent, texts: &mut Texts) {
        let name = text(raw, "event_name");
        if name == "vip_page_viewed" {
            self.vip_page = Some((event.event_time, text(raw, "commerce.entry_point").to_owned()));
        }
        if !["vip_opened", "gift_sent"].contains(&name) {
            return;
        }
        let repeated = move_to_end(&mut self.orders, text(raw, "commerce.order_id"), 32);
        event.put("repeated_order", i64::from(repeated));
        if name == "vip_opened" && !repeated {
            let recent = |(at, _): &mut (i64, String)| (0..=MINUTES_30).contains(&(event.event_time - *at));
            if let Some((_, entry_point)) = self.vip_page.take_if(recent) {
                event.set(texts, "matched_entry_point", &entry_point);
            }
        }
    }

    /// Notes a touch of an activity with status ok. Returns whether it is the device's first one.
    pub(super) fn touch_activity(&mut self, activity: &str, event_time: i64) -> bool {
        if self.activity.as_ref().is_none_or(|(at, _)| event_time >= *at) {
            self.activity = Some((event_time, activity.to_owned()));
        }
        !move_to_end(&mut self.activities, activity, 32)
    }

    /// The activity that a conversion counts for.
    pub(super) fn attributed(&self, event_time: i64, window_ms: impl Fn(&str) -> i64) -> Option<&str> {
        let (at, activity) = self.activity.as_ref()?;
        (0..=window_ms(activity)).contains(&(event_time - at)).then_some(activity)
    }

    /// Business day of its first event.
    pub(super) fn first_day(&self) -> Option<i64> {
        self.first.as_ref().map(|first| first.day)
    }

    /// Business days on which it was active.
    pub(super) fn active_days(&self, definition: &str) -> BTreeSet<i64> {
        self.active.get(definition).cloned().unwrap_or_default()
    }
}
