//! The wire format of Protobuf, as far as our messages need it: fields one after the other, lists packed.
//!
//! Written by hand, because batches and the state of devices pass here so often: generated code copies each column
//! twice and makes a message of each part. Here a field is read without a copy, a nested message is written in
//! place, and numbers of one width are read and written together, which the compiler turns into vector
//! instructions. Callers know the meaning of the fields and skip unknown ones.

/// Why bytes are not a valid message, as a clause such as "it ends in the middle of a value".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// A known field has another type than the schema says.
    pub const TYPE: Self = Self("it has a field whose type differs from the schema");
    const CUT: Self = Self("it ends in the middle of a value");
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The value of a field, by wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireValue<'a> {
    /// A whole number or a bool; see [`signed`] for `sint32` and `sint64`.
    Varint(u64),
    /// A `fixed64`.
    Fixed64(u64),
    /// A string, a message or a packed list.
    Bytes(&'a [u8]),
    /// Not used in our messages.
    Fixed32,
}

/// The fields of a message in written order, each with its number in the schema. After an error, stop: nothing valid
/// follows.
#[derive(Debug, Clone)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, WireValue<'a>), Malformed>;

    // Inlined into the caller's `match`, so that wire type and field number are compared once.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn field(&mut self) -> Result<(u64, WireValue<'a>), Malformed> {
        let bytes = &mut self.0;
        let tag = take_varint(bytes)?;
        let value = match tag & 7 {
            VARINT => WireValue::Varint(take_varint(bytes)?),
            FIXED64 => {
                let (value, rest) = bytes.split_first_chunk().ok_or(Malformed::CUT)?;
                *bytes = rest;
                WireValue::Fixed64(u64::from_le_bytes(*value))
            }
            BYTES => {
                let length = usize::try_from(take_varint(bytes)?).map_err(|_| Malformed::CUT)?;
                let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed::CUT)?;
                *bytes = rest;
                WireValue::Bytes(value)
            }
            FIXED32 => {
                *bytes = bytes.get(4..).ok_or(Malformed::CUT)?;
                WireValue::Fixed32
            }
            _ => return Err(Malformed("it has a field of an unknown wire type")),
        };
        Ok((tag >> 3, value))
    }
}

#[inline]
fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    // Most tags, lengths and numbers take one byte.
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

/// The numbers of a list of little-endian numbers of `WIDTH` bytes.
///
/// # Errors
/// The last number is incomplete.
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
/// The bytes are not UTF-8.
#[inline]
pub fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

/// Appends a message to a buffer. As in proto3, a field that is 0, empty or absent is left out.
#[derive(Debug)]
pub struct ProtobufWriter<'a>(pub &'a mut Vec<u8>);

impl ProtobufWriter<'_> {
    /// A whole number or a bool.
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

    /// A string or bytes.
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

    /// A list of little-endian numbers of `WIDTH` bytes. With a width of 8 this is a packed list of `fixed64`.
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

    /// A nested message, also an empty one.
    #[inline]
    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut ProtobufWriter<'_>)) {
        // Nearly all are shorter than 128 bytes, so their length takes one byte.
        self.message_about(field, 0, write);
    }

    /// A nested message of about `expected` bytes. The length precedes the message, but is known only after it is
    /// written: if the length takes as many bytes as that of `expected`, the message need not be moved.
    #[inline]
    pub(crate) fn message_about(
        &mut self,
        field: u64,
        expected: usize,
        write: impl FnOnce(&mut ProtobufWriter<'_>),
    ) {
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
            let mut writer = ProtobufWriter(&mut bytes);
            writer.message_about(1, expected, |inner| inner.bytes(2, &long));
            writer.fixed64(3, 9);
            let fields: Vec<_> = Fields(&bytes).map(Result::unwrap).collect();
            let [(1, WireValue::Bytes(inner)), (3, WireValue::Fixed64(9))] = fields[..] else {
                panic!("{fields:?}")
            };
            let inner: Vec<_> = Fields(inner).map(Result::unwrap).collect();
            assert_eq!(inner, [(2, WireValue::Bytes(&long))].split_at(usize::from(length > 0)).0);
        }
    }

    #[test]
    fn a_signed_number_is_read_back() {
        for number in [0, 1, -1, 63, -64, i64::from(i32::MIN), i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            ProtobufWriter(&mut bytes).signed(1, number);
            let read = Fields(&bytes).next().map(Result::unwrap);
            match read {
                Some((1, WireValue::Varint(varint))) => assert_eq!(signed(varint), number),
                read => assert_eq!((read, number), (None, 0)),
            }
        }
    }
}
