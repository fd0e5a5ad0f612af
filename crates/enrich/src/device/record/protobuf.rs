//! The wire format of Protobuf, as far as records need it: fields one after the other, lists packed.
//!
//! Nothing is copied to read it, and a message within a message is written where it belongs.

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

const CUT: Malformed = Malformed("it ends in the middle of a value");

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The value of a field, by how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    /// A text, a message or a packed list.
    Bytes(&'a [u8]),
    /// Nothing in our records is written so.
    Fixed32,
}

impl Malformed {
    /// A field that the schema knows, written as another type.
    pub(super) const TYPE: Self = Self("it has a field of another type than the schema's");
}

/// The fields of a message, by their numbers. Whoever meets an error stops.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let bytes = &mut self.0;
        let tag = take_varint(bytes)?;
        let value = match tag & 7 {
            VARINT => Value::Varint(take_varint(bytes)?),
            FIXED64 => {
                let (value, rest) = bytes.split_first_chunk().ok_or(CUT)?;
                *bytes = rest;
                Value::Fixed64(u64::from_le_bytes(*value))
            }
            BYTES => {
                let length = usize::try_from(take_varint(bytes)?).map_err(|_| CUT)?;
                let (value, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
                *bytes = rest;
                Value::Bytes(value)
            }
            FIXED32 => {
                *bytes = bytes.get(4..).ok_or(CUT)?;
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
    Err(if bytes.len() < 10 { CUT } else { Malformed("a number is longer than 64 bits") })
}

/// The numbers of a packed list.
pub(super) fn varints(mut list: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> {
    std::iter::from_fn(move || (!list.is_empty()).then(|| take_varint(&mut list)))
}

/// The same, where each takes eight bytes.
pub(super) fn fixed64s(list: &[u8]) -> Result<&[[u8; 8]], Malformed> {
    match list.as_chunks() {
        (numbers, []) => Ok(numbers),
        _ => Err(CUT),
    }
}

/// The number of a `sint32` or `sint64`.
pub(super) fn signed(varint: u64) -> i64 {
    (varint >> 1) as i64 ^ -((varint & 1) as i64)
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

/// Writes a message; what is 0, empty or absent is left out.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn varint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.number(value);
        }
    }

    pub(super) fn signed(&mut self, field: u64, value: i64) {
        self.varint(field, zigzag(value));
    }

    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.tag(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        if !value.is_empty() {
            self.tag(field, BYTES);
            self.number(value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    pub(super) fn varints(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut values = values.peekable();
        if values.peek().is_some() {
            self.message(field, |list| values.for_each(|value| list.number(value)));
        }
    }

    pub(super) fn signeds(&mut self, field: u64, values: impl Iterator<Item = i64>) {
        self.varints(field, values.map(zigzag));
    }

    pub(super) fn fixed64s(&mut self, field: u64, values: impl ExactSizeIterator<Item = u64>) {
        if values.len() > 0 {
            self.tag(field, BYTES);
            self.number(8 * values.len() as u64);
            values.for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
        }
    }

    /// A message within this one, though it be empty.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, BYTES);
        // Nearly all are shorter than 128 bytes, and so their length takes one.
        let start = self.0.len() + 1;
        self.0.push(0);
        write(self);
        let length = self.0.len() - start;
        if length < 0x80 {
            self.0[start - 1] = length as u8;
        } else {
            self.0[start - 1] = length as u8 | 0x80;
            self.number((length >> 7) as u64);
            // The rest of the length stands behind the message now.
            let rest = self.0.len() - start - length;
            self.0[start..].rotate_right(rest);
        }
    }

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

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_is_read_back() {
        for length in [0, 1, 0x7f - 2, 0x80, 0x3fff, 0x4000, 100_000] {
            let long = vec![7; length];
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.message(1, |inner| inner.bytes(2, &long));
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
