//! Where a command prints: text for people or JSON for machines, on a buffered stdout. Trouble and progress go to
//! stderr, so that stdout can always be piped on.
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use crate::table::Table;

pub(crate) struct Output {
    json: bool,
    out: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    /// Whether a machine reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line for people; with --json nothing.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if !self.json {
            writeln!(self.out, "{}", text.as_ref())?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints a table for people; with --json nothing.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        if !self.json {
            self.out.write_all(table.render().as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints one JSON value on one line; without --json nothing.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        if self.json {
            self.json_line(value)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints one JSON value on one line, whoever reads. Does not flush.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// Hands what was printed to the reader.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Tells people on stderr, whether or not a machine reads stdout.
pub(crate) fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}
