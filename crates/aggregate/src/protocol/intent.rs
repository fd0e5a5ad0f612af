//! The intent as text: the metadata of offset b in Kafka, from which the next owner replays exactly these records. A
//! text that this program cannot read halts the partition.
use event::NextOffset;

use super::Halt;

const VERSION: &str = "1";

/// The metadata committed with offset b: the rows of [b, c) are about to be inserted, in this shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// c, the offset after the last record.
    pub end: NextOffset,
    /// When it was committed, epoch milliseconds.
    pub committed_ms: i64,
    /// Epoch of its tokens and markers.
    pub epoch: u32,
    /// Hash of the blocks.
    pub hash: u128,
    /// Number of blocks.
    pub blocks: usize,
    /// Number of marker rows in all of them.
    pub markers: usize,
    /// The table partition (its first second) whose marker row carries the ledger counts.
    pub ledger_partition: u32,
}

impl Intent {
    /// The text; below 300 bytes.
    pub fn encode(&self) -> String {
        let Self { end, committed_ms, epoch, hash, blocks, markers, ledger_partition } = self;
        format!(
            "{VERSION};c={};ts={committed_ms};ep={epoch};h={hash:032x};n={blocks};m={markers};w={ledger_partition}",
            end.0
        )
    }

    /// Reads the text; an empty one means no intent.
    ///
    /// # Errors
    /// The text is not an intent of this version.
    pub fn decode(text: &str) -> Result<Option<Self>, Halt> {
        if text.is_empty() {
            return Ok(None);
        }
        Self::fields(text).map(Some).ok_or_else(|| Halt::UnknownIntent(text.chars().take(300).collect()))
    }

    fn fields(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let mut field = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
        Some(Self {
            end: NextOffset(field("c")?.parse().ok()?),
            committed_ms: field("ts")?.parse().ok()?,
            epoch: field("ep")?.parse().ok()?,
            hash: u128::from_str_radix(field("h")?, 16).ok()?,
            blocks: field("n")?.parse().ok()?,
            markers: field("m")?.parse().ok()?,
            ledger_partition: field("w")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_read_back_as_it_was_written_and_is_short() {
        let shortest = Intent {
            end: NextOffset(9),
            committed_ms: 0,
            epoch: 1,
            hash: 7,
            blocks: 1,
            markers: 2,
            ledger_partition: 0,
        };
        let longest = Intent {
            end: NextOffset(i64::MAX),
            committed_ms: i64::MAX,
            epoch: u32::MAX,
            hash: u128::MAX,
            blocks: usize::MAX,
            markers: usize::MAX,
            ledger_partition: u32::MAX,
        };
        for intent in [shortest, longest.clone()] {
            let text = intent.encode();
            assert!(text.len() < 300, "{text}");
            assert_eq!(Intent::decode(&text), Ok(Some(intent)));
        }
        assert_eq!(Intent::decode(""), Ok(None));
        for text in ["2;c=1", "1;c=x;ts=1", "hello", "1", &longest.encode().replace(";n=", ";")] {
            assert_eq!(Intent::decode(text), Err(Halt::UnknownIntent(text.into())));
        }
    }
}
