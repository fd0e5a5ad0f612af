//! The values of one column of a block, in the form in which ClickHouse's Native format sends them.
use xxhash_rust::xxh3::Xxh3;

/// How a column is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `String`; the server converts it to LowCardinality where the table has that type.
    Text,
    /// `UInt16`.
    Small,
    /// `UInt32`, seconds since 1970: the value of a `DateTime`.
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

/// The values of one column. A column that no row has set is empty; any other has one value per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// All texts in one string, and the end of each.
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
    /// All lists in one vector, and the end of each.
    Ids {
        /// All IDs.
        ids: Vec<u64>,
        /// End of each list.
        ends: Vec<usize>,
    },
    /// Lists of texts: all texts in one string, the end of each text, and the end of each list.
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
    pub(super) fn new(kind: ColumnKind) -> Self {
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

    /// Whether no row has set it. An empty column is not sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the rows before `rows` that have no value the default.
    pub(super) fn pad(&mut self, rows: usize) {
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

    /// The column with only the rows that are to be kept.
    pub(super) fn filtered(&self, keep: &[bool]) -> Self {
        fn kept_values<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(&value, _)| value).collect()
        }
        let spans = |ends: &[usize]| {
            let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
            let kept = starts.into_iter().zip(ends.to_vec()).zip(keep.to_vec()).filter(|(_, keep)| *keep);
            kept.map(|((start, end), _)| start..end).collect::<Vec<_>>()
        };
        match self {
            Self::Text { text, ends } => {
                let (mut kept, mut kept_ends) = (String::new(), Vec::new());
                for span in spans(ends) {
                    kept.push_str(text.get(span).unwrap_or_default());
                    kept_ends.push(kept.len());
                }
                Self::Text { text: kept, ends: kept_ends }
            }
            Self::Ids { ids, ends } => {
                let (mut kept, mut kept_ends) = (Vec::new(), Vec::new());
                for span in spans(ends) {
                    kept.extend_from_slice(ids.get(span).unwrap_or_default());
                    kept_ends.push(kept.len());
                }
                Self::Ids { ids: kept, ends: kept_ends }
            }
            Self::Texts { text, ends, lists } => {
                let (mut kept, mut kept_ends, mut kept_lists) = (String::new(), Vec::new(), Vec::new());
                for list in spans(lists) {
                    for index in list {
                        let start = index.checked_sub(1).and_then(|before| ends.get(before)).copied();
                        let end = ends.get(index).copied().unwrap_or(text.len());
                        kept.push_str(text.get(start.unwrap_or(0)..end).unwrap_or_default());
                        kept_ends.push(kept.len());
                    }
                    kept_lists.push(kept_ends.len());
                }
                Self::Texts { text: kept, ends: kept_ends, lists: kept_lists }
            }
            Self::Uuid(values) => Self::Uuid(kept_values(values, keep)),
            Self::Small(values) => Self::Small(kept_values(values, keep)),
            Self::Seconds(values) => Self::Seconds(kept_values(values, keep)),
            Self::Offset(values) => Self::Offset(kept_values(values, keep)),
            Self::Number(values) => Self::Number(kept_values(values, keep)),
            Self::Millis(values) => Self::Millis(kept_values(values, keep)),
        }
    }

    /// Appends the value of the next row.
    pub(super) fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Text { text, ends }, Value::Text(value)) => {
                text.push_str(value);
                ends.push(text.len());
            }
            (Self::Ids { ids, ends }, Value::Ids(value)) => {
                ids.extend_from_slice(value);
                ends.push(ids.len());
            }
            (Self::Texts { text, ends, lists }, Value::Texts(value)) => {
                for one in value {
                    text.push_str(one);
                    ends.push(text.len());
                }
                lists.push(ends.len());
            }
            (Self::Uuid(values), Value::Uuid(value)) => values.push(value),
            (Self::Small(values), Value::Small(value)) => values.push(value),
            (Self::Seconds(values), Value::Seconds(value)) => values.push(value),
            (Self::Offset(values), Value::Offset(value)) => values.push(value),
            (Self::Number(values) | Self::Millis(values), Value::Number(value)) => values.push(value),
            (column, value) => debug_assert!(false, "{value:?} does not fit {column:?}"),
        }
    }

    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        const END: usize = size_of::<usize>();
        match self {
            Self::Text { text, ends } => text.capacity() + ends.capacity() * END,
            Self::Ids { ids, ends } => ids.capacity() * size_of::<u64>() + ends.capacity() * END,
            Self::Texts { text, ends, lists } => text.capacity() + (ends.capacity() + lists.capacity()) * END,
            Self::Uuid(values) => values.capacity() * size_of::<u128>(),
            Self::Small(values) => values.capacity() * size_of::<u16>(),
            Self::Seconds(values) => values.capacity() * size_of::<u32>(),
            Self::Offset(values) => values.capacity() * size_of::<u64>(),
            Self::Number(values) | Self::Millis(values) => values.capacity() * size_of::<i64>(),
        }
    }

    /// Returns memory that no value needs.
    pub(super) fn shrink(&mut self) {
        match self {
            Self::Text { text, ends } => {
                text.shrink_to_fit();
                ends.shrink_to_fit();
            }
            Self::Ids { ids, ends } => {
                ids.shrink_to_fit();
                ends.shrink_to_fit();
            }
            Self::Texts { text, ends, lists } => {
                text.shrink_to_fit();
                ends.shrink_to_fit();
                lists.shrink_to_fit();
            }
            Self::Uuid(values) => values.shrink_to_fit(),
            Self::Small(values) => values.shrink_to_fit(),
            Self::Seconds(values) => values.shrink_to_fit(),
            Self::Offset(values) => values.shrink_to_fit(),
            Self::Number(values) | Self::Millis(values) => values.shrink_to_fit(),
        }
    }

    /// Adds the values to a hash.
    pub(super) fn digest(&self, hasher: &mut Xxh3) {
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
