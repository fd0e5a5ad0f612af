//! The rows of one INSERT by column, and how a flush is cut into such blocks.
//!
//! One INSERT is one block: ClickHouse remembers a token per block, so a block must be cut the same on a retry
//! and stay below every limit at which the server would cut it again. Each block carries its own marker rows.
use std::collections::BTreeSet;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// Most data rows in a block; the server cuts at about a million.
pub const MAX_ROWS: usize = 500_000;
/// Largest block in bytes; the server cuts at 256 MiB.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Most ClickHouse partitions in a block; the server refuses more than 100.
pub const MAX_PARTITIONS: usize = 50;

const DAY: u32 = 86_400;

/// How a column is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `String`; the server makes it LowCardinality where the table says so.
    Text,
    /// `UInt16`.
    Small,
    /// `UInt32`, seconds since 1970: what a `DateTime` is.
    Seconds,
    /// `UInt64`.
    Offset,
    /// `Int64`.
    Number,
    /// `DateTime64(3)`: milliseconds since 1970.
    Millis,
    /// `Array(UInt64)`.
    Ids,
    /// `Array(String)`.
    Texts,
    /// `UUID`.
    Uuid,
}

/// What a ClickHouse partition of a table holds. One of them is called a slice here, by its first second, because Kafka
/// has partitions too. An insert makes a part of its own in each slice, and the server keeps that wholly or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slices {
    /// `toMonday(time)`.
    Weeks,
    /// `toStartOfMonth(time)`.
    Months,
}

impl Slices {
    /// The function of ClickHouse that gives it.
    pub fn function(self) -> &'static str {
        match self {
            Self::Weeks => "toMonday",
            Self::Months => "toStartOfMonth",
        }
    }

    /// The first second of the slice of a time, in UTC.
    pub fn start(self, seconds: u32) -> u32 {
        let day = seconds / DAY;
        match self {
            // Day 0 was a Thursday. ClickHouse counts the days before the first Monday to 1970-01-01.
            Self::Weeks => day.saturating_sub((day + 3) % 7) * DAY,
            Self::Months => (day - day_of_month(day)) * DAY,
        }
    }
}

/// Days since the first of the month, from days since 1970 (after Howard Hinnant's `civil_from_days`).
fn day_of_month(day: u32) -> u32 {
    // Years begin in March here, so that the leap day is the last of its year; 719 468 days from 0000-03-01 to 1970.
    let of_era = (day + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5
}

/// Names and kinds of the columns a block may have, and how their table is sliced.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Arc<[(String, ColumnKind)]>,
    slices: Slices,
}

impl Layout {
    /// A layout of these columns for a table in slices of weeks.
    pub fn new(columns: Vec<(String, ColumnKind)>) -> Self {
        Self::sliced(columns, Slices::Weeks)
    }

    /// A layout of these columns.
    pub fn sliced(columns: Vec<(String, ColumnKind)>, slices: Slices) -> Self {
        Self { columns: columns.into(), slices }
    }

    /// Name of the column at a place.
    pub fn name(&self, place: usize) -> &str {
        self.columns.get(place).map_or("", |(name, _)| name)
    }

    /// All columns.
    pub fn columns(&self) -> &[(String, ColumnKind)] {
        &self.columns
    }
}

/// The values of one column. A column that no row has set is empty; any other has one value per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Texts one after the other, and where each ends.
    Text {
        /// All texts.
        text: String,
        /// End of each in bytes.
        ends: Vec<usize>,
    },
    /// See [`ColumnKind::Small`].
    Small(Vec<u16>),
    /// See [`ColumnKind::Seconds`].
    Seconds(Vec<u32>),
    /// See [`ColumnKind::Offset`].
    Offset(Vec<u64>),
    /// See [`ColumnKind::Number`].
    Number(Vec<i64>),
    /// See [`ColumnKind::Millis`].
    Millis(Vec<i64>),
    /// Lists one after the other, and where each ends.
    Ids {
        /// All IDs.
        ids: Vec<u64>,
        /// End of each list.
        ends: Vec<usize>,
    },
    /// Lists of texts: the texts one after the other, where each ends, and where each list ends.
    Texts {
        /// All texts.
        text: String,
        /// End of each text in bytes.
        ends: Vec<usize>,
        /// End of each list in texts.
        lists: Vec<usize>,
    },
    /// See [`ColumnKind::Uuid`].
    Uuid(Vec<u128>),
}

