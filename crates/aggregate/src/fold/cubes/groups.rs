//! The groups and cells of one cube: a group is one combination of dimensions, a cell is a group in one cell of time.
use hashbrown::HashTable;

use super::compiled::CompiledCube;
use super::interner::{Interner, TextId};

/// The value of every dimension in the group that takes all groups above the limit.
pub const OTHER: &str = "__other__";
const NO_GROUP: u32 = u32::MAX;
/// Repeated IDs are removed from a sketch's list when it has this length.
const COMPACT_FROM: usize = 32 * 1024;

/// Bounds the number of groups of a cube; the interner has the text of the group above the limit.
pub(super) struct Limit<'a> {
    pub(super) max_groups: usize,
    pub(super) interner: &'a mut Interner,
}

/// What was counted of one cube.
#[derive(Debug)]
pub(super) struct Groups {
    width: usize,
    sums_per_cell: usize,
    /// Texts of each group, `width` of them.
    keys: Vec<TextId>,
    by_key: HashTable<u32>,
    /// Bucket and cell that each group used last: nearly always the ones needed next.
    latest: Vec<(u32, u32)>,
    /// Bytes of the texts of each group.
    text_bytes: Vec<u32>,
    other: u32,
    /// Group and bucket of each cell.
    cells: Vec<(u32, u32)>,
    by_cell: HashTable<u32>,
    sums: Vec<i64>,
    received_max: Vec<i64>,
    /// The IDs of each sketch.
    seen: Vec<Seen>,
    /// Bytes of the texts of the groups of all cells.
    cell_text_bytes: usize,
}

/// Cells and IDs of one sketch. Repeated pairs are removed from time to time, so that memory grows with the distinct
/// ones only.
#[derive(Debug, Clone)]
struct Seen {
    pairs: Vec<(u32, u64)>,
    compact_at: usize,
}

impl Groups {
    pub(super) fn new(cube: &CompiledCube) -> Self {
        Self {
            width: cube.dimensions.len(),
            sums_per_cell: cube.sums.len(),
            keys: Vec::new(),
            by_key: HashTable::new(),
            latest: Vec::new(),
            text_bytes: Vec::new(),
            other: NO_GROUP,
            cells: Vec::new(),
            by_cell: HashTable::new(),
            sums: Vec::new(),
            received_max: Vec::new(),
            seen: vec![Seen { pairs: Vec::new(), compact_at: COMPACT_FROM }; cube.uniqs.len()],
            cell_text_bytes: 0,
        }
    }

    /// Adds the next text of a key to the hash of the texts before it.
    #[inline]
    pub(super) fn hashed(before: u64, text: TextId) -> u64 {
        mixed(before ^ u64::from(text))
    }

    /// The group of these texts, and whether it is the group [`OTHER`].
    pub(super) fn group(&mut self, hash: u64, wanted: &[TextId], limit: &mut Limit<'_>) -> (u32, bool) {
        let width = self.width;
        let keys = &self.keys;
        let key_of = |group: u32| &keys[group as usize * width..(group as usize + 1) * width];
        if let Some(&group) = self.by_key.find(hash, |&group| key_of(group) == wanted) {
            return (group, group == self.other);
        }
        if self.latest.len() - usize::from(self.other != NO_GROUP) >= limit.max_groups {
            return (self.other_group(limit), true);
        }
        let group = self.latest.len() as u32;
        self.keys.extend_from_slice(wanted);
        self.latest.push((0, NO_GROUP));
        let bytes: usize = wanted.iter().map(|&text| limit.interner.text(text).len()).sum();
        self.text_bytes.push(bytes as u32);
        let keys = &self.keys;
        self.by_key.insert_unique(hash, group, |&group| {
            hash_of(&keys[group as usize * width..(group as usize + 1) * width])
        });
        (group, false)
    }

    fn other_group(&mut self, limit: &mut Limit<'_>) -> u32 {
        if self.other == NO_GROUP {
            let text = limit.interner.intern(OTHER);
            self.other = self.latest.len() as u32;
            self.keys.resize(self.keys.len() + self.width, text);
            self.latest.push((0, NO_GROUP));
            self.text_bytes.push((self.width * OTHER.len()) as u32);
        }
        self.other
    }

    /// The cell of a group in a bucket.
    pub(super) fn cell(&mut self, group: u32, bucket: u32) -> u32 {
        let (latest_bucket, latest_cell) = self.latest[group as usize];
        if latest_cell != NO_GROUP && latest_bucket == bucket {
            return latest_cell;
        }
        let hash = cell_hash((group, bucket));
        let cells = &self.cells;
        let known = self.by_cell.find(hash, |&cell| cells[cell as usize] == (group, bucket)).copied();
        let cell = known.unwrap_or_else(|| {
            let cell = self.cells.len() as u32;
            self.cells.push((group, bucket));
            self.sums.resize(self.sums.len() + self.sums_per_cell, 0);
            self.received_max.push(0);
            self.cell_text_bytes += self.text_bytes[group as usize] as usize;
            let cells = &self.cells;
            self.by_cell.insert_unique(hash, cell, |&cell| cell_hash(cells[cell as usize]));
            cell
        });
        self.latest[group as usize] = (bucket, cell);
        cell
    }

    /// Notes when a row of the cell was received.
    pub(super) fn received(&mut self, cell: u32, millis: i64) {
        let newest = &mut self.received_max[cell as usize];
        *newest = millis.max(*newest);
    }

