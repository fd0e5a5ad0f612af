//! What the metrics of every process mean, as `/metrics` tells it.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes what this crate reports. Each crate describes its own, once, at the start.
pub(crate) fn describe() {
    describe_gauge!("millrace_build_info", "Always 1; the labels say which stage and version runs.");
    describe_gauge!(
        "millrace_consumer_lag_records",
        Unit::Count,
        "Records of a partition that its group has still to read; control records of transactions count."
    );
    describe_counter!(
        "millrace_records_total",
        Unit::Count,
        "Records read and settled, aborted batches included."
    );
    describe_counter!(
        "millrace_transactions_total",
        Unit::Count,
        "Ended transactions by outcome; the records of an aborted one are read again."
    );
    describe_gauge!(
        "millrace_ledger_count",
        Unit::Count,
        "What became of everything read from an input partition since its first record, as committed with its offset."
    );
    describe_histogram!("millrace_process_seconds", Unit::Seconds, "Time to decide about one batch.");
    describe_histogram!(
        "millrace_commit_seconds",
        Unit::Seconds,
        "Time from the last decision of a batch to the end of its transaction."
    );
}