impl Column {
    fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Text => Self::Text { text: String::new(), ends: Vec::new() },
            ColumnKind::Small => Self::Small(Vec::new()),
            ColumnKind::Seconds => Self::Seconds(Vec::new()),
            ColumnKind::Offset => Self::Offset(Vec::new()),
            ColumnKind::Number => Self::Number(Vec::new()),
            ColumnKind::Millis => Self::Millis(Vec::new()),
            ColumnKind::Ids => Self::Ids { ids: Vec::new(), ends: Vec::new() },
            ColumnKind::Texts => Self::Texts { text: String::new(), ends: Vec::new(), lists: Vec::new() },
            ColumnKind::Uuid => Self::Uuid(Vec::new()),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Text { ends, .. } | Self::Ids { ends, .. } => ends.len(),
            Self::Texts { lists, .. } => lists.len(),
            Self::Uuid(values) => values.len(),
            Self::Small(values) => values.len(),
            Self::Seconds(values) => values.len(),
            Self::Offset(values) => values.len(),
            Self::Number(values) | Self::Millis(values) => values.len(),
        }
    }

    /// Whether no row has set it: then it is not sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the rows before `rows` that have no value the default.
    fn pad(&mut self, rows: usize) {
        match self {
            Self::Text { text, ends } => ends.resize(rows, text.len()),
            Self::Ids { ids, ends } => ends.resize(rows, ids.len()),
            Self::Texts { ends, lists, .. } => lists.resize(rows, ends.len()),
            Self::Uuid(values) => values.resize(rows, 0),
            Self::Small(values) => values.resize(rows, 0),
            Self::Seconds(values) => values.resize(rows, 0),
            Self::Offset(values) => values.resize(rows, 0),
            Self::Number(values) | Self::Millis(values) => values.resize(rows, 0),
        }
    }

    fn only(&self, keep: &[bool]) -> Self {
        fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(&value, _)| value).collect()
        }
        let spans = |ends: &[usize]| {
            let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
            let kept = starts.into_iter().zip(ends.to_vec()).zip(keep.to_vec()).filter(|(_, keep)| *keep);
            kept.map(|((start, end), _)| start..end).collect::<Vec<_>>()
        };
        match self {
            Self::Text { text, ends } => {
                let (mut only, mut only_ends) = (String::new(), Vec::new());
                for span in spans(ends) {
                    only.push_str(text.get(span).unwrap_or_default());
                    only_ends.push(only.len());
                }
                Self::Text { text: only, ends: only_ends }
            }
            Self::Ids { ids, ends } => {
                let (mut only, mut only_ends) = (Vec::new(), Vec::new());
                for span in spans(ends) {
                    only.extend_from_slice(ids.get(span).unwrap_or_default());
                    only_ends.push(only.len());
                }
                Self::Ids { ids: only, ends: only_ends }
            }
            Self::Texts { text, ends, lists } => {
                let (mut only, mut only_ends, mut only_lists) = (String::new(), Vec::new(), Vec::new());
                for list in spans(lists) {
                    for place in list {
                        let start = place.checked_sub(1).and_then(|before| ends.get(before)).copied();
                        let end = ends.get(place).copied().unwrap_or(text.len());
                        only.push_str(text.get(start.unwrap_or(0)..end).unwrap_or_default());
                        only_ends.push(only.len());
                    }
                    only_lists.push(only_ends.len());
                }
                Self::Texts { text: only, ends: only_ends, lists: only_lists }
            }
            Self::Uuid(values) => Self::Uuid(kept(values, keep)),
            Self::Small(values) => Self::Small(kept(values, keep)),
            Self::Seconds(values) => Self::Seconds(kept(values, keep)),
            Self::Offset(values) => Self::Offset(kept(values, keep)),
            Self::Number(values) => Self::Number(kept(values, keep)),
            Self::Millis(values) => Self::Millis(kept(values, keep)),
        }
    }

    fn digest(&self, hasher: &mut Xxh3) {
        match self {
            Self::Text { text, ends } => {
                hasher.update(text.as_bytes());
                ends.iter().for_each(|end| hasher.update(&end.to_le_bytes()));
            }
            Self::Ids { ids, ends } => {
                ids.iter().for_each(|id| hasher.update(&id.to_le_bytes()));
                ends.iter().for_each(|end| hasher.update(&end.to_le_bytes()));
            }
            Self::Texts { text, ends, lists } => {
                hasher.update(text.as_bytes());
                ends.iter().chain(lists).for_each(|end| hasher.update(&end.to_le_bytes()));
            }
            Self::Uuid(values) => values.iter().for_each(|value| hasher.update(&value.to_le_bytes())),
            Self::Small(values) => values.iter().for_each(|value| hasher.update(&value.to_le_bytes())),
            Self::Seconds(values) => values.iter().for_each(|value| hasher.update(&value.to_le_bytes())),
            Self::Offset(values) => values.iter().for_each(|value| hasher.update(&value.to_le_bytes())),
            Self::Number(values) | Self::Millis(values) => {
                values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
            }
        }
    }
}

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// For a text column.
    Text(&'a str),
    /// For a small column.
    Small(u16),
    /// For a seconds column.
    Seconds(u32),
    /// For an offset column.
    Offset(u64),
    /// For a number or millis column.
    Number(i64),
    /// For an IDs column.
    Ids(&'a [u64]),
    /// For a column of lists of texts.
    Texts(&'a [&'a str]),
    /// For a UUID column.
    Uuid(u128),
}

