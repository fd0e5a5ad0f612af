//! Messages that a restore skips, because enrich did not write them.
use rdkafka::{Message, message::BorrowedMessage};
use std::fmt::Display;

/// Most messages of one restore that get a log line of their own: a topic may be full of them.
const MAX_LOGGED: u64 = 20;

/// The messages that one restore has skipped.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: u64,
}

impl Skipped {
    /// Counts a message and logs its place.
    pub(super) fn record(&mut self, topic: &str, message: &BorrowedMessage<'_>, error: &dyn Display) {
        self.count += 1;
        metrics::counter!("millrace_enrich_restore_skipped_total").increment(1);
        if self.count <= MAX_LOGGED {
            let (partition, offset) = (message.partition(), message.offset());
            tracing::error!(topic, partition, offset, %error, "message skipped by the restore: enrich did not write it; find the program that writes to this topic");
        }
    }

    /// Logs the number of messages, when there are more than were logged.
    pub(super) fn report(&self) {
        if self.count > MAX_LOGGED {
            let skipped = self.count;
            tracing::error!(skipped, "messages skipped by the restore; the first of them are logged above");
        }
    }
}
