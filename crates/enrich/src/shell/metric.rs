//! The help texts of the metrics of enrich, as `/metrics` shows them.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Registers the help texts; once, at the start.
pub(crate) fn describe() {
    describe_counter!("millrace_enrich_events_total", Unit::Count, "Events written, by kind.");
    describe_counter!("millrace_dead_letters_total", Unit::Count, "Dead letters written, by stage and code.");
    describe_gauge!(
        "millrace_enrich_dedupe_entries",
        Unit::Count,
        "Events remembered to recognise duplicates."
    );
    describe_gauge!(
        "millrace_enrich_dedupe_horizon_seconds",
        Unit::Seconds,
        "How far back every duplicate is recognised; less than enrich.dedupe_window when memory_limit or \
         enrich.dedupe_max_entries is reached."
    );
    describe_gauge!("millrace_enrich_devices", Unit::Count, "Devices in memory.");
    describe_gauge!(
        "millrace_enrich_device_horizon_days",
        Unit::Count,
        "Days of silence after which a device is forgotten; less than enrich.device_ttl when memory_limit or \
         enrich.max_devices is reached."
    );
    describe_gauge!(
        "millrace_enrich_state_bytes",
        Unit::Bytes,
        "Memory of devices and of the de-duplication window, as requested from the allocator."
    );
    describe_gauge!(
        "millrace_enrich_state_limit_bytes",
        Unit::Bytes,
        "Part of memory_limit for devices and the de-duplication window."
    );
    describe_counter!(
        "millrace_enrich_state_records_total",
        Unit::Count,
        "Records written to the changelog, including tombstones and records of aborted transactions."
    );
    describe_counter!(
        "millrace_enrich_restored_devices_total",
        Unit::Count,
        "Records of the changelog read by restores."
    );
    describe_counter!(
        "millrace_enrich_restored_events_total",
        Unit::Count,
        "Events of enriched-events read by restores."
    );
    describe_counter!(
        "millrace_enrich_restore_skipped_total",
        Unit::Count,
        "Messages of enrich-state and enriched-events that restores skipped because enrich did not write them."
    );
    describe_histogram!(
        "millrace_enrich_restore_seconds",
        Unit::Seconds,
        "Time from an assignment to the end of its restore."
    );
    describe_gauge!("millrace_enrich_activities", Unit::Count, "Activities in the registry.");
    describe_gauge!(
        "millrace_enrich_activity_rules",
        Unit::Count,
        "Rules of all activities in the registry."
    );
    describe_gauge!(
        "millrace_enrich_registry_age_seconds",
        Unit::Seconds,
        "Time since the registry was last known to be complete. It is checked every 5 s; a higher value means that \
         changes may be missing."
    );
    describe_counter!(
        "millrace_enrich_registry_errors_total",
        Unit::Count,
        "Entries of the registry that were ignored because they cannot be read."
    );
}