/// The rows of one INSERT.
#[derive(Debug, Clone)]
pub struct Block {
    layout: Layout,
    rows: usize,
    data_rows: usize,
    columns: Vec<Column>,
    /// Place of the column by which the table is partitioned.
    time: usize,
    weeks: BTreeSet<u32>,
}

impl Block {
    fn new(layout: Layout, time: usize) -> Self {
        let columns = layout.columns().iter().map(|&(_, kind)| Column::new(kind)).collect();
        Self { layout, rows: 0, data_rows: 0, columns, time, weeks: BTreeSet::new() }
    }

    /// The ClickHouse partitions it touches, each as its first second. The server keeps the rows of one of them
    /// wholly or not at all.
    pub fn weeks(&self) -> &BTreeSet<u32> {
        &self.weeks
    }

    /// The rows and markers that belong into these ClickHouse partitions.
    pub fn only(&self, weeks: &BTreeSet<u32>) -> Self {
        let slices = self.layout.slices;
        let is_in = |seconds: u32| weeks.contains(&slices.start(seconds));
        let keep: Vec<bool> = match self.columns.get(self.time) {
            Some(Column::Seconds(times)) => times.iter().map(|&time| is_in(time)).collect(),
            Some(Column::Millis(times)) => {
                let second = |time: i64| u32::try_from(time / 1000).unwrap_or(u32::MAX);
                times.iter().map(|&time| is_in(second(time))).collect()
            }
            _ => vec![true; self.rows],
        };
        let count = |keep: &[bool]| keep.iter().filter(|&&keep| keep).count();
        Self {
            layout: self.layout.clone(),
            rows: count(&keep),
            data_rows: count(keep.get(..self.data_rows).unwrap_or(&keep)),
            columns: self.columns.iter().map(|column| column.only(&keep)).collect(),
            time: self.time,
            weeks: self.weeks.intersection(weeks).copied().collect(),
        }
    }

    /// Number of rows, markers included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of rows that are not markers.
    pub fn data_rows(&self) -> usize {
        self.data_rows
    }

