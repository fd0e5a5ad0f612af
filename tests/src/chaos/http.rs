//! Just enough of HTTP/1.1 to know where a message ends: one message is read whole, its bytes stay as they came.

use std::io::{self, BufRead, Read};

/// A request or an answer, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Start line and headers, with the empty line behind them.
    pub(super) head: Vec<u8>,
    /// The body as it was framed, chunk sizes included.
    pub(super) body: Vec<u8>,
}

/// Where a message without a length ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// A request without a length has no body.
    Request,
    /// An answer without a length ends with the connection.
    Answer,
}

impl Message {
    /// Reads the next message; none when the peer has closed instead of beginning one.
    pub(super) fn read(from: &mut impl BufRead, side: Side) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        loop {
            let start = head.len();
            if from.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if matches!(head.get(start..), Some(b"\r\n" | b"\n")) {
                break;
            }
        }
        let mut message = Self { head, body: Vec::new() };
        if message.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            read_chunks(from, &mut message.body)?;
        } else if let Some(length) = message.header("content-length") {
            let length: usize = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            message.body.resize(length, 0);
            from.read_exact(&mut message.body)?;
        } else if side == Side::Answer {
            from.read_to_end(&mut message.body)?;
        }
        Ok(Some(message))
    }

    /// The first line.
    pub(super) fn start_line(&self) -> String {
        let line = self.head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }

    /// The value of a header, in small letters.
    fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head).to_lowercase();
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    }
}

/// Reads chunks with their sizes, the last empty one and the trailers behind it.
fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(from, body)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            while !read_line(from, body)?.trim().is_empty() {}
            return Ok(());
        }
        let wanted = size + 2;
        if from.take(wanted).read_to_end(body)? as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn read_line(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<String> {
    let start = body.len();
    if from.read_until(b'\n', body)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(body.get(start..).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_to_its_end_and_not_beyond() {
        for (side, text, body) in [
            (Side::Request, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
            (Side::Request, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "abc"),
            (
                Side::Request,
                "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\na\r\n\r\n0\r\n\r\n",
                "3\r\na\r\n\r\n0\r\n\r\n",
            ),
            (
                Side::Answer,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=1\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
                "A;x=1\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
            ),
        ] {
            let mut from = io::Cursor::new(format!("{text}NEXT"));
            let message = Message::read(&mut from, side).unwrap().unwrap();
            assert_eq!(String::from_utf8(message.body).unwrap(), body);
            let mut rest = String::new();
            from.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "NEXT", "{text}");
        }
        let until_closed = Message::read(&mut &b"HTTP/1.1 200 OK\r\n\r\nall"[..], Side::Answer);
        assert_eq!(until_closed.unwrap().unwrap().body, b"all");
        assert_eq!(Message::read(&mut &b""[..], Side::Request).unwrap(), None);
    }

    #[test]
    fn a_message_that_breaks_off_is_an_error() {
        for text in [
            "POST / HTTP/1.1\r\nContent-Le",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            assert!(Message::read(&mut text.as_bytes(), Side::Request).is_err(), "{text}");
        }
    }
}
