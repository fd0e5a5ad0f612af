//! A model of what the lane needs of Kafka: records with gaps, and a group's committed offsets, which only the current
//! generation of the group may move. `servers` holds it against a real broker.
use event::NextOffset;

/// Offsets of each partition. Every seventh one holds a transaction marker, not a record.
pub(super) const END: i64 = 24;
pub(super) const PARTITIONS: usize = 2;

/// Whether a record has this offset.
pub(super) fn is_record(offset: i64) -> bool {
    offset % 7 != 6
}

/// The group's offset of a partition, with its metadata.
pub(super) type Committed = Option<(NextOffset, String)>;

#[derive(Debug, Default)]
pub(super) struct Kafka {
    generation: u32,
    committed: [Committed; PARTITIONS],
}

impl Kafka {
    /// A member takes over all partitions; whoever had them before is no longer a member of the generation.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generation += 1;
        self.generation
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn committed(&self, partition: usize) -> &Committed {
        &self.committed[partition]
    }

    /// Commits all offsets or, for a member of an earlier generation, none.
    pub(super) fn commit(&mut self, generation: u32, offsets: &[(i32, NextOffset, String)]) -> bool {
        if generation != self.generation {
            return false;
        }
        for (partition, next, metadata) in offsets {
            self.committed[*partition as usize] = Some((*next, metadata.clone()));
        }
        true
    }
}
