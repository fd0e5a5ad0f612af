//! A strict JSON reader (RFC 8259) over borrowed text: one pass, no copies, no recursion.
//!
//! A general parser cannot tell what the contract asks for: whether a number was written `1` or `1.0`, a number
//! beyond every double, how deep hostile nesting goes, a lone surrogate in a field nobody reads, and the exact
//! bytes of an element. Here values stay what was sent; texts are unescaped only when somebody wants them.
use std::borrow::Cow;

/// Where and why text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Byte in the text.
    pub(crate) at: usize,
    /// What should stand there.
    pub(crate) expected: &'static str,
}

/// A text as it stands in the JSON between its quotes, escapes included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Text<'a> {
    sent: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Bytes between the quotes, as sent: never fewer than the text has.
    pub(crate) fn sent_bytes(self) -> usize {
        self.sent.len()
    }

    /// The text itself. One with a lone surrogate stays as it was sent, escapes included.
    #[inline]
    pub(crate) fn read(self) -> Cow<'a, str> {
        if self.escaped { unescape(self.sent) } else { Cow::Borrowed(self.sent) }
    }
}

#[cold]
fn unescape(sent: &str) -> Cow<'_, str> {
    serde_json::from_str(&format!("\"{sent}\"")).map_or(Cow::Borrowed(sent), Cow::Owned)
}

/// One value, as sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Value<'a> {
    /// The key does not occur.
    #[default]
    Absent,
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A number in its own digits.
    Number(&'a str),
    /// A text.
    Text(Text<'a>),
    /// An array.
    Array {
        /// From `[` to `]`.
        json: &'a str,
        /// How many elements it has.
        entries: usize,
    },
    /// An object.
    Object {
        /// From `{` to `}`.
        json: &'a str,
        /// How many members it has, repeated ones included.
        entries: usize,
    },
    /// A number or time that validation has read.
    Whole(i64),
}

impl Value<'_> {
    /// The JSON type, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Absent => "nothing",
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) | Value::Whole(_) => "a number",
            Value::Text(_) => "a text",
            Value::Array { .. } => "an array",
            Value::Object { .. } => "an object",
        }
    }
}

/// The beginning of a member, `"key":` without white space, to be compared in three words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyLiteral {
    words: [u64; 3],
    masks: [u64; 3],
    bytes: usize,
}

impl KeyLiteral {
    const MOST: usize = 24;

    pub(crate) const fn new(key: &str) -> Self {
        let key = key.as_bytes();
        let bytes = key.len() + 3;
        assert!(bytes <= Self::MOST, "a key is compared in three words");
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

/// A place in a JSON text, for what nearly every event is made of: it is small enough to stay in registers, where a
/// [`Reader`] is memory that each step has to wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Goes on behind this very key, if it stands here.
    #[inline(always)]
    pub(crate) fn skip_key(&mut self, key: &KeyLiteral) -> bool {
        let rest = self.text.as_bytes().get(self.at..);
        let Some(chunk) = rest.and_then(|rest| rest.first_chunk::<{ KeyLiteral::MOST }>()) else {
            return false;
        };
        let (words, _) = chunk.as_chunks::<8>();
        let differs = |at: usize| (u64::from_le_bytes(words[at]) ^ key.words[at]) & key.masks[at];
        let same = differs(0) | differs(1) | differs(2) == 0;
        if same {
            self.at += key.bytes;
        }
        same
    }

    /// Goes on behind this byte, if it stands here.
    #[inline(always)]
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let same = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(same);
        same
    }

