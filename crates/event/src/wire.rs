//! The Protobuf encoding of `schemas/event_batch.proto`, straight from and into columns.
//!
//! Every event passes here five times on its way, so this is written out by hand: generated code copies each
//! column into a message of its own and reads numbers through an abstraction that costs several times as much. A
//! test holds what is written here against the published schema.
use crate::batch::{BatchError, Column, Texts};

/// Layout version written and read by this crate.
pub(crate) const FORMAT: u64 = 1;

/// A message as it stands in Kafka, taken apart but not yet checked.
#[derive(Debug, Default)]
pub(crate) struct Message<'a> {
    pub(crate) rows: u64,
    pub(crate) text: &'a [u8],
    pub(crate) text_ends: Vec<u32>,
    pub(crate) columns: Vec<(&'a [u8], Column)>,
    /// Bytes of columns as they came, each beside its place in `columns`.
    pub(crate) raw_columns: Vec<&'a [u8]>,
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
            (4, LENGTH_DELIMITED) => {
                Reader { bytes: reader.delimited()? }.packed_u32(&mut message.text_ends)?
            }
            (5, LENGTH_DELIMITED) => {
                let raw = reader.delimited()?;
                message.columns.push(column(raw)?);
                message.raw_columns.push(raw);
            }
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    if format == FORMAT { Ok(message) } else { Err(BatchError::Format(format)) }
}

fn column(bytes: &[u8]) -> Result<(&[u8], Column), BatchError> {
    let mut reader = Reader { bytes };
    let (mut name, mut column): (&[u8], _) = (b"", Column::default());
    while !reader.bytes.is_empty() {
        match reader.tag()? {
            (1, LENGTH_DELIMITED) => name = reader.delimited()?,
            (2, LENGTH_DELIMITED) => Reader { bytes: reader.delimited()? }.packed_u32(&mut column.texts)?,
            (3, LENGTH_DELIMITED) => {
                Reader { bytes: reader.delimited()? }.packed_sint64(&mut column.numbers)?
            }
            (4, LENGTH_DELIMITED) => {
                Reader { bytes: reader.delimited()? }.packed_fixed64(&mut column.keys)?
            }
            (5, LENGTH_DELIMITED) => {
                Reader { bytes: reader.delimited()? }.packed_u32(&mut column.list_ends)?
            }
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok((name, column))
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

    fn packed_u32(mut self, into: &mut Vec<u32>) -> Result<(), BatchError> {
        into.reserve(self.bytes.len());
        while !self.bytes.is_empty() {
            into.push(self.varint()? as u32);
        }
        Ok(())
    }

    fn packed_sint64(mut self, into: &mut Vec<i64>) -> Result<(), BatchError> {
        into.reserve(self.bytes.len());
        while !self.bytes.is_empty() {
            let value = self.varint()?;
            into.push((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        Ok(())
    }

    fn packed_fixed64(self, into: &mut Vec<u64>) -> Result<(), BatchError> {
        let (keys, rest) = self.bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(CUT);
        }
        into.extend(keys.iter().map(|&key| u64::from_le_bytes(key)));
        Ok(())
    }
}

/// Writes a message. `scratch` is room that is kept between calls.
pub(crate) fn encode<'c>(
    rows: usize,
    texts: &Texts,
    columns: impl Iterator<Item = (&'static str, &'c Column)>,
    unknown: &[Vec<u8>],
    scratch: &mut Vec<u8>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(texts.text.len() + 2 * texts.ends.len() + 64 * rows + 1024);
    tag(1, VARINT, &mut out);
    varint(FORMAT, &mut out);
    tag(2, VARINT, &mut out);
    varint(rows as u64, &mut out);
    delimited(3, texts.text.as_bytes(), &mut out);
    packed(4, scratch, &mut out, |scratch| texts.ends.iter().for_each(|&end| varint(end.into(), scratch)));
    let mut body = Vec::with_capacity(16 * rows);
    for (name, column) in columns {
        body.clear();
        delimited(1, name.as_bytes(), &mut body);
        packed(2, scratch, &mut body, |scratch| {
            column.texts.iter().for_each(|&text| varint(text.into(), scratch));
        });
        packed(3, scratch, &mut body, |scratch| {
            column
                .numbers
                .iter()
                .for_each(|&number| varint(((number << 1) ^ (number >> 63)) as u64, scratch));
        });
        packed(4, scratch, &mut body, |scratch| {
            column.keys.iter().for_each(|key| scratch.extend_from_slice(&key.to_le_bytes()));
        });
        packed(5, scratch, &mut body, |scratch| {
            column.list_ends.iter().for_each(|&end| varint(end.into(), scratch));
        });
        delimited(5, &body, &mut out);
    }
    for column in unknown {
        delimited(5, column, &mut out);
    }
    out
}

fn packed(field: u64, scratch: &mut Vec<u8>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    scratch.clear();
    write(scratch);
    if !scratch.is_empty() {
        delimited(field, scratch, out);
    }
}

fn delimited(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    tag(field, LENGTH_DELIMITED, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn tag(field: u64, wire_type: u64, out: &mut Vec<u8>) {
    varint(field << 3 | wire_type, out);
}

#[inline]
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