    /// The columns that are sent, with their names, in the order of the layout.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.is_empty())
            .map(|(place, column)| (self.layout.name(place), column))
    }

    /// A fingerprint of everything that is sent.
    pub fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        for (name, column) in self.columns() {
            hasher.update(name.as_bytes());
            column.digest(&mut hasher);
        }
        hasher.digest128()
    }

    fn set(&mut self, place: usize, value: Value<'_>) {
        let Some(column) = self.columns.get_mut(place) else { return };
        column.pad(self.rows);
        match (column, value) {
            (Column::Text { text, ends }, Value::Text(value)) => {
                text.push_str(value);
                ends.push(text.len());
            }
            (Column::Ids { ids, ends }, Value::Ids(value)) => {
                ids.extend_from_slice(value);
                ends.push(ids.len());
            }
            (Column::Texts { text, ends, lists }, Value::Texts(value)) => {
                for one in value {
                    text.push_str(one);
                    ends.push(text.len());
                }
                lists.push(ends.len());
            }
            (Column::Uuid(values), Value::Uuid(value)) => values.push(value),
            (Column::Small(values), Value::Small(value)) => values.push(value),
            (Column::Seconds(values), Value::Seconds(value)) => values.push(value),
            (Column::Offset(values), Value::Offset(value)) => values.push(value),
            (Column::Number(values) | Column::Millis(values), Value::Number(value)) => values.push(value),
            (column, value) => debug_assert!(false, "{value:?} does not fit {column:?}"),
        }
    }

    fn finish(&mut self) {
        for column in &mut self.columns {
            if !column.is_empty() {
                column.pad(self.rows);
            }
        }
    }
}

/// What the marker rows of a flush say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where its records came from, `{epoch}/{topic}/{partition}`.
    pub source: String,
    /// Its end, `c`: the offset after its last record.
    pub end: u64,
    /// The ClickHouse partition (its first second) whose marker carries the ledger; by default the first one of the
    /// first block. Given when a flush is built again: what it counted must not move.
    pub ledger_week: Option<u32>,
}

impl Mark {
    /// A mark of a flush that is built for the first time.
    pub fn new(source: impl Into<String>, end: u64) -> Self {
        Self { source: source.into(), end, ledger_week: None }
    }

    /// What stands in `src` of a chunk's markers. A later chunk has a source of its own: the marker of chunk 0 must
    /// not vouch for chunk 1.
    pub fn source_of(source: &str, chunk: usize) -> String {
        if chunk == 0 { source.to_owned() } else { format!("{source}#{chunk}") }
    }
}

/// Where the columns of marker rows stand, and what is written there.
#[derive(Debug, Clone)]
pub struct Marker {
    /// What they say.
    pub mark: Mark,
    /// What the flush counted, by place: on one marker of all.
    pub ledger: Vec<(usize, i64)>,
    /// `keep_days` of the marker rows.
    pub keep_days: u16,
    /// Place of the time column by which the table is partitioned.
    pub time: usize,
    /// Place of `keep_days`.
    pub keep: usize,
    /// Place of `src`.
    pub src: usize,
    /// Place of `src_end`.
    pub src_end: usize,
}

/// Takes the rows of one flush in their fixed order and cuts them into blocks.
#[derive(Debug)]
pub struct Cutter {
    layout: Layout,
    marker: Marker,
    max_rows: usize,
    bytes: usize,
    partitions: BTreeSet<u32>,
    current: Block,
    done: Vec<Block>,
}

impl Cutter {
    /// Cuts rows of this layout.
    pub fn new(layout: Layout, marker: Marker) -> Self {
        Self::with_max_rows(layout, marker, MAX_ROWS)
    }

    /// Cuts into blocks of at most `max_rows` data rows.
    pub fn with_max_rows(layout: Layout, marker: Marker, max_rows: usize) -> Self {
        let current = Block::new(layout.clone(), marker.time);
        Self { layout, marker, max_rows, bytes: 0, partitions: BTreeSet::new(), current, done: Vec::new() }
    }

    /// Begins a row at this time (seconds since 1970) that takes about this many bytes.
    pub fn begin_row(&mut self, seconds: u32, bytes: usize) {
        let week = self.layout.slices.start(seconds);
        let full = self.current.rows >= self.max_rows
            || self.bytes + bytes > MAX_BYTES
            || (self.partitions.len() >= MAX_PARTITIONS && !self.partitions.contains(&week));
        if full && self.current.rows > 0 {
            self.close();
        }
        self.partitions.insert(week);
        self.bytes += bytes;
    }

