//! What the operator decides about events: which apps may send, which names are accepted, which IDs are
//! placeholders, and how old an event may be.
use crate::forbidden_id::ForbiddenIds;
use foldhash::fast::RandomState;
use std::{collections::HashSet, time::Duration};

/// The part of the validation that the configuration decides.
#[derive(Debug, Clone)]
pub struct EventPolicy {
    apps: HashSet<String, RandomState>,
    standard_names_only: bool,
    max_event_age_ms: i64,
    forbidden_ids: ForbiddenIds,
}

impl EventPolicy {
    /// `apps` may send events (empty: every app may). `standard_names_only` rejects event names outside the
    /// contract's list. An event older than `max_event_age` is rejected.
    pub fn new(
        apps: impl IntoIterator<Item = String>,
        standard_names_only: bool,
        max_event_age: Duration,
    ) -> Self {
        let max_event_age_ms = i64::try_from(max_event_age.as_millis()).unwrap_or(i64::MAX);
        let forbidden_ids = ForbiddenIds::default();
        Self { apps: apps.into_iter().collect(), standard_names_only, max_event_age_ms, forbidden_ids }
    }

    /// Rejects events with these `anonymous_id`s too, beside the placeholders of the contract.
    pub fn forbidding_ids(self, ids: impl IntoIterator<Item = String>) -> Self {
        Self { forbidden_ids: ForbiddenIds::new(ids), ..self }
    }

    pub(crate) fn accepts_app(&self, app_id: &str) -> bool {
        self.apps.is_empty() || self.apps.contains(app_id)
    }

    pub(crate) fn forbids_id(&self, anonymous_id: &str) -> bool {
        self.forbidden_ids.contains(anonymous_id)
    }

    pub(crate) fn standard_names_only(&self) -> bool {
        self.standard_names_only
    }

    /// In milliseconds.
    pub(crate) fn max_event_age_ms(&self) -> i64 {
        self.max_event_age_ms
    }
}