    /// Adds to a sum. It wraps as in ClickHouse, so the order of additions has no influence.
    pub(super) fn add(&mut self, cell: u32, sum: usize, value: i64) {
        let total = &mut self.sums[cell as usize * self.sums_per_cell + sum];
        *total = total.wrapping_add(value);
    }

    /// Notes an ID for a sketch.
    pub(super) fn saw(&mut self, cell: u32, sketch: usize, id: u64) {
        let seen = &mut self.seen[sketch];
        seen.pairs.push((cell, id));
        if seen.pairs.len() >= seen.compact_at {
            seen.pairs.sort_unstable();
            seen.pairs.dedup();
            seen.compact_at = (2 * seen.pairs.len()).max(COMPACT_FROM);
        }
    }

    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        let seen: usize = self.seen.iter().map(|seen| seen.pairs.capacity() * size_of::<(u32, u64)>()).sum();
        let tables = self.by_key.allocation_size() + self.by_cell.allocation_size();
        let numbers = self.keys.capacity() + self.text_bytes.capacity();
        let pairs = self.latest.capacity() + self.cells.capacity();
        let sums = self.sums.capacity() + self.received_max.capacity();
        seen + tables + numbers * size_of::<u32>() + pairs * size_of::<(u32, u32)>() + sums * size_of::<i64>()
    }

    /// The most bytes that its rows take in a block whose rows take `row_bytes` each, texts and IDs not included.
    pub(super) fn row_bytes(&self, panes: usize, row_bytes: usize) -> usize {
        let ids: usize = self.seen.iter().map(|seen| seen.pairs.len() * size_of::<u64>()).sum();
        panes * (self.cells.len() * row_bytes + self.cell_text_bytes + ids)
    }

    /// Number of groups.
    pub(super) fn group_count(&self) -> usize {
        self.latest.len()
    }

    /// The texts of a group.
    pub(super) fn key(&self, group: u32) -> &[TextId] {
        &self.keys[group as usize * self.width..(group as usize + 1) * self.width]
    }

    /// Group and bucket of each cell.
    pub(super) fn cells(&self) -> &[(u32, u32)] {
        &self.cells
    }

    /// The sums of a cell.
    pub(super) fn sums(&self, cell: u32) -> &[i64] {
        &self.sums[cell as usize * self.sums_per_cell..(cell as usize + 1) * self.sums_per_cell]
    }

    /// When the newest row of a cell was received.
    pub(super) fn received_max(&self, cell: u32) -> i64 {
        self.received_max[cell as usize]
    }

    /// The IDs of a sketch by cell: all IDs, and the start of each cell's IDs. May hold an ID twice.
    pub(super) fn ids(&self, sketch: usize) -> (Vec<u64>, Vec<usize>) {
        let seen = &self.seen[sketch].pairs;
        let mut starts = vec![0; self.cells.len() + 1];
        for &(cell, _) in seen {
            starts[cell as usize + 1] += 1;
        }
        for cell in 1..starts.len() {
            starts[cell] += starts[cell - 1];
        }
        let mut next = starts.clone();
        let mut ids = vec![0; seen.len()];
        for &(cell, id) in seen {
            ids[next[cell as usize]] = id;
            next[cell as usize] += 1;
        }
        (ids, starts)
    }
}

/// One round of a folded multiplication. Keys are small numbers that clients do not choose, so a stronger hash is not
/// needed.
fn mixed(value: u64) -> u64 {
    let wide = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xd6e8_feb8_6659_fd93_u64);
    (wide as u64) ^ (wide >> 64) as u64
}

fn hash_of(key: &[TextId]) -> u64 {
    key.iter().fold(0, |hash, &text| Groups::hashed(hash, text))
}

fn cell_hash((group, bucket): (u32, u32)) -> u64 {
    mixed(u64::from(group) << 32 | u64::from(bucket))
}

#[cfg(test)]
mod tests {
    use super::super::compiled::CompiledLane;
    use super::*;
    use crate::cube::{BUILT_IN, CubeLane, Cubes};
    use jiff::tz::TimeZone;

    #[test]
    fn repeated_ids_take_no_memory_and_no_id_is_lost() {
        let cubes = Cubes::parse(BUILT_IN).unwrap();
        let lane = CompiledLane::new(&cubes, CubeLane::Report, 7, TimeZone::UTC);
        let traffic = lane.cubes.iter().find(|cube| cube.name == "traffic").unwrap();
        let mut groups = Groups::new(traffic);
        let cells = [groups.cell_of_first_group(0), groups.cell_of_first_group(3600)];
        for nth in 0..(10 * COMPACT_FROM as u64) {
            groups.saw(cells[nth as usize % 2], 0, nth % 1000 + 1);
        }
        assert!(groups.seen[0].pairs.capacity() <= 2 * COMPACT_FROM);
        let (ids, starts) = groups.ids(0);
        for (cell, odd) in [(0, 1), (1, 0)] {
            let mut found = ids[starts[cell]..starts[cell + 1]].to_vec();
            found.sort_unstable();
            found.dedup();
            let expected: Vec<u64> = (1..=1000).filter(|id| id % 2 == odd).collect();
            assert_eq!(found, expected);
        }
    }

    impl Groups {
        fn cell_of_first_group(&mut self, bucket: u32) -> u32 {
            let mut interner = Interner::default();
            let key = vec![0; self.width];
            let mut limit = Limit { max_groups: 9, interner: &mut interner };
            let (group, _) = self.group(hash_of(&key), &key, &mut limit);
            self.cell(group, bucket)
        }
    }
}