    /// Sets a value of the row begun; what is not set has the default.
    pub fn set(&mut self, place: usize, value: Value<'_>) {
        self.current.set(place, value);
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.current.rows += 1;
    }

    /// For a flush whose records gave no rows: what it counted stands in the ledger all the same, in the ClickHouse
    /// partition of this time. Nothing happens when there are rows.
    pub fn keep_ledger(&mut self, seconds: u32) {
        if self.done.is_empty() && self.current.rows == 0 {
            self.marker.mark.ledger_week.get_or_insert(self.layout.slices.start(seconds));
        }
    }

    /// The blocks, in order; the place of each is its chunk number.
    pub fn finish(mut self) -> Vec<Block> {
        let ledger_is_due = self.done.is_empty() && self.marker.mark.ledger_week.is_some();
        if self.current.rows > 0 || ledger_is_due {
            self.close();
        }
        self.done
    }

    fn close(&mut self) {
        let marker = &self.marker;
        let mut block =
            std::mem::replace(&mut self.current, Block::new(self.layout.clone(), self.marker.time));
        block.data_rows = block.rows;
        block.weeks = std::mem::take(&mut self.partitions);
        let chunk = self.done.len();
        let source = Mark::source_of(&marker.mark.source, chunk);
        let mut ledger_week = None;
        if chunk == 0 {
            block.weeks.extend(marker.mark.ledger_week);
            ledger_week = marker.mark.ledger_week.or(block.weeks.first().copied());
        }
        let millis = matches!(block.columns.get(marker.time), Some(Column::Millis(_)));
        for week in block.weeks.clone() {
            let time = if millis { Value::Number(i64::from(week) * 1000) } else { Value::Seconds(week) };
            block.set(marker.time, time);
            block.set(marker.keep, Value::Small(marker.keep_days));
            block.set(marker.src, Value::Text(&source));
            block.set(marker.src_end, Value::Offset(marker.mark.end));
            if ledger_week == Some(week) {
                for &(place, count) in &marker.ledger {
                    block.set(place, Value::Number(count));
                }
            }
            block.rows += 1;
        }
        block.finish();
        self.bytes = 0;
        self.done.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(vec![
            ("time".into(), ColumnKind::Seconds),
            ("keep_days".into(), ColumnKind::Small),
            ("src".into(), ColumnKind::Text),
            ("src_end".into(), ColumnKind::Offset),
            ("name".into(), ColumnKind::Text),
            ("never".into(), ColumnKind::Number),
            ("ledger".into(), ColumnKind::Number),
        ])
    }

    fn marker() -> Marker {
        let (mark, ledger) = (Mark::new("1/t/0", 7), vec![(6, 30)]);
        Marker { mark, ledger, keep_days: 9, time: 0, keep: 1, src: 2, src_end: 3 }
    }

    fn cut(max_rows: usize, times: &[u32]) -> Vec<Block> {
        cut_as(marker(), max_rows, times)
    }

    fn cut_as(marker: Marker, max_rows: usize, times: &[u32]) -> Vec<Block> {
        let mut cutter = Cutter::with_max_rows(layout(), marker, max_rows);
        for &time in times {
            cutter.begin_row(time, 10);
            cutter.set(0, Value::Seconds(time));
            cutter.set(4, Value::Text("a"));
            cutter.end_row();
        }
        cutter.finish()
    }

