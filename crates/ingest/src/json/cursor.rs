//! The fast path of the JSON reader: keys, texts and numbers as most clients write them. For anything else the caller
//! continues with the reader at the same position.
use super::{plain_text::end_of_plain_text, value::JsonText};

/// The bytes `"key":` without white space, prepared for a comparison of three 8-byte words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyLiteral {
    words: [u64; 3],
    masks: [u64; 3],
    bytes: usize,
}

impl KeyLiteral {
    const MAX_BYTES: usize = 24;

    pub(crate) const fn new(key: &str) -> Self {
        let key = key.as_bytes();
        let bytes = key.len() + 3;
        assert!(bytes <= Self::MAX_BYTES, "the longest key fits three 8-byte words");
        let (mut words, mut masks, mut at) = ([0; 3], [0; 3], 0);
        while at < bytes {
            let byte = if at == 0 || at == bytes - 2 {
                b'"'
            } else if at == bytes - 1 {
                b':'
            } else {
                key[at - 1]
            };
            words[at / 8] |= (byte as u64) << (at % 8 * 8);
            masks[at / 8] |= 0xff << (at % 8 * 8);
            at += 1;
        }
        Self { words, masks, bytes }
    }
}

/// A position in a JSON text. It reads the plain keys, texts and numbers that make up nearly every event. It is small
/// enough to stay in registers; every step of a [`JsonReader`](super::JsonReader) goes through memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonCursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> JsonCursor<'a> {
    /// Moves past `key` if it comes next; false otherwise.
    #[inline(always)]
    pub(crate) fn skip_key(&mut self, key: &KeyLiteral) -> bool {
        let rest = self.text.as_bytes().get(self.at..);
        let Some(next) = rest.and_then(|rest| rest.first_chunk::<{ KeyLiteral::MAX_BYTES }>()) else {
            return false;
        };
        let (words, _) = next.as_chunks::<8>();
        let differs = |at: usize| (u64::from_le_bytes(words[at]) ^ key.words[at]) & key.masks[at];
        let same = differs(0) | differs(1) | differs(2) == 0;
        if same {
            self.at += key.bytes;
        }
        same
    }

    /// Moves past `byte` if it comes next; false otherwise.
    #[inline(always)]
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let same = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(same);
        same
    }

    /// Reads the text that comes next, if it has no escapes.
    #[inline(always)]
    pub(crate) fn plain_text(&mut self) -> Option<JsonText<'a>> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = end_of_plain_text(bytes, start);
        if bytes.get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        Some(JsonText::plain(self.text.get(start..end).unwrap_or("")))
    }

    /// Reads the unsigned whole number that comes next, if `,` or `}` follows it directly.
    #[inline(always)]
    pub(crate) fn plain_number(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        // The reader handles a leading 0: the grammar restricts what may follow it.
        if !matches!(bytes.get(self.at), Some(b'1'..=b'9')) {
            return None;
        }
        let mut end = self.at + 1;
        while bytes.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        if !matches!(bytes.get(end), Some(b',' | b'}')) {
            return None;
        }
        let digits = self.text.get(self.at..end);
        self.at = end;
        digits
    }
}