    /// Goes on behind the text that stands here, if it has no escapes.
    #[inline(always)]
    pub(crate) fn plain_text(&mut self) -> Option<Text<'a>> {
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
        Some(Text { sent: self.text.get(start..end).unwrap_or(""), escaped: false })
    }

    /// Goes on behind the whole number without sign that stands here, if it ends with its member.
    #[inline(always)]
    pub(crate) fn plain_number(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        // A leading 0 is for those who know what may follow it.
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

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
    lone_surrogate: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, deepest: 0, lone_surrogate: false }
    }

    /// The deepest container so far, in the depths given to [`value`](Self::value).
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// Whether any text so far, key or value, held half of a surrogate pair: proper by the grammar, but no text.
    pub(crate) fn lone_surrogate(&self) -> bool {
        self.lone_surrogate
    }

    /// Where it stands.
    #[inline(always)]
    pub(crate) fn cursor(&self) -> Cursor<'a> {
        Cursor { text: self.text, at: self.at }
    }

    /// Goes on where a cursor of the same text stands.
    #[inline(always)]
    pub(crate) fn go_on(&mut self, cursor: Cursor<'a>) {
        self.at = cursor.at;
    }

    /// Skips white space and shows the next byte; 0 at the end, which no JSON has outside a text.
    pub(crate) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Requires that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.expected("the end") }
    }

    /// Reads one value of any type. `depth` is the depth a container standing here has.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        match self.peek() {
            b'"' => self.string().map(Value::Text),
            b'{' | b'[' => self.container(depth),
            _ => self.scalar(),
        }
    }

    /// Reads an object whose `{` is next, and leaves each member's value to `member`, which must read it.
    /// Returns how many members there were.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), Malformed>,
    ) -> Result<usize, Malformed> {
        self.take(b'{', "an object")?;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(0);
        }
        let mut entries = 0;
        loop {
            let key = self.key()?;
            member(self, key)?;
            entries += 1;
            match self.peek() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return self.expected("`,` or `}`"),
            }
        }
        self.at += 1;
        Ok(entries)
    }

    /// Reads an array whose `[` is next, and gives each element and its exact text to `element`.
    pub(crate) fn elements(&mut self, mut element: impl FnMut(Value<'a>, &'a str)) -> Result<(), Malformed> {
        self.take(b'[', "an array")?;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek();
            let start = self.at;
            let value = self.value(0)?;
            element(value, self.since(start));
            match self.peek() {
                b',' => self.at += 1,
                b']' => break,
                _ => return self.expected("`,` or `]`"),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    /// The byte that is read next.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }

    pub(crate) fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    pub(crate) fn key(&mut self) -> Result<Text<'a>, Malformed> {
        if self.peek() != b'"' {
            return self.expected("a key in double quotes");
        }
        let key = self.string()?;
        self.take(b':', "`:`")?;
        Ok(key)
    }

    /// Reads a whole container without recursion, however deep it nests.
    fn container(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        self.peek();
        let start = self.at;
        let is_object = self.byte() == b'{';
        let mut nesting = Nesting::default();
        let mut entries = 0;
        loop {
            // A value begins here.
            let closed = match self.peek() {
                opening @ (b'{' | b'[') => {
                    self.at += 1;
                    nesting.push(opening == b'{');
                    self.deepest = self.deepest.max(depth + nesting.depth - 1);
                    let empty = self.peek() == nesting.closing();
                    if !empty {
                        entries += usize::from(nesting.depth == 1);
                        if nesting.is_object() {
                            self.key()?;
                        }
                    }
                    empty
                }
                b'"' => {
                    self.string()?;
                    true
                }
                _ => {
                    self.scalar()?;
                    true
                }
            };
            if !closed {
                continue;
            }
            // A value has ended here, or the container that is open is empty.
            loop {
                let byte = self.peek();
                if byte == b',' {
                    self.at += 1;
                    entries += usize::from(nesting.depth == 1);
                    if nesting.is_object() {
                        self.key()?;
                    }
                    break;
                }
                if byte != nesting.closing() {
                    return self.expected(if nesting.is_object() { "`,` or `}`" } else { "`,` or `]`" });
                }
                self.at += 1;
                nesting.pop();
                if nesting.depth == 0 {
                    let json = self.since(start);
                    return Ok(if is_object {
                        Value::Object { json, entries }
                    } else {
                        Value::Array { json, entries }
                    });
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, Malformed> {
        match self.byte() {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.expected("a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, Malformed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>, Malformed> {
        let start = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(self.since(start)))
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.byte().is_ascii_digit() {
            return self.expected("a digit");
        }
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Reads a text whose opening quote is next.
    #[inline]
    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let end = end_of_plain_text(bytes, start);
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Text { sent: self.text.get(start..end).unwrap_or(""), escaped: false });
        }
        self.at = end;
        self.string_with_escapes(start)
    }

    /// Reads the rest of a text that begins at `start`, from the first byte that is not plain.
    #[cold]
    fn string_with_escapes(&mut self, start: usize) -> Result<Text<'a>, Malformed> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return self.expected("no control character: escape it"),
                None => return self.expected("a closing quote"),
            }
            self.at = end_of_plain_text(bytes, self.at);
        }
        let sent = self.since(start);
        self.at += 1;
        Ok(Text { sent, escaped: true })
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                let Some(unit) = hex(self.text.as_bytes(), self.at) else {
                    return self.expected("four hexadecimal digits");
                };
                self.at += 4;
                match unit {
                    0xd800..=0xdbff if self.low_surrogate_follows() => self.at += 6,
                    0xd800..=0xdfff => self.lone_surrogate = true,
                    _ => (),
                }
            }
            _ => return self.expected("a known escape"),
        }
        Ok(())
    }

    fn low_surrogate_follows(&self) -> bool {
        let bytes = self.text.as_bytes();
        bytes.get(self.at..self.at + 2) == Some(br"\u")
            && hex(bytes, self.at + 2).is_some_and(|unit| (0xdc00..=0xdfff).contains(&unit))
    }
}

