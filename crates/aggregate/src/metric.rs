//! What the metrics of aggregate mean, as `/metrics` tells it.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes them once, at the start.
pub(crate) fn describe() {
    describe_counter!(
        "millrace_aggregate_events_total",
        Unit::Count,
        "Events or dead letters of the flushes begun, by lane."
    );
    describe_counter!(
        "millrace_aggregate_overflowed_events_total",
        Unit::Count,
        "Events counted under a catch-all cell because a flush had too many cells."
    );
    describe_gauge!(
        "millrace_aggregate_newest_received_timestamp_seconds",
        Unit::Seconds,
        "Unix time at which the newest event in the table was received; time() minus this is the data's age."
    );
    describe_histogram!(
        "millrace_aggregate_insert_seconds",
        Unit::Seconds,
        "Time of one attempt to insert a block, failed ones included."
    );
    describe_counter!(
        "millrace_aggregate_insert_retries_total",
        Unit::Count,
        "Inserts that failed and were repeated with the same rows and token."
    );
    describe_counter!("millrace_aggregate_inserts_total", Unit::Count, "Blocks that are in the table.");
    describe_counter!(
        "millrace_aggregate_rows_total",
        Unit::Count,
        "Rows of those blocks, without marker rows."
    );
}
