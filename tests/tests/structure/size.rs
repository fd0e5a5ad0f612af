//! How a file begins and how long it may be.

use crate::{source::Source, workspace::TextFile};

/// Lines of code a file may have without a reason.
const MOST_LINES: usize = 400;
/// Begins the reason in the first comment of a file that has more.
const REASON: &str = "one file because";

/// Whether a file's first line is a comment about the whole file.
pub(crate) fn begins_with_comment(text: &str) -> bool {
    text.starts_with("//! ")
}

/// A file that has too many lines of code without a reason, with its length.
pub(crate) fn too_long(file: &TextFile) -> Option<String> {
    let source = Source::parse(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
    let lines = source.code_lines();
    (lines > MOST_LINES && !says_why(&file.text))
        .then(|| format!("{}: {lines} lines of code, and no \"{REASON}\" in its first comment", file.path))
}

fn says_why(text: &str) -> bool {
    let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    comment.join(" ").to_lowercase().contains(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(comment: &str, lines: usize) -> TextFile {
        let code = "const A: u8 = 1;\n".repeat(lines);
        TextFile { path: "a/src/b.rs".into(), text: format!("{comment}\n\n{code}") }
    }

    #[test]
    fn four_hundred_lines_are_short_and_one_more_needs_a_reason() {
        assert_eq!(too_long(&file("//! What.", 400)), None);
        assert!(too_long(&file("//! What.", 401)).unwrap().contains("401 lines"));
        assert_eq!(too_long(&file("//! What. One file\n//! because it is a table.", 401)), None);
        assert!(too_long(&file("//! What.\n\n// One file because", 401)).is_some());
    }

    #[test]
    fn a_file_begins_with_a_comment_about_itself() {
        for (text, expected) in
            [("//! What.\n", true), ("// What.\n", false), ("use a;\n//! What.\n", false), ("", false)]
        {
            assert_eq!(begins_with_comment(text), expected, "{text:?}");
        }
    }
}