/// Gives the members of an object that a reader has accepted before to `member`, in order.
pub(crate) fn members_of<'a>(json: &'a str, mut member: impl FnMut(Text<'a>, Value<'a>)) {
    let read = Reader::new(json).members(|reader, key| {
        member(key, reader.value(0)?);
        Ok(())
    });
    debug_assert!(read.is_ok(), "accepted before");
}

/// Gives the elements of an array that a reader has accepted before to `element`, in order.
pub(crate) fn elements_of<'a>(json: &'a str, mut element: impl FnMut(Value<'a>)) {
    let read = Reader::new(json).elements(|value, _| element(value));
    debug_assert!(read.is_ok(), "accepted before");
}

/// The open containers, one bit each.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    /// The innermost up to 64, the last one in the lowest bit; 1 for an object.
    inner: u64,
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or(0);
        }
    }

    fn is_object(&self) -> bool {
        self.inner & 1 == 1
    }

    fn closing(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}

/// The first quote, backslash or control character from `at` on, or the end; eight bytes at a time.
#[inline]
fn end_of_plain_text(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(&chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
        // Borrows may mark bytes behind a hit, never before one: the lowest mark is right.
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Value<'_>, Malformed> {
        let mut reader = Reader::new(text);
        let value = reader.value(0)?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn values_stay_what_was_sent() {
        assert_eq!(read(" 1.0 "), Ok(Value::Number("1.0")));
        assert_eq!(read("-1e999"), Ok(Value::Number("-1e999")));
        assert_eq!(read("[1, [2,3]] "), Ok(Value::Array { json: "[1, [2,3]]", entries: 2 }));
        assert_eq!(read(r#"{"a":{},"b":[]}"#), Ok(Value::Object { json: r#"{"a":{},"b":[]}"#, entries: 2 }));
        assert_eq!(read("[[],{}]"), Ok(Value::Array { json: "[[],{}]", entries: 2 }));
        let Ok(Value::Text(text)) = read(r#""a\u00e9\ud83d\ude00\n""#) else { panic!("a text") };
        assert_eq!(text.read(), "aé😀\n");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "\"",
            "\"\\x\"",
            "\"\t\"",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[}",
            "{]",
            "[[]",
            "{\"a\":[}]",
            "1 2",
            "\u{feff}1",
            "'a'",
            "\"\\u12g4\"",
            "NaN",
            "{\"a\":1 \"b\":2}",
            "[1]]",
            "\u{0}",
            "tru e",
        ] {
            assert!(read(text).is_err(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_noticed_wherever_it_stands() {
        for (text, lone) in [
            (r#""\ud83d\ude00""#, false),
            (r#""\ud83d""#, true),
            (r#"{"a":["\ude00"]}"#, true),
            (r#"{"\ud83dx":1}"#, true),
            (r#""\ud83d\ud83d\ude00""#, true),
            (r#""\ud83d\u0041""#, true),
            (r#""\\ud83d""#, false),
        ] {
            let mut reader = Reader::new(text);
            reader.value(0).unwrap();
            assert_eq!(reader.lone_surrogate(), lone, "{text}");
        }
    }

    #[test]
    fn depth_is_counted_without_recursion() {
        for depth in [1, 2, 63, 64, 65, 128, 129, 200_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let mut reader = Reader::new(&text);
            reader.value(1).unwrap();
            assert_eq!(reader.deepest(), depth);
            assert!(read(&text[..text.len() - 1]).is_err());
        }
        let mixed = format!("{}1{}", r#"{"a":["#.repeat(100), "]}".repeat(100));
        assert!(read(&mixed).is_ok());
        assert!(read(&mixed.replace("1]}", "1}]")).is_err());
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            (-1e300..1e300).prop_map(|n: f64| format!("{n:e}")),
            ".{0,20}".prop_map(|s| serde_json::Value::from(s).to_string()),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(" , "))),
                prop::collection::vec((".{0,9}", inner), 0..5).prop_map(|v| {
                    let members =
                        v.iter().map(|(k, v)| format!("{}: {v}", serde_json::Value::from(k.as_str())));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(text in json(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
            prop_assert!(read(&text).is_ok());
            let mut bytes = text.into_bytes();
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            if let Ok(damaged) = std::str::from_utf8(&bytes) {
                let mut reader = Reader::new(damaged);
                let ours = reader.value(0).and_then(|_| reader.end()).is_ok() && !reader.lone_surrogate();
                let theirs = serde_json::from_str::<serde_json::Value>(damaged);
                // A number beyond every double is JSON all the same.
                let too_big = theirs.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
                prop_assert!(too_big || ours == theirs.is_ok(), "{damaged}");
            }
        }

        #[test]
        fn plain_text_ends_where_a_simple_search_says(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let simple = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(end_of_plain_text(&bytes, 0), simple);
        }
    }
}
