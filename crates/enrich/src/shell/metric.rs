//! What the metrics of enrich mean, as `/metrics` tells it.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes them once, at the start.
pub(crate) fn describe() {
    describe_counter!("millrace_enrich_events_total", Unit::Count, "Events written, by kind.");
    describe_counter!("millrace_dead_letters_total", Unit::Count, "Dead letters written, by stage and code.");
    describe_gauge!(
        "millrace_enrich_dedupe_entries",
        Unit::Count,
        "Events that a worker remembers in order to recognise their repetition."
    );
    describe_gauge!(
        "millrace_enrich_dedupe_horizon_seconds",
        Unit::Seconds,
        "For how long back every repetition is recognised; less than enrich.dedupe_window where \
         enrich.dedupe_max_entries cuts it short."
    );
    describe_gauge!("millrace_enrich_devices", Unit::Count, "Devices in memory.");
    describe_gauge!(
        "millrace_enrich_device_horizon_days",
        Unit::Count,
        "Days of silence after which a device is forgotten; less than enrich.device_ttl where enrich.max_devices cuts \
         it short."
    );
    describe_counter!(
        "millrace_enrich_state_records_total",
        Unit::Count,
        "Records written to the changelog, tombstones and those of aborted transactions included."
    );
    describe_counter!(
        "millrace_enrich_restored_devices_total",
        Unit::Count,
        "Records of the changelog read back after assignments."
    );
    describe_counter!(
        "millrace_enrich_restored_events_total",
        Unit::Count,
        "Events replayed after assignments."
    );
    describe_histogram!(
        "millrace_enrich_restore_seconds",
        Unit::Seconds,
        "Time from an assignment until its state was read back."
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
        "Time since the registry was last known to be complete; checked every 5 s, so more than that means that changes \
         may be missing."
    );
    describe_counter!(
        "millrace_enrich_registry_errors_total",
        Unit::Count,
        "Entries of the registry that could not be read and were ignored."
    );
}
