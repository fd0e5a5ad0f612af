//! The Protobuf encoding of `schemas/event_batch.proto`, straight from and into columns.
//!
//! Every event passes here five times on its way, so this is written out by hand: generated code copies each
//! column into a message of its own and reads numbers through an abstraction that costs several times as much. The
//! numbers of a column have one width, so that the compiler turns reading and writing them into vector instructions. A
//! test holds what is written here against the published schema.
use crate::batch::{BatchError, Column, Texts};
use crate::{Field, FieldKind};

/// Layout version written and read by this crate.
pub(crate) const FORMAT: u64 = 2;

/// A message as it stands in Kafka, taken apart but not yet checked.
#[derive(Debug, Default)]
pub(crate) struct Message<'a> {
    pub(crate) rows: u64,
    pub(crate) text: &'a [u8],
    pub(crate) text_lengths: Integers<'a>,
    pub(crate) columns: Vec<RawColumn<'a>>,
}

/// A column as it stands in a message.
#[derive(Debug, Default)]
pub(crate) struct RawColumn<'a> {
    pub(crate) field: &'a [u8],
    pub(crate) values: Integers<'a>,
    pub(crate) list_lengths: Integers<'a>,
    /// The whole column, to be passed on by those who do not know its field.
    pub(crate) bytes: &'a [u8],
}

/// Whole numbers of one width: each is `base` plus what stands in its bytes.
#[derive(Debug, Default)]
pub(crate) struct Integers<'a> {
    width: u64,
    base: i64,
    bytes: &'a [u8],
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// Takes a message apart.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message<'_>, BatchError> {
    let mut reader = Reader { bytes };
    let mut message = Message::default();
    let mut format = 0;
    while !reader.bytes.is_empty() {
        match reader.tag()? {
            (1, VARINT) => format = reader.varint()?,
            (2, VARINT) => message.rows = reader.varint()?,
            (3, LENGTH_DELIMITED) => message.text = reader.delimited()?,
            (4, LENGTH_DELIMITED) => message.text_lengths = Integers::decode(reader.delimited()?)?,
            (5, LENGTH_DELIMITED) => message.columns.push(RawColumn::decode(reader.delimited()?)?),
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    if format == FORMAT { Ok(message) } else { Err(BatchError::Format(format)) }
}

impl<'a> RawColumn<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut reader = Reader { bytes };
        let mut column = Self { bytes, ..Self::default() };
        while !reader.bytes.is_empty() {
            match reader.tag()? {
                (1, LENGTH_DELIMITED) => column.field = reader.delimited()?,
                (2, LENGTH_DELIMITED) => column.values = Integers::decode(reader.delimited()?)?,
                (3, LENGTH_DELIMITED) => column.list_lengths = Integers::decode(reader.delimited()?)?,
                (_, wire_type) => reader.skip(wire_type)?,
            }
        }
        Ok(column)
    }

    /// The values in the list that the field's kind asks for.
    pub(crate) fn column(&self, kind: FieldKind) -> Result<Column, BatchError> {
        let mut column = Column::default();
        match kind {
            FieldKind::Text => self.values.counts(&mut column.texts)?,
            FieldKind::Number => self.values.each(&mut column.numbers, |value| value as i64)?,
            FieldKind::Key | FieldKind::Uuid => self.values.each(&mut column.keys, |value| value)?,
            FieldKind::List | FieldKind::Map => {
                self.values.counts(&mut column.texts)?;
                self.list_lengths.ends(&mut column.list_ends)?;
            }
        }
        Ok(column)
    }
}

impl<'a> Integers<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut reader = Reader { bytes };
        let mut integers = Self::default();
        while !reader.bytes.is_empty() {
            match reader.tag()? {
                (1, VARINT) => integers.width = reader.varint()?,
                (2, VARINT) => {
                    let value = reader.varint()?;
                    integers.base = (value >> 1) as i64 ^ -((value & 1) as i64);
                }
                (3, LENGTH_DELIMITED) => integers.bytes = reader.delimited()?,
                (_, wire_type) => reader.skip(wire_type)?,
            }
        }
        Ok(integers)
    }

    fn each<T>(&self, into: &mut Vec<T>, value: impl Fn(u64) -> T) -> Result<(), BatchError> {
        let base = self.base as u64;
        let bytes = self.bytes;
        let value = |stored: u64| value(base.wrapping_add(stored));
        match self.width {
            _ if bytes.is_empty() => (),
            1 => into.extend(bytes.iter().map(|&byte| value(byte.into()))),
            2 => into.extend(whole(bytes)?.iter().map(|&chunk| value(u16::from_le_bytes(chunk).into()))),
            4 => into.extend(whole(bytes)?.iter().map(|&chunk| value(u32::from_le_bytes(chunk).into()))),
            8 => into.extend(whole(bytes)?.iter().map(|&chunk| value(u64::from_le_bytes(chunk)))),
            _ => return Err(BatchError::Protobuf("its numbers have a width other than 1, 2, 4 or 8 bytes")),
        }
        Ok(())
    }

    /// Numbers that have no base and fit into 32 bits.
    fn counts(&self, into: &mut Vec<u32>) -> Result<(), BatchError> {
        if self.base != 0 || self.width > 4 {
            return Err(BatchError::Protobuf(
                "numbers of texts and lengths have no base and at most 4 bytes",
            ));
        }
        self.each(into, |value| value as u32)
    }

    /// Lengths, as the places where what they measure ends.
    pub(crate) fn ends(&self, into: &mut Vec<u32>) -> Result<(), BatchError> {
        self.counts(into)?;
        let mut sum = 0u32;
        for length in into {
            sum =
                sum.checked_add(*length).ok_or(BatchError::Protobuf("its lengths are larger than 4 GiB"))?;
            *length = sum;
        }
        Ok(())
    }
}

