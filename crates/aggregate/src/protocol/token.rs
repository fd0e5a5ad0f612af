//! The names that a flush leaves in ClickHouse: the source of its marker rows and the tokens of its inserts. Both follow
//! from epoch, topic, partition and range alone, so that every process builds the same.
use event::NextOffset;

/// The `src` column of the marker rows of a Kafka partition's first block; other blocks append `#` and their number.
pub fn source(epoch: u32, topic: &str, partition: i32) -> String {
    format!("{epoch}/{topic}/{partition}")
}

/// What the token of an insert is made of, besides topic, partition and block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenParts {
    /// Epoch of the flush.
    pub epoch: u32,
    /// b: the offset of its first record.
    pub begin: NextOffset,
    /// c: the offset after its last record.
    pub end: NextOffset,
    /// 0, or how often the server remembered the token of this block without its rows.
    pub repeat: u32,
}

/// The deduplication token of an insert: the same for the same rows, whoever sends them.
pub fn token(parts: &TokenParts, topic: &str, partition: i32, block: usize) -> String {
    let TokenParts { epoch, begin, end, repeat } = parts;
    let token = format!("{epoch}:{topic}:{partition}:{}-{}:{block}", begin.0, end.0);
    if *repeat == 0 { token } else { format!("{token}#{repeat}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_epoch_partition_range_and_block() {
        let parts = TokenParts { epoch: 1, begin: NextOffset(1), end: NextOffset(9), repeat: 0 };
        assert_eq!(token(&parts, "t", 3, 0), "1:t:3:1-9:0");
        assert_eq!(token(&TokenParts { repeat: 1, ..parts }, "t", 3, 0), "1:t:3:1-9:0#1");
    }
}
