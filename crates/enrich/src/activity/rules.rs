//! The rules of all activities for events of one name.
use event::{
    Batch, Field,
    predicate::{self, Condition, PropertyReader},
};
use std::sync::Arc;

use super::registered::RegisteredActivity;

/// The rules for events of one name.
#[derive(Debug, Clone, Default)]
pub(super) struct NameRules {
    /// In the order in which they are tried: by activity ID, then as the activity lists them.
    in_order: Vec<CompiledRule>,
    /// Reads the properties of all conditions at once.
    properties: PropertyReader,
}

/// A rule with its conditions parsed.
#[derive(Debug, Clone)]
pub(super) struct CompiledRule {
    pub(super) activity: Arc<RegisteredActivity>,
    pub(super) key: Arc<str>,
    pub(super) conditions: Arc<[Condition]>,
}

impl NameRules {
    pub(super) fn insert(&mut self, rule: CompiledRule) {
        for path in rule.conditions.iter().filter_map(|condition| condition.path.as_ref()) {
            self.properties.add(path);
        }
        let behind = self.in_order.partition_point(|other| other.activity.id() <= rule.activity.id());
        self.in_order.insert(behind, rule);
    }

    /// Removes the rules of an activity.
    pub(super) fn remove(&mut self, activity_id: &str) {
        self.in_order.retain(|rule| rule.activity.id() != activity_id);
        self.properties = predicate::properties_of(self.in_order.iter().flat_map(|rule| &*rule.conditions));
    }

    pub(super) fn len(&self) -> usize {
        self.in_order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// The first rule that matches the event of a row, whose activity runs in the event's app and at its time.
    pub(super) fn first_match(&self, batch: &Batch, row: usize) -> Option<&CompiledRule> {
        let (app_id, event_time_ms) = (batch.text(Field::AppId, row), batch.number(Field::EventTime, row));
        let event = predicate::EventValues::new(batch, row, &self.properties);
        self.in_order.iter().find(|rule| {
            rule.activity.runs_in(app_id)
                && rule.activity.runs_at(event_time_ms)
                && rule.conditions.iter().all(|condition| condition.holds(&event))
        })
    }
}
