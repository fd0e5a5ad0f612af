//! What the metrics of ingest mean, as `/metrics` tells it.
use metrics::{Unit, describe_counter, describe_gauge};

/// Describes them once, at the start.
pub(crate) fn describe() {
    describe_counter!("millrace_ingest_events_total", Unit::Count, "Events decided about, by verdict.");
    describe_counter!(
        "millrace_ingest_unknown_fields_total",
        Unit::Count,
        "Fields the contract does not know: ignored, in accepted and refused events alike."
    );
    describe_counter!(
        "millrace_ingest_time_source_total",
        Unit::Count,
        "Accepted events by whose clock their time comes from."
    );
    describe_counter!("millrace_dead_letters_total", Unit::Count, "Dead letters written, by stage and code.");
    describe_gauge!(
        "millrace_ingest_mostly_rejected",
        "1 while most of the newest events of a partition are refused, else 0."
    );
}
