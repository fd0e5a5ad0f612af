//! One registered activity: where and when it runs.
use event::Activity;

/// How long a touch counts for conversions, unless the activity defines it.
pub(super) const DEFAULT_ATTRIBUTION_WINDOW_MS: i64 = 24 * 3_600_000;

/// An activity as the registry defines it.
#[derive(Debug)]
pub(super) struct RegisteredActivity {
    pub(super) definition: Activity,
    pub(super) attribution_window_ms: i64,
}

impl RegisteredActivity {
    pub(super) fn new(definition: Activity) -> Self {
        let attribution_window_ms =
            definition.attribution_window_ms().unwrap_or(DEFAULT_ATTRIBUTION_WINDOW_MS);
        Self { definition, attribution_window_ms }
    }

    pub(super) fn id(&self) -> &str {
        &self.definition.activity_id
    }

    pub(super) fn kind(&self) -> &'static str {
        self.definition.kind.as_str()
    }

    pub(super) fn has_event(&self, key: &str) -> bool {
        self.definition.events.iter().any(|event| event.key == key)
    }

    pub(super) fn runs_in(&self, app_id: &str) -> bool {
        let apps = &self.definition.app_ids;
        apps.is_empty() || apps.iter().any(|app| app == app_id)
    }

    pub(super) fn runs_at(&self, event_time_ms: i64) -> bool {
        self.definition.starts_at_ms.is_none_or(|starts| starts <= event_time_ms)
            && self.definition.ends_at_ms.is_none_or(|ends| event_time_ms < ends)
    }
}
