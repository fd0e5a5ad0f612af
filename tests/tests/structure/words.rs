//! Words that this project does not use, and what it says instead.
//!
//! A word is looked for as a whole, in prose as in names: `without_a_fate` and `DrillReport` are found, `chunked` is not.

use crate::workspace::TextFile;

/// A word or phrase, and what to say instead.
pub(crate) const BANNED: &[(&str, &str)] = &[
    ("drill", "failpoint"),
    ("drills", "failpoints"),
    ("fate", "outcome; unaccounted events"),
    ("fates", "outcomes"),
    ("shut out", "fenced off"),
    ("shuts out", "fences off"),
    ("way out", "what to do; recovery"),
    ("anew", "again; from the beginning; recreated"),
    ("last words", "last log lines"),
    ("for good", "permanent, permanently"),
    ("chunk", "block"),
    ("chunks", "blocks"),
    ("piece", "block; part"),
    ("pieces", "blocks; parts"),
    ("patience", "timeout"),
    ("beat", "heartbeat"),
    ("became of", "the outcome of"),
    ("becomes of", "the outcome of"),
    ("trying on", "retries"),
    ("asking again", "retries"),
    ("fetched ahead", "prefetched"),
    ("different devices", "unique devices"),
    ("given away", "revoked"),
    ("trouble", "error; fault"),
    ("where it begins", "start position"),
];

/// Uses that are right: the beginning of the path, and a part of the line.
const ALLOWED: &[(&str, &str)] = &[
    // The list itself.
    ("tests/tests/structure/words.rs", ""),
    // Names of Rust's library.
    ("", ".chunks("),
    ("", ".chunks_exact("),
    ("", ".chunk_by("),
    ("", "first_chunk"),
    ("", "last_chunk"),
    ("", "as_chunks"),
    // The word of analytics for the step from a number to its events.
    ("", "drill-down"),
];

/// Every banned word in a file, with what to say instead.
pub(crate) fn findings(file: &TextFile) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let words = words(&file.text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        for (phrase, instead) in BANNED {
            let is_here = phrase.split(' ').enumerate().all(|(nth, part)| {
                words.get(at + nth).is_some_and(|word| word.text == part && (nth == 0 || word.follows))
            });
            let line = words[at].line;
            let text = lines[line - 1];
            let is_allowed = |(path, part): &(&str, &str)| file.path.starts_with(path) && text.contains(part);
            if is_here && !ALLOWED.iter().any(is_allowed) {
                found.push(format!("{}:{line}: \"{phrase}\": say {instead}: {}", file.path, text.trim()));
            }
        }
    }
    found
}

#[derive(Debug)]
struct Word {
    text: String,
    line: usize,
    /// Whether nothing but space or the beginning of a comment's line stands between this word and the one before.
    follows: bool,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut follows) = (1, false);
    let mut word = String::new();
    let mut last = ' ';
    for char in text.chars().chain([' ']) {
        let starts_hump = char.is_uppercase() && last.is_lowercase();
        if !word.is_empty() && (starts_hump || !char.is_alphabetic()) {
            words.push(Word { text: std::mem::take(&mut word).to_lowercase(), line, follows });
            follows = true;
        }
        if char.is_alphabetic() {
            word.push(char);
        } else if !char.is_whitespace() && !"_/!#*>|`".contains(char) {
            follows = false;
        }
        line += usize::from(char == '\n');
        last = char;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: usize) {
        let found = findings(&TextFile { path: "a.rs".into(), text: text.into() });
        assert_eq!(found.len(), expected, "{text:?}: {found:?}");
    }

    #[test]
    fn whole_words_are_found_in_prose_and_in_names() {
        check("no event is without a fate.", 1);
        check("fn events_without_a_fate() -> DrillReport", 2);
        check("const PIECE_BYTES: usize = 1;", 1);
        check("it was shut\n/// out by", 1);
        check("a Fate", 1);
    }

    #[test]
    fn parts_of_words_and_words_apart_are_not() {
        check("fateful, chunked, heartbeat, drilling", 0);
        check("it shut. Out it went; the way, out of", 0);
        check("for block in bytes.chunks(4) {}", 0);
    }
}
