//! Cuts the rows of a flush into blocks and adds their marker rows.
//!
//! ClickHouse remembers a deduplication token per block. So the same rows must give the same blocks on a retry, and a
//! block must stay below every limit at which the server would cut it again.
use std::collections::BTreeSet;

use super::column::{Column, Value};
use super::layout::Layout;
use super::marker::{Mark, MarkerRows};
use super::rows::Block;

/// Most data rows in a block; the server cuts at about a million.
const MAX_ROWS: usize = 500_000;
/// Largest block in bytes of memory, counted before it is built: the server cuts at 256 MiB, and one INSERT of this size
/// takes it 260 MiB of memory. A single larger row goes alone.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most table partitions in a block; the server returns an error above 100.
const MAX_TABLE_PARTITIONS: usize = 50;

/// Takes the rows of one flush in their fixed order and cuts them into blocks.
#[derive(Debug)]
pub struct BlockBuilder {
    layout: Layout,
    markers: MarkerRows,
    max_rows: usize,
    bytes: usize,
    table_partitions: BTreeSet<u32>,
    current: Block,
    done: Vec<Block>,
}

impl BlockBuilder {
    /// Builds blocks of this layout.
    pub fn new(layout: Layout, markers: MarkerRows) -> Self {
        Self::with_max_rows(layout, markers, MAX_ROWS)
    }

    fn with_max_rows(layout: Layout, markers: MarkerRows, max_rows: usize) -> Self {
        let current = Block::new(layout.clone(), markers.time_column);
        let table_partitions = BTreeSet::new();
        Self { layout, markers, max_rows, bytes: 0, table_partitions, current, done: Vec::new() }
    }

    /// Begins a row at this time (seconds since 1970) that takes about this many bytes.
    pub fn begin_row(&mut self, seconds: u32, bytes: usize) {
        let partition = self.layout.partitioning().of(seconds);
        let full = self.current.rows() >= self.max_rows
            || self.bytes + bytes > MAX_BYTES
            || (self.table_partitions.len() >= MAX_TABLE_PARTITIONS
                && !self.table_partitions.contains(&partition));
        if full && self.current.rows() > 0 {
            self.close();
        }
        self.table_partitions.insert(partition);
        self.bytes += bytes;
    }

    /// Sets a value of the row begun; a column that is not set has its default.
    pub fn set(&mut self, column: usize, value: Value<'_>) {
        self.current.set(column, value);
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.current.end_row();
    }

    /// Writes the ledger of a flush whose records gave no rows: its marker goes into the table partition of this time
    /// (seconds since 1970). Does nothing when there are rows.
    pub fn keep_ledger(&mut self, seconds: u32) {
        if self.done.is_empty() && self.current.rows() == 0 {
            let partition = self.layout.partitioning().of(seconds);
            self.markers.mark.ledger_table_partition.get_or_insert(partition);
        }
    }

    /// The blocks in order. The token and the markers of a block contain its index.
    pub fn finish(mut self) -> Vec<Block> {
        let ledger_is_due = self.done.is_empty() && self.markers.mark.ledger_table_partition.is_some();
        if self.current.rows() > 0 || ledger_is_due {
            self.close();
        }
        self.done
    }

    fn close(&mut self) {
        let Self { layout, markers, table_partitions, current, done, .. } = self;
        let mut block = std::mem::replace(current, Block::new(layout.clone(), markers.time_column));
        let mut partitions = std::mem::take(table_partitions);
        let mut ledger_partition = None;
        if done.is_empty() {
            partitions.extend(markers.mark.ledger_table_partition);
            ledger_partition = markers.mark.ledger_table_partition.or(partitions.first().copied());
        }
        block.end_data(partitions.clone());
        let source = Mark::source_of(&markers.mark.source, markers.mark.first_block + done.len());
        let is_in_millis = matches!(block.column(markers.time_column), Some(Column::Millis(_)));
        for partition in partitions {
            let time = if is_in_millis {
                Value::Number(i64::from(partition) * 1000)
            } else {
                Value::Seconds(partition)
            };
            block.set(markers.time_column, time);
            block.set(markers.keep_days_column, Value::Small(markers.keep_days));
            block.set(markers.src_column, Value::Text(&source));
            block.set(markers.src_end_column, Value::Offset(markers.mark.end));
            if ledger_partition == Some(partition) {
                for &(column, count) in &markers.ledger {
                    block.set(column, Value::Number(count));
                }
            }
            block.end_row();
        }
        block.finish();
        self.bytes = 0;
        self.done.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::column::ColumnKind;
    use crate::block::table_partition::TablePartitioning;

    const DAY: u32 = 86_400;
    const WEEK: u32 = 7 * DAY;

    fn layout() -> Layout {
        let columns = [
            ("time".into(), ColumnKind::Seconds),
            ("keep_days".into(), ColumnKind::Small),
            ("src".into(), ColumnKind::Text),
            ("src_end".into(), ColumnKind::Offset),
            ("name".into(), ColumnKind::Text),
            ("never".into(), ColumnKind::Number),
            ("ledger".into(), ColumnKind::Number),
        ];
        Layout::new(columns.to_vec(), TablePartitioning::ByWeek)
    }

    fn markers() -> MarkerRows {
        MarkerRows {
            mark: Mark::new("1/t/0", 7),
            ledger: vec![(6, 30)],
            keep_days: 9,
            time_column: 0,
            keep_days_column: 1,
            src_column: 2,
            src_end_column: 3,
        }
    }

    fn cut(max_rows: usize, times: &[u32]) -> Vec<Block> {
        cut_as(markers(), max_rows, times)
    }

    fn cut_as(markers: MarkerRows, max_rows: usize, times: &[u32]) -> Vec<Block> {
        let mut builder = BlockBuilder::with_max_rows(layout(), markers, max_rows);
        for &time in times {
            builder.begin_row(time, 10);
            builder.set(0, Value::Seconds(time));
            builder.set(4, Value::Text("a"));
            builder.end_row();
        }
        builder.finish()
    }

    fn sources(block: &Block) -> Vec<String> {
        let Some(Column::Text { text, ends }) = block.column(2) else { panic!("src is a text") };
        let starts = std::iter::once(&0).chain(ends);
        starts.zip(ends).map(|(&start, &end)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn each_block_ends_with_one_marker_per_table_partition() {
        let blocks = cut(100, &[4 * DAY, 4 * DAY + WEEK, 4 * DAY]);
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].data_rows(), blocks[0].rows()), (3, 5));
        assert_eq!(sources(&blocks[0]), ["", "", "", "1/t/0", "1/t/0"]);
        assert_eq!(blocks[0].column(3), Some(&Column::Offset(vec![0, 0, 0, 7, 7])));
        assert_eq!(blocks[0].column(1), Some(&Column::Small(vec![0, 0, 0, 9, 9])));
    }