fn whole<const WIDTH: usize>(bytes: &[u8]) -> Result<&[[u8; WIDTH]], BatchError> {
    let (chunks, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(chunks) } else { Err(CUT) }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

const CUT: BatchError = BatchError::Protobuf("it ends in the middle of a value");

impl<'a> Reader<'a> {
    fn tag(&mut self) -> Result<(u64, u64), BatchError> {
        let tag = self.varint()?;
        Ok((tag >> 3, tag & 7))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, BatchError> {
        // Nearly every number in a batch fits into one byte.
        if let [byte @ 0..0x80, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, BatchError> {
        let mut value = 0;
        for (index, &byte) in self.bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.bytes.len() < 10 { CUT } else { BatchError::Protobuf("a number is longer than 64 bits") })
    }

    fn delimited(&mut self) -> Result<&'a [u8], BatchError> {
        let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
        let (value, rest) = self.bytes.split_at_checked(length).ok_or(CUT)?;
        self.bytes = rest;
        Ok(value)
    }

    fn skip(&mut self, wire_type: u64) -> Result<(), BatchError> {
        let length = match wire_type {
            VARINT => return self.varint().map(drop),
            LENGTH_DELIMITED => return self.delimited().map(drop),
            FIXED64 => 8,
            FIXED32 => 4,
            _ => return Err(BatchError::Protobuf("it has a field of a kind that does not exist")),
        };
        self.bytes = self.bytes.get(length..).ok_or(CUT)?;
        Ok(())
    }
}

/// Writes a message. `body` is room that is kept between calls.
pub(crate) fn encode<'c>(
    rows: usize,
    texts: &Texts,
    columns: impl Iterator<Item = (Field, &'c Column)>,
    unknown: &[Vec<u8>],
    body: &mut Vec<u8>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(texts.text.len() + 2 * texts.ends.len() + 128 * rows + 1024);
    tag(1, VARINT, &mut out);
    varint(FORMAT, &mut out);
    tag(2, VARINT, &mut out);
    varint(rows as u64, &mut out);
    delimited(3, texts.text.as_bytes(), &mut out);
    counts(4, &lengths(&texts.ends), &mut out);
    for (field, column) in columns {
        body.clear();
        delimited(1, field.name().as_bytes(), body);
        match field.kind() {
            FieldKind::Text => counts(2, &column.texts, body),
            FieldKind::Number => numbers(2, &column.numbers, body),
            FieldKind::Key | FieldKind::Uuid => integers(2, 0, u64::MAX, &column.keys, |key| key, body),
            FieldKind::List | FieldKind::Map => {
                counts(2, &column.texts, body);
                counts(3, &lengths(&column.list_ends), body);
            }
        }
        delimited(5, body, &mut out);
    }
    for column in unknown {
        delimited(5, column, &mut out);
    }
    out
}

fn lengths(ends: &[u32]) -> Vec<u32> {
    let starts = std::iter::once(&0).chain(ends);
    ends.iter().zip(starts).map(|(end, start)| end - start).collect()
}

fn counts(field: u64, values: &[u32], out: &mut Vec<u8>) {
    let most = values.iter().copied().max().unwrap_or(0);
    integers(field, 0, most.into(), values, u64::from, out);
}

/// Times of one batch lie close together: as distances from the earliest they are half as wide.
fn numbers(field: u64, values: &[i64], out: &mut Vec<u8>) {
    let least = values.iter().copied().min().unwrap_or(0);
    let most = values.iter().copied().max().unwrap_or(0);
    let range = most.wrapping_sub(least) as u64;
    integers(field, least, range, values, |value| value.wrapping_sub(least) as u64, out);
}

/// Writes numbers in the smallest width that holds `most`, the largest of what `stored` gives for them.
fn integers<T: Copy>(
    field: u64,
    base: i64,
    most: u64,
    values: &[T],
    stored: impl Fn(T) -> u64,
    out: &mut Vec<u8>,
) {
    if values.is_empty() {
        return;
    }
    let width = match most {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x1_0000_0000 => 4,
        _ => 8,
    };
    let mut head = Vec::with_capacity(24);
    tag(1, VARINT, &mut head);
    varint(width as u64, &mut head);
    if base != 0 {
        tag(2, VARINT, &mut head);
        varint(((base << 1) ^ (base >> 63)) as u64, &mut head);
    }
    tag(3, LENGTH_DELIMITED, &mut head);
    varint((values.len() * width) as u64, &mut head);
    tag(field, LENGTH_DELIMITED, out);
    varint((head.len() + values.len() * width) as u64, out);
    out.extend_from_slice(&head);
    match width {
        1 => out.extend(values.iter().map(|&value| stored(value) as u8)),
        2 => chunks(values, |value| (stored(value) as u16).to_le_bytes(), out),
        4 => chunks(values, |value| (stored(value) as u32).to_le_bytes(), out),
        _ => chunks(values, |value| stored(value).to_le_bytes(), out),
    }
}

fn chunks<T: Copy, const WIDTH: usize>(values: &[T], bytes: impl Fn(T) -> [u8; WIDTH], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.len() * WIDTH, 0);
    let (places, _) = out[start..].as_chunks_mut::<WIDTH>();
    places.iter_mut().zip(values).for_each(|(place, &value)| *place = bytes(value));
}

fn delimited(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    tag(field, LENGTH_DELIMITED, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn tag(field: u64, wire_type: u64, out: &mut Vec<u8>) {
    varint(field << 3 | wire_type, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
