//! Why a message between the stages cannot be read.
use crate::protobuf::Malformed;

/// Format version that this crate writes and reads.
pub(super) const FORMAT: u64 = 2;
/// Versions up to this one are taken for those of newer programs; a higher number is that of another kind of message.
const NEWEST_FORMAT: u64 = FORMAT + 254;

/// Why the bytes of a message are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes are not a Protobuf message `EventBatch`.
    #[error("not an EventBatch: {0}")]
    Protobuf(#[from] Malformed),
    /// The message is empty, or another program wrote it.
    #[error("not an EventBatch: its format is {0}, this program writes format {FORMAT}")]
    Foreign(u64),
    /// A newer program wrote the message, so it must not be rejected: this program has to be replaced first.
    #[error("batch format {0} is newer than {FORMAT}, which this program reads: upgrade this program first")]
    Newer(u64),
    /// Parts of the message contradict each other.
    #[error("batch is damaged: {0}")]
    Damaged(String),
}

impl BatchError {
    /// The error of a message of another format. Every version of `EventBatch` names its rows, so a message without rows
    /// is none.
    pub(super) fn of_format(format: u64, rows: u64) -> Self {
        let is_newer = (FORMAT + 1..=NEWEST_FORMAT).contains(&format) && rows > 0;
        if is_newer { Self::Newer(format) } else { Self::Foreign(format) }
    }

    /// Whether a newer program wrote the message. Only then a reader has to end; every other message it cannot read is
    /// rejected.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer(_))
    }
}