    #[test]
    fn the_ledger_is_written_to_one_marker_only() {
        let blocks = cut(2, &[4 * DAY + WEEK, 4 * DAY, 4 * DAY]);
        assert_eq!(blocks[0].column(6), Some(&Column::Number(vec![0, 0, 30, 0])));
        assert!(blocks[1].column(6).unwrap().is_empty());
        // Built again, the ledger stays in its table partition, even when no row is left there.
        let mark = Mark { ledger_table_partition: Some(4 * DAY + 2 * WEEK), ..markers().mark };
        let blocks = cut_as(MarkerRows { mark: mark.clone(), ..markers() }, 9, &[4 * DAY]);
        assert_eq!(blocks[0].column(6), Some(&Column::Number(vec![0, 0, 30])));
        let blocks = cut_as(MarkerRows { mark, ..markers() }, 9, &[]);
        assert_eq!(
            (blocks[0].data_rows(), blocks[0].rows(), blocks[0].column(6)),
            (0, 1, Some(&Column::Number(vec![30])))
        );
    }

    #[test]
    fn a_block_can_be_restricted_to_table_partitions_with_their_markers() {
        let block = &cut(9, &[4 * DAY, 4 * DAY + WEEK, 5 * DAY])[0];
        let first = block.restricted_to(&BTreeSet::from([4 * DAY]));
        assert_eq!((first.data_rows(), first.rows()), (2, 3));
        assert_eq!(first.column(0), Some(&Column::Seconds(vec![4 * DAY, 5 * DAY, 4 * DAY])));
        assert_eq!(sources(&first), ["", "", "1/t/0"]);
        assert_eq!(first.table_partitions(), &BTreeSet::from([4 * DAY]));
        assert_eq!(block.restricted_to(block.table_partitions()).digest(), block.digest());
    }

    #[test]
    fn a_later_block_has_a_marker_source_of_its_own() {
        let blocks = cut(2, &[0, 1, 2, 3, 4]);
        let shape: Vec<_> = blocks.iter().map(|block| (block.data_rows(), block.rows())).collect();
        assert_eq!(shape, [(2, 3), (2, 3), (1, 2)]);
        assert_eq!(sources(&blocks[2]), ["", "1/t/0#2"]);
    }

    #[test]
    fn a_block_stays_below_the_servers_limit_of_table_partitions() {
        let weeks: Vec<u32> = (0..120).map(|week| week * WEEK).collect();
        let blocks = cut(1000, &weeks);
        assert_eq!(blocks.iter().map(Block::data_rows).collect::<Vec<_>>(), [50, 50, 20]);
    }

    #[test]
    fn columns_that_no_row_set_are_not_sent() {
        let blocks = cut(10, &[0]);
        let names: Vec<&str> = blocks[0].columns().map(|(name, _)| name).collect();
        assert_eq!(names, ["time", "keep_days", "src", "src_end", "name", "ledger"]);
        assert!(cut(10, &[]).is_empty());
    }

    #[test]
    fn different_blocks_have_different_digests() {
        assert_eq!(cut(10, &[0, 5])[0].digest(), cut(10, &[0, 5])[0].digest());
        assert_ne!(cut(10, &[0, 5])[0].digest(), cut(10, &[0, 6])[0].digest());
    }
}
