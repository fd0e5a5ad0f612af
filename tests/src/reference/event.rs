//! One event with every field that a correct pipeline computes, by the names of the catalogue.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Keeps each distinct text once.
#[derive(Debug, Default)]
pub(super) struct Texts(BTreeSet<Arc<str>>);

impl Texts {
    pub(super) fn keep(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let kept: Arc<str> = text.into();
        self.0.insert(Arc::clone(&kept));
        kept
    }
}

/// A definition of active.
pub type Definition = &'static str;

/// An event with the fields that cubes use.
#[derive(Debug, Clone, Default)]
pub struct ReferenceEvent {
    /// event, duplicate, test or bot.
    pub kind: &'static str,
    /// Epoch ms.
    pub event_time: i64,
    /// Epoch ms.
    pub received_at: i64,
    /// Application and `anonymous_id`, if it has one.
    pub device: Option<Arc<str>>,
    /// Application and account, if it has one.
    pub user: Option<Arc<str>>,
    /// `content.tags`, with repetitions.
    pub tags: Vec<Arc<str>>,
    /// Name and variant.
    pub experiments: Vec<(Arc<str>, Arc<str>)>,
    /// Definitions for which this is the device's first qualifying event of the day.
    pub active_day: Vec<Definition>,
    /// The same for the week.
    pub active_week: Vec<Definition>,
    /// The same for the month.
    pub active_month: Vec<Definition>,
    pub(super) texts: Vec<(&'static str, Arc<str>)>,
    pub(super) numbers: Vec<(&'static str, i64)>,
}

impl ReferenceEvent {
    /// A text; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.texts.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
    }

    /// A number; 0 when absent.
    pub fn number(&self, name: &str) -> i64 {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, number)| *number)
    }

    /// Whether its name is one of these.
    pub fn is_named(&self, names: &[&str]) -> bool {
        names.contains(&self.text("event_name"))
    }

    /// Definitions for which the event adds to `audience`.
    pub fn active_definitions(&self) -> Vec<Definition> {
        let any = self.number("is_new_device") + self.number("session_start") > 0;
        let lists = [&self.active_day, &self.active_week, &self.active_month];
        let in_a_list = lists.into_iter().flatten().copied();
        let all: BTreeSet<Definition> = any.then_some("any").into_iter().chain(in_a_list).collect();
        all.into_iter().collect()
    }

    pub(super) fn set(&mut self, texts: &mut Texts, name: &'static str, text: &str) {
        self.texts.retain(|(known, _)| *known != name);
        if !text.is_empty() {
            self.texts.push((name, texts.keep(text)));
        }
    }

    pub(super) fn put(&mut self, name: &'static str, number: i64) {
        self.numbers.retain(|(known, _)| *known != name);
        if number != 0 {
            self.numbers.push((name, number));
        }
    }
}