    fn sources(block: &Block) -> Vec<String> {
        let Column::Text { text, ends } = &block.columns[2] else { panic!("src is a text") };
        let starts = std::iter::once(&0).chain(ends);
        starts.zip(ends).map(|(&start, &end)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn weeks_begin_as_in_clickhouse() {
        // 1970-01-01 (Thursday), the Sunday and the Monday after, 2026-11-22 (a Sunday), 2026-11-23.
        for (day, expected) in [(0, 0), (3, 0), (4, 4), (10, 4), (11, 11), (20_779, 20_773), (20_780, 20_780)]
        {
            assert_eq!(Slices::Weeks.start(day * DAY + 5), expected * DAY, "day {day}");
        }
    }

    #[test]
    fn months_begin_as_in_every_calendar() {
        let date = |day: u32| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
        for day in (0..49_710).step_by(3) {
            let expected = date(day).first_of_month();
            let first = Slices::Months.start(day * DAY + 86_399) / DAY;
            assert_eq!(date(first), expected, "day {day}");
        }
    }

    #[test]
    fn each_block_ends_with_one_marker_per_week_it_touches() {
        let week = 7 * DAY;
        let blocks = cut(100, &[4 * DAY, 4 * DAY + week, 4 * DAY]);
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].data_rows(), blocks[0].rows()), (3, 5));
        assert_eq!(sources(&blocks[0]), ["", "", "", "1/t/0", "1/t/0"]);
        assert_eq!(blocks[0].columns[3], Column::Offset(vec![0, 0, 0, 7, 7]));
        assert_eq!(blocks[0].columns[1], Column::Small(vec![0, 0, 0, 9, 9]));
    }

    #[test]
    fn the_ledger_stands_on_one_marker_of_all() {
        let week = 7 * DAY;
        let blocks = cut(2, &[4 * DAY + week, 4 * DAY, 4 * DAY]);
        assert_eq!(blocks[0].columns[6], Column::Number(vec![0, 0, 30, 0]));
        assert!(blocks[1].columns[6].is_empty());
        // Built again, it stays where it was, even where no row is left.
        let mark = Mark { ledger_week: Some(4 * DAY + 2 * week), ..marker().mark };
        let blocks = cut_as(Marker { mark: mark.clone(), ..marker() }, 9, &[4 * DAY]);
        assert_eq!(blocks[0].columns[6], Column::Number(vec![0, 0, 30]));
        let blocks = cut_as(Marker { mark, ..marker() }, 9, &[]);
        assert_eq!(
            (blocks[0].data_rows(), blocks[0].rows(), &blocks[0].columns[6]),
            (0, 1, &Column::Number(vec![30]))
        );
    }

    #[test]
    fn a_block_can_be_cut_down_to_some_weeks_with_their_markers() {
        let week = 7 * DAY;
        let block = &cut(9, &[4 * DAY, 4 * DAY + week, 5 * DAY])[0];
        let first = block.only(&BTreeSet::from([4 * DAY]));
        assert_eq!((first.data_rows(), first.rows()), (2, 3));
        assert_eq!(first.columns[0], Column::Seconds(vec![4 * DAY, 5 * DAY, 4 * DAY]));
        assert_eq!(sources(&first), ["", "", "1/t/0"]);
        assert_eq!(first.weeks(), &BTreeSet::from([4 * DAY]));
        assert_eq!(block.only(block.weeks()).digest(), block.digest());
    }

    #[test]
    fn a_later_chunk_has_markers_of_its_own() {
        let blocks = cut(2, &[0, 1, 2, 3, 4]);
        let shape: Vec<_> = blocks.iter().map(|block| (block.data_rows(), block.rows())).collect();
        assert_eq!(shape, [(2, 3), (2, 3), (1, 2)]);
        assert_eq!(sources(&blocks[2]), ["", "1/t/0#2"]);
    }

    #[test]
    fn a_block_stays_below_the_servers_limit_of_partitions() {
        let weeks: Vec<u32> = (0..120).map(|week| week * 7 * DAY).collect();
        let blocks = cut(1000, &weeks);
        assert_eq!(blocks.iter().map(Block::data_rows).collect::<Vec<_>>(), [50, 50, 20]);
    }

    #[test]
    fn columns_nobody_set_are_not_sent() {
        let blocks = cut(10, &[0]);
        let names: Vec<&str> = blocks[0].columns().map(|(name, _)| name).collect();
        assert_eq!(names, ["time", "keep_days", "src", "src_end", "name", "ledger"]);
        assert!(cut(10, &[]).is_empty());
    }

    #[test]
    fn the_digest_tells_blocks_apart() {
        assert_eq!(cut(10, &[0, 5])[0].digest(), cut(10, &[0, 5])[0].digest());
        assert_ne!(cut(10, &[0, 5])[0].digest(), cut(10, &[0, 6])[0].digest());
    }
}
