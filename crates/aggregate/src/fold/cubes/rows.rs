//! The rows of a flush, made from the cells of a cube: pane by pane, sorted by bucket and by the texts of the dimensions.
use event::calendar::BusinessDays;

use super::clock::bucket_of;
use super::compiled::CompiledCube;
use super::groups::Groups;
use super::interner::Interner;
use crate::block::{BlockBuilder, Value};
use crate::cube::Pane;
use crate::table::lane_column;

/// Writes all rows of one cube. `row_bytes` is what a row takes in its block without its texts and IDs.
pub(super) fn write(
    cube: &CompiledCube,
    groups: &Groups,
    interner: &Interner,
    days: &mut BusinessDays,
    row_bytes: usize,
    builder: &mut BlockBuilder,
) {
    if groups.cells().is_empty() {
        return;
    }
    let ranks = ranked(groups, interner);
    let sketches: Vec<_> = (0..cube.uniqs.len()).map(|sketch| groups.ids(sketch)).collect();
    let rows = RowBuilder { cube, groups, interner, sketches: &sketches, row_bytes };
    for &pane in &cube.panes {
        rows.pane(pane, &ranks, days, builder);
    }
}

/// The rank of each group in the order of their texts.
fn ranked(groups: &Groups, interner: &Interner) -> Vec<u32> {
    let count = groups.group_count() as u32;
    let mut used: Vec<u32> = (0..count).flat_map(|group| groups.key(group).iter().copied()).collect();
    used.sort_unstable();
    used.dedup();
    used.sort_unstable_by_key(|&text| interner.text(text));
    let mut text_ranks = vec![0_u32; interner.count()];
    for (rank, &text) in used.iter().enumerate() {
        text_ranks[text as usize] = rank as u32;
    }
    let mut order: Vec<u32> = (0..count).collect();
    let rank_of = |&group: &u32| groups.key(group).iter().map(|&text| text_ranks[text as usize]);
    order.sort_unstable_by(|a, b| rank_of(a).cmp(rank_of(b)));
    let mut ranks = vec![0; count as usize];
    for (rank, &group) in order.iter().enumerate() {
        ranks[group as usize] = rank as u32;
    }
    ranks
}

struct RowBuilder<'a> {
    cube: &'a CompiledCube,
    groups: &'a Groups,
    interner: &'a Interner,
    sketches: &'a [(Vec<u64>, Vec<usize>)],
    row_bytes: usize,
}

impl RowBuilder<'_> {
    /// Writes one row per bucket and group, from all cells that belong to it.
    fn pane(&self, pane: Pane, ranks: &[u32], days: &mut BusinessDays, builder: &mut BlockBuilder) {
        let cells = self.groups.cells();
        let mut order: Vec<(u32, u32, u32)> = cells
            .iter()
            .enumerate()
            .map(|(cell, &(group, bucket))| {
                (bucket_of(pane, bucket, days), ranks[group as usize], cell as u32)
            })
            .collect();
        order.sort_unstable();
        for row in order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let bucket = row[0].0;
            self.row(pane, bucket, row.iter().map(|&(_, _, cell)| cell), builder);
        }
    }

    fn row(
        &self,
        pane: Pane,
        bucket: u32,
        cells: impl Iterator<Item = u32> + Clone,
        builder: &mut BlockBuilder,
    ) {
        let Some(first) = cells.clone().next() else { return };
        let (group, _) = self.groups.cells()[first as usize];
        let ids: Vec<Vec<u64>> = self.sketches.iter().map(|sketch| merged(sketch, cells.clone())).collect();
        let texts: usize = self.groups.key(group).iter().map(|&text| self.interner.text(text).len()).sum();
        let id_bytes: usize = ids.iter().map(|ids| ids.len() * size_of::<u64>()).sum();
        builder.begin_row(bucket, self.row_bytes + texts + id_bytes);
        builder.set(lane_column::CUBE, Value::Text(&self.cube.name));
        builder.set(lane_column::PANE, Value::Text(pane.as_str()));
        builder.set(lane_column::BUCKET, Value::Seconds(bucket));
        builder.set(lane_column::KEEP_DAYS, Value::Small(self.cube.keep_days));
        let received_max = cells.clone().map(|cell| self.groups.received_max(cell)).max().unwrap_or(0);
        builder.set(lane_column::RECEIVED_MAX, Value::Number(received_max));
        for (&(_, column), &text) in self.cube.dimensions.iter().zip(self.groups.key(group)) {
            builder.set(column, Value::Text(self.interner.text(text)));
        }
        for (nth, measure) in self.cube.sums.iter().enumerate() {
            let total = cells.clone().fold(0_i64, |sum, cell| sum.wrapping_add(self.groups.sums(cell)[nth]));
            builder.set(measure.column, Value::Number(total));
        }
        for (measure, ids) in self.cube.uniqs.iter().zip(&ids) {
            builder.set(measure.column, Value::Ids(ids));
        }
        builder.end_row();
    }
}

/// The distinct IDs of several cells, sorted.
fn merged((ids, starts): &(Vec<u64>, Vec<usize>), cells: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut all = Vec::new();
    for cell in cells {
        all.extend_from_slice(&ids[starts[cell as usize]..starts[cell as usize + 1]]);
    }
    all.sort_unstable();
    all.dedup();
    all
}
