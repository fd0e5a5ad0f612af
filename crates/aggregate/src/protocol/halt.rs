//! Why a partition needs an operator, each with what to do.

/// Why a partition needs an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The metadata of the committed offset was written by another program.
    #[error(
        "the metadata of its committed offset is not known to this version: `{0}`; run the version that wrote it, or \
         reset the group's offset and raise aggregate.epoch"
    )]
    UnknownIntent(String),
    /// Retention removed records before they were counted.
    #[error(
        "the group's offset is {offset}, but the topic now starts at {low}: records were removed before they were \
         counted; to continue without them, reset the group's offset (kafka-consumer-groups --reset-offsets \
         --to-earliest)"
    )]
    RecordsGone {
        /// The group's offset.
        offset: i64,
        /// The first record that exists.
        low: i64,
    },
    /// The topic ends before the committed offset.
    #[error(
        "the group's offset is {offset}, but the topic ends at {high}: it was recreated; reset the group's offset to \
         the topic's beginning and raise aggregate.epoch"
    )]
    BeyondEnd {
        /// The group's offset, or the end of its unfinished flush.
        offset: i64,
        /// The end of the topic.
        high: i64,
    },
    /// Reading on would count records twice.
    #[error(
        "the group's offset is {offset}, but the table holds all records below {marker}: reading on would count \
         records twice; reset the group's offset to {marker}, or raise aggregate.epoch to count them again"
    )]
    BelowMarker {
        /// The group's offset.
        offset: i64,
        /// The table holds all records below this offset.
        marker: u64,
    },
    /// An unfinished flush of another epoch builds other rows now.
    #[error(
        "epoch {epoch} left an unfinished flush of offsets {begin} to {end} from which this program builds other rows; \
         set aggregate.epoch back to {epoch} until the flush is written, or reset the group's offset"
    )]
    OtherEpoch {
        /// Epoch of the flush.
        epoch: u32,
        /// Its first offset.
        begin: i64,
        /// The offset after its last record.
        end: i64,
    },
    /// Some blocks of a large flush are in the table, and this program cuts its blocks differently.
    #[error(
        "a flush of offsets {begin} to {end} is half written, and this program or its cubes build other blocks; run \
         the version and cubes that started it until it is written"
    )]
    HalfWritten {
        /// Its first offset.
        begin: i64,
        /// The offset after its last record.
        end: i64,
    },
}
