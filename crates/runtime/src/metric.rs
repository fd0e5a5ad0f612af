//! Descriptions of the metrics that every process has.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes the metrics of the runtime and of Kafka clients. Each stage describes its own, once, at the start.
pub(crate) fn describe() {
    describe_gauge!("millrace_build_info", "Always 1. The labels are the stage and its version.");
    describe_gauge!(
        "millrace_degraded",
        Unit::Count,
        "Workers and other components that are degraded, by reason. /status has the cause of each."
    );
    describe_counter!(
        "millrace_workers_rebuilt_total",
        Unit::Count,
        "How often a worker was rebuilt because its clients failed."
    );
    describe_gauge!(
        "millrace_consumer_lag_records",
        Unit::Count,
        "Records of a partition up to its high watermark that its group has not read yet, records of open transactions and \
         control records included."
    );
    describe_gauge!(
        "millrace_open_transaction_seconds",
        Unit::Seconds,
        "How long the oldest open transaction of a partition has kept the records behind it from being read; 0 without one."
    );
    describe_gauge!(
        "millrace_partition_readers",
        Unit::Count,
        "Consumers of this process that read a partition. A partition whose sum over all processes is 0 is read by nobody."
    );
    describe_counter!(
        "millrace_records_total",
        Unit::Count,
        "Records processed, those of aborted transactions included."
    );
    describe_counter!(
        "millrace_undecodable_records_total",
        Unit::Count,
        "Offsets of batches that could not be decoded. Each range of them is one dead letter."
    );
    describe_counter!(
        "millrace_transactions_total",
        Unit::Count,
        "Transactions by outcome. The records of an aborted transaction are read again."
    );
    describe_gauge!(
        "millrace_ledger_count",
        Unit::Count,
        "Outcomes of all records of an input partition since the first one, as committed with its offset."
    );
    describe_histogram!("millrace_process_seconds", Unit::Seconds, "Time to process one batch.");
    describe_histogram!(
        "millrace_commit_seconds",
        Unit::Seconds,
        "Time from the end of processing to the end of the transaction."
    );
}
