//! Where a command prints: text for people or JSON for programs, on a buffered stdout. Errors and progress go to stderr,
//! so that stdout can always be piped. Whatever is printed is safe for a terminal: see [`escape`]. The exception is
//! [`Output::raw`], for text that another program reads: its callers escape what clients chose, except with `--raw`.
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

mod escape;
mod json;
pub(crate) mod table;
pub(crate) mod text;

pub(crate) use escape::escaped;
use table::Table;

pub(crate) struct Output {
    json: bool,
    out: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line for people. Prints nothing with --json.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if !self.json {
            writeln!(self.out, "{}", escape::escaped_except_styles(text.as_ref()))?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints a table for people. Prints nothing with --json.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        if !self.json {
            self.out.write_all(table.render().as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints one JSON value on one line. Prints nothing without --json.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        if self.json {
            self.json_line(value)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints one JSON value on one line, with or without --json. Does not flush.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        json::write(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// The buffered stdout. Nothing is escaped.
    pub(crate) fn raw(&mut self) -> impl Write {
        &mut self.out
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints a line to stderr, with or without --json.
pub(crate) fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", escaped(text.as_ref()));
}
