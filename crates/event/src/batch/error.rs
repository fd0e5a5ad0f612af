//! Why a message between the stages cannot be read.
use crate::protobuf::Malformed;

/// Format version that this crate writes and reads.
pub(super) const FORMAT: u64 = 2;

/// Why the bytes of a message are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes are not a Protobuf message `EventBatch`.
    #[error("not an EventBatch: {0}")]
    Protobuf(#[from] Malformed),
    /// The format version is unknown: a newer program wrote the message, or the message is not a batch.
    #[error("batch format {0} is not known, this program reads format {FORMAT}: upgrade this program first")]
    Format(u64),
    /// Parts of the message contradict each other.
    #[error("batch is damaged: {0}")]
    Damaged(String),
}
