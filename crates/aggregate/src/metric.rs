//! Descriptions of the metrics of aggregate, as `/metrics` shows them.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Registers the descriptions; called once at the start.
pub(crate) fn describe() {
    describe_counter!(
        "millrace_aggregate_events_total",
        Unit::Count,
        "Events or dead letters in the flushes that were started, by lane."
    );
    describe_counter!(
        "millrace_aggregate_overflowed_events_total",
        Unit::Count,
        "Events counted in the group `__other__`, because a flush had more than aggregate.max_groups groups."
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
        "Inserts and marker queries that failed with a transient error and were retried."
    );
    describe_counter!(
        "millrace_aggregate_recoveries_total",
        Unit::Count,
        "Partitions that were assigned with the intent of an unfinished flush."
    );
    describe_counter!(
        "millrace_aggregate_intents_replayed_total",
        Unit::Count,
        "Unfinished flushes whose records were read again and whose rows were built again."
    );
    describe_counter!(
        "millrace_aggregate_markers_found_total",
        Unit::Count,
        "Marker rows found after a recovery or a lost reply: their rows are in the table and are not sent again."
    );
    describe_counter!(
        "millrace_aggregate_markers_missing_total",
        Unit::Count,
        "Marker rows missing after a recovery or a lost reply: their rows are sent again."
    );
    describe_counter!(
        "millrace_aggregate_inserts_under_new_token_total",
        Unit::Count,
        "Inserts under a new token (`#1`), because ClickHouse remembered the token without the rows."
    );
    describe_counter!(
        "millrace_aggregate_foreign_messages_total",
        Unit::Count,
        "Messages that no stage of this pipeline wrote, by lane and topic. They are skipped; dead letters of stage \
         aggregate show them."
    );
    describe_gauge!(
        "millrace_aggregate_buffered_bytes",
        Unit::Bytes,
        "Memory of records and rows that are not in the table yet, by lane and worker."
    );
    describe_gauge!(
        "millrace_aggregate_paused_partitions",
        Unit::Count,
        "Partitions that are not read until some of that memory is free, by lane and worker."
    );
    describe_gauge!(
        "millrace_aggregate_partition_halted",
        Unit::Count,
        "1 while a partition is halted; /status and the log have the reason."
    );
    describe_counter!("millrace_aggregate_inserts_total", Unit::Count, "Blocks that are in the table.");
    describe_counter!(
        "millrace_aggregate_rows_total",
        Unit::Count,
        "Rows of those blocks, without marker rows."
    );
}
