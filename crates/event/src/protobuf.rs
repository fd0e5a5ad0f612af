//! The wire format of Protobuf, as far as our messages need it: fields one after the other, lists packed.
//!
//! Batches and the state of devices pass here so often that they are read and written by hand: generated code makes a
//! message of its own out of each part. Nothing is copied to read a field, a message within a message is written where
//! it belongs, and numbers of one width are read and written all at once, which the compiler turns into vector
//! instructions. What the fields mean is for the callers to know, who skip those they do not.

/// Why bytes are not the message they should be: what is wrong, as a clause such as "it ends in the middle of a value".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// A field that the schema knows, written as another type.
    pub const TYPE: Self = Self("it has a field of another type than the schema's");
    const CUT: Self = Self("it ends in the middle of a value");
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The value of a field, by how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number or a truth; see [`signed`] for `sint32` and `sint64`.
    Varint(u64),
    /// A `fixed64`.
    Fixed64(u64),
    /// A text, a message or a packed list.
    Bytes(&'a [u8]),
    /// Nothing in our messages is written so.
    Fixed32,
}

/// The fields of a message, each with its number in the schema, in the order they are written. Whoever meets an error
/// stops: what would follow it is no field.
#[derive(Debug, Clone)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    // Always: only beside the caller's `match` is a value decided upon once, by its kind and number.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let bytes = &mut self.0;
        let tag = take_varint(bytes)?;
        let value = match tag & 7 {
            VARINT => Value::Varint(take_varint(bytes)?),
            FIXED64 => {
                let (value, rest) = bytes.split_first_chunk().ok_or(Malformed::CUT)?;
                *bytes = rest;
                Value::Fixed64(u64::from_le_bytes(*value))
            }
            BYTES => {
                let length = usize::try_from(take_varint(bytes)?).map_err(|_| Malformed::CUT)?;
                let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed::CUT)?;
                *bytes = rest;
                Value::Bytes(value)
            }
            FIXED32 => {
                *bytes = bytes.get(4..).ok_or(Malformed::CUT)?;
                Value::Fixed32
            }
            _ => return Err(Malformed("it has a field of a kind that does not exist")),
        };
        Ok((tag >> 3, value))
    }
}

#[inline]
fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    // Most tags, and most lengths and numbers.
    if let [byte @ 0..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    take_long_varint(bytes)
}

fn take_long_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < 10 { Malformed::CUT } else { Malformed("a number is longer than 64 bits") })
}

/// The numbers of a packed list of varints.
#[inline]
pub fn varints(mut list: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> {
    std::iter::from_fn(move || (!list.is_empty()).then(|| take_varint(&mut list)))
}

/// The numbers of a list in which each takes `WIDTH` bytes, the lowest first.
///
/// # Errors
/// The last one is cut.
#[inline]
pub fn fixed<const WIDTH: usize>(list: &[u8]) -> Result<&[[u8; WIDTH]], Malformed> {
    match list.as_chunks() {
        (numbers, []) => Ok(numbers),
        _ => Err(Malformed::CUT),
    }
}

/// The number of a `sint32` or `sint64`.
#[inline]
pub fn signed(varint: u64) -> i64 {
    (varint >> 1) as i64 ^ -((varint & 1) as i64)
}

/// The text of a `string`.
///
/// # Errors
/// It is not UTF-8.
#[inline]
pub fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

/// Writes a message behind what stands in the buffer. As proto3 has it, a field that is 0, empty or absent is left out.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// A whole number or a truth.
    #[inline]
    pub fn varint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.number(value);
        }
    }

    /// A `sint32` or `sint64`.
    #[inline]
    pub fn signed(&mut self, field: u64, value: i64) {
        self.varint(field, zigzag(value));
    }

    /// A `fixed64`.
    #[inline]
    pub fn fixed64(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.tag(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A text, or bytes as they are.
    #[inline]
    pub fn bytes(&mut self, field: u64, value: &[u8]) {
        if !value.is_empty() {
            self.tag(field, BYTES);
            self.number(value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    /// A packed list of varints.
    #[inline]
    pub fn varints(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut values = values.peekable();
        if values.peek().is_some() {
            self.message(field, |list| values.for_each(|value| list.number(value)));
        }
    }

    /// A packed list of `sint32` or `sint64`.
    #[inline]
    pub fn signeds(&mut self, field: u64, values: impl Iterator<Item = i64>) {
        self.varints(field, values.map(zigzag));
    }

    /// A list in which each number takes `WIDTH` bytes, the lowest first; of eight, a packed list of `fixed64`.
    #[inline]
    pub fn fixed<const WIDTH: usize>(
        &mut self,
        field: u64,
        values: impl ExactSizeIterator<Item = [u8; WIDTH]>,
    ) {
        let length = values.len() * WIDTH;
        if length > 0 {
            self.tag(field, BYTES);
            self.number(length as u64);
            let start = self.0.len();
            self.0.resize(start + length, 0);
            let (places, _) = self.0[start..].as_chunks_mut();
            places.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        }
    }

    /// A message within this one, though it be empty.
    #[inline]
    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut Writer<'_>)) {
        // Nearly all are shorter than 128 bytes, and so their length takes one.
        self.message_about(field, 0, write);
    }

    /// The same for one that is about so many bytes long. Its length stands before it and is only known behind it: when
    /// it takes as many bytes as expected, the message need not be moved.
    #[inline]
    pub fn message_about(&mut self, field: u64, expected: usize, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, BYTES);
        let place = self.0.len();
        self.number(expected as u64);
        let start = self.0.len();
        write(self);
        let end = self.0.len();
        let length = end - start;
        if length < 0x80 && start - place == 1 {
            self.0[place] = length as u8;
            return;
        }
        self.number(length as u64);
        let taken = self.0.len() - end;
        if taken == start - place {
            self.0.copy_within(end.., place);
            self.0.truncate(end);
        } else {
            self.0.drain(place..start);
            self.0[place..].rotate_right(taken);
        }
    }

    #[inline]
    fn tag(&mut self, field: u64, wire_type: u64) {
        self.number(field << 3 | wire_type);
    }

    #[inline]
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_is_read_back_whatever_length_was_expected() {
        const LENGTHS: [usize; 7] = [0, 1, 0x7f - 2, 0x80, 0x3fff, 0x4000, 100_000];
        for (length, expected) in LENGTHS.into_iter().flat_map(|length| LENGTHS.map(|other| (length, other)))
        {
            let long = vec![7; length];
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.message_about(1, expected, |inner| inner.bytes(2, &long));
            writer.fixed64(3, 9);
            let fields: Vec<_> = Fields(&bytes).map(Result::unwrap).collect();
            let [(1, Value::Bytes(inner)), (3, Value::Fixed64(9))] = fields[..] else { panic!("{fields:?}") };
            let inner: Vec<_> = Fields(inner).map(Result::unwrap).collect();
            assert_eq!(inner, [(2, Value::Bytes(&long))].split_at(usize::from(length > 0)).0);
        }
    }

    #[test]
    fn a_signed_number_is_read_back() {
        for number in [0, 1, -1, 63, -64, i64::from(i32::MIN), i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            Writer(&mut bytes).signed(1, number);
            let read = Fields(&bytes).next().map(Result::unwrap);
            match read {
                Some((1, Value::Varint(varint))) => assert_eq!(signed(varint), number),
                read => assert_eq!((read, number), (None, 0)),
            }
        }
    }
}
