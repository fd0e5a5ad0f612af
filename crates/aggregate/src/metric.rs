//! Descriptions of the metrics of aggregate, as `/metrics` shows them.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Registers the descriptions; called once at the start.
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
        "Inserts or readings of markers that failed and were tried again."
    );
    describe_counter!(
        "millrace_aggregate_recoveries_total",
        Unit::Count,
        "Partitions that were assigned with the intent of an earlier process's unfinished flush."
    );
    describe_counter!(
        "millrace_aggregate_intents_replayed_total",
        Unit::Count,
        "Unfinished flushes whose records were read again and whose rows were built again."
    );
    describe_counter!(
        "millrace_aggregate_markers_found_total",
        Unit::Count,
        "Marker rows found after a recovery or a lost answer: their rows are in the table and not sent again."
    );
    describe_counter!(
        "millrace_aggregate_markers_missing_total",
        Unit::Count,
        "Marker rows missed after a recovery or a lost answer: their rows are sent again."
    );
    describe_counter!(
        "millrace_aggregate_inserts_under_new_token_total",
        Unit::Count,
        "Inserts under a new token (`#1`), because ClickHouse remembered the token and not the rows."
    );
    describe_gauge!(
        "millrace_aggregate_partition_halted",
        Unit::Count,
        "1 while a partition is halted and needs a person; /status and the log say why."
    );
    describe_counter!("millrace_aggregate_inserts_total", Unit::Count, "Blocks that are in the table.");
    describe_counter!(
        "millrace_aggregate_rows_total",
        Unit::Count,
        "Rows of those blocks, without marker rows."
    );
}
