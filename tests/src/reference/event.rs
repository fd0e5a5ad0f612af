//! One event with everything a correct pipeline knows of it, by the names of the catalogue.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Texts that are there many times are kept once.
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

/// An event as the cubes see it.
#[derive(Debug, Clone, Default)]
pub struct ReferenceEvent {
    /// event, duplicate, test or bot.
    pub kind: &'static str,
    /// Epoch ms.
    pub event_time: i64,
    /// Epoch ms.
    pub received_at: i64,
    /// Application and `anonymous_id`, if there is one.
    pub device: Option<Arc<str>>,
    /// Application and account, if there is one.
    pub user: Option<Arc<str>>,
    /// `content.tags`, as often as they are there.
    pub tags: Vec<Arc<str>>,
    /// Name and variant.
    pub experiments: Vec<(Arc<str>, Arc<str>)>,
    /// Definitions for which this is the first qualifying event of its day, of its week, of its month.
    pub active_day: Vec<Definition>,
    /// See above.
    pub active_week: Vec<Definition>,
    /// See above.
    pub active_month: Vec<Definition>,
    pub(super) texts: Vec<(&'static str, Arc<str>)>,
    pub(super) numbers: Vec<(&'static str, i64)>,
}

impl ReferenceEvent {
    /// A text; '' where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.texts.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
    }

    /// A number; 0 where there is none.
    pub fn number(&self, name: &str) -> i64 {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, number)| *number)
    }

    /// Whether it is one of these.
    pub fn is_named(&self, names: &[&str]) -> bool {
        names.contains(&self.text("event_name"))
    }

    /// Definitions a row of `audience` is due for.
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
