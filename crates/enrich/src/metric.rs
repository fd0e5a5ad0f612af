//! What the metrics of enrich mean, as `/metrics` tells it.
use metrics::{Unit, describe_counter, describe_gauge};

/// Describes them once, at the start.
pub(crate) fn describe() {
    describe_counter!("millrace_enrich_events_total", Unit::Count, "Events written, by kind.");
    describe_counter!("millrace_dead_letters_total", Unit::Count, "Dead letters written, by stage and code.");
    describe_gauge!(
        "millrace_enrich_dedupe_entries",
        Unit::Count,
        "Events that a worker remembers in order to recognise their repetition."
    );
    describe_gauge!("millrace_enrich_activities", Unit::Count, "Activities in the registry.");
    describe_counter!(
        "millrace_enrich_registry_errors_total",
        Unit::Count,
        "Entries of the registry that could not be read and were ignored."
    );
}
