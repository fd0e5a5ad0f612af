//! Reads JSON texts of any form, keeps count of their depth, and notices lone surrogates.
use super::{
    cursor::JsonCursor,
    nesting::Nesting,
    plain_text::end_of_plain_text,
    value::{JsonText, JsonValue, SyntaxError},
};

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub(crate) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
    lone_surrogate: bool,
}

impl<'a> JsonReader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, deepest: 0, lone_surrogate: false }
    }

    /// Depth of the deepest container so far, counted from the depths given to [`value`](Self::value).
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// Whether any key or text so far held half of a surrogate pair: the grammar allows it, but it is not valid text.
    pub(crate) fn lone_surrogate(&self) -> bool {
        self.lone_surrogate
    }

    /// A cursor at the current position.
    #[inline(always)]
    pub(crate) fn cursor(&self) -> JsonCursor<'a> {
        JsonCursor { text: self.text, at: self.at }
    }

    /// Continues at the position of a cursor of the same text.
    #[inline(always)]
    pub(crate) fn continue_at(&mut self, cursor: JsonCursor<'a>) {
        self.at = cursor.at;
    }

    /// Skips white space and returns the next byte; 0 at the end, since JSON has no NUL byte outside a text.
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

    /// Checks that only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.expected("the end") }
    }

    /// Reads one value of any type. `depth` is the depth of the value if it is a container.
    pub(crate) fn value(&mut self, depth: usize) -> Result<JsonValue<'a>, SyntaxError> {
        match self.peek() {
            b'"' => self.string().map(JsonValue::Text),
            b'{' | b'[' => self.container(depth),
            _ => self.scalar(),
        }
    }

    /// Reads an object. Calls `member` with each key; `member` must read the value. Returns the number of members.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, JsonText<'a>) -> Result<(), SyntaxError>,
    ) -> Result<usize, SyntaxError> {
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

    /// Reads an array. Calls `element` with each element and its exact text.
    pub(crate) fn elements(
        &mut self,
        mut element: impl FnMut(JsonValue<'a>, &'a str),
    ) -> Result<(), SyntaxError> {
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

    /// The text from `start` to the current position.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    /// Byte offset of the current position.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn expected<T>(&self, expected: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, expected })
    }

    pub(crate) fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), SyntaxError> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    pub(crate) fn key(&mut self) -> Result<JsonText<'a>, SyntaxError> {
        if self.peek() != b'"' {
            return self.expected("a key in double quotes");
        }
        let key = self.string()?;
        self.take(b':', "`:`")?;
        Ok(key)
    }

    /// Reads a whole container without recursion, however deep it nests.
    fn container(&mut self, depth: usize) -> Result<JsonValue<'a>, SyntaxError> {
        self.peek();
        let start = self.at;
        let is_object = self.byte() == b'{';
        let mut nesting = Nesting::default();
        let mut entries = 0;
        loop {
            // A value starts here.
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
            // A value has ended, or the innermost container is empty.
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
                        JsonValue::Object { json, entries }
                    } else {
                        JsonValue::Array { json, entries }
                    });
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<JsonValue<'a>, SyntaxError> {
        match self.byte() {
            b'n' => self.word("null", JsonValue::Null),
            b't' => self.word("true", JsonValue::Bool(true)),
            b'f' => self.word("false", JsonValue::Bool(false)),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.expected("a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: JsonValue<'a>) -> Result<JsonValue<'a>, SyntaxError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<JsonValue<'a>, SyntaxError> {
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
        Ok(JsonValue::Number(self.since(start)))
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
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

    /// Reads a string whose opening quote is next.
    #[inline]
    fn string(&mut self) -> Result<JsonText<'a>, SyntaxError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let end = end_of_plain_text(bytes, start);
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(JsonText::plain(self.text.get(start..end).unwrap_or("")));
        }
        self.at = end;
        self.string_with_escapes(start)
    }

    /// Reads the rest of a string that starts at `start`, from the first byte that is not plain.
    #[cold]
    fn string_with_escapes(&mut self, start: usize) -> Result<JsonText<'a>, SyntaxError> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return self.expected("an escape instead of a control character"),
                None => return self.expected("a closing quote"),
            }
            self.at = end_of_plain_text(bytes, self.at);
        }
        let sent = self.since(start);
        self.at += 1;
        Ok(JsonText::with_escapes(sent))
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
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

/// Calls `member` with each member of an object that a reader has accepted before, in order.
pub(crate) fn members_of<'a>(json: &'a str, mut member: impl FnMut(JsonText<'a>, JsonValue<'a>)) {
    let read = JsonReader::new(json).members(|reader, key| {
        member(key, reader.value(0)?);
        Ok(())
    });
    debug_assert!(read.is_ok(), "accepted before");
}

/// Calls `element` with each element of an array that a reader has accepted before, in order.
pub(crate) fn elements_of<'a>(json: &'a str, mut element: impl FnMut(JsonValue<'a>)) {
    let read = JsonReader::new(json).elements(|value, _| element(value));
    debug_assert!(read.is_ok(), "accepted before");
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}
