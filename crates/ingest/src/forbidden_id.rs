//! IDs that many devices share because their clients send a placeholder instead of an ID of their own. IDs are compared
//! without blanks and zero-width characters at their ends, in lowercase and without dashes.
use foldhash::fast::RandomState;
use std::collections::HashSet;

/// The IDs that the contract forbids, in the form in which IDs are compared.
const FORBIDDEN: &[&str] = &[
    "null",
    "(null)",
    "nil",
    "none",
    "undefined",
    "nan",
    "true",
    "false",
    "0",
    "00:00:00:00:00:00",
    // What Android returns instead of its MAC address.
    "02:00:00:00:00:00",
    "guest",
    "anonymous",
    "unknown",
    "default",
    "not_authenticated",
    "distinct_id",
    "[object object]",
];
/// Longest of them.
const LONGEST: usize = 17;
/// Forbidden as it is: without its dash it could be an ID.
const MINUS_ONE: &str = "-1";
/// From this length on, an ID of zeros only or of `f` only is forbidden.
const REPEATED_DIGITS: usize = 8;

/// The forbidden IDs of the contract, and those that the configuration adds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ForbiddenIds {
    added: HashSet<String, RandomState>,
}

impl ForbiddenIds {
    pub(crate) fn new(added: impl IntoIterator<Item = String>) -> Self {
        Self { added: added.into_iter().map(|id| letters(trimmed(&id)).collect()).collect() }
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        let id = trimmed(id);
        if !self.added.is_empty() && self.added.contains(&letters(id).collect::<String>()) {
            return true;
        }
        let count = id.bytes().filter(|&byte| byte != b'-').count();
        if count <= LONGEST && (id == MINUS_ONE || FORBIDDEN.iter().any(|word| letters(id).eq(word.chars())))
        {
            return true;
        }
        let only = |digit: char| letters(id).all(|letter| letter == digit);
        match letters(id).next() {
            None => true,
            Some(digit @ ('0' | 'f')) => count >= REPEATED_DIGITS && only(digit),
            // Blanks between dashes.
            Some(first) => is_invisible(first) && letters(id).all(is_invisible),
        }
    }
}

fn trimmed(id: &str) -> &str {
    id.trim_matches(is_invisible)
}

fn letters(id: &str) -> impl Iterator<Item = char> {
    id.chars().filter(|&letter| letter != '-').map(|letter| letter.to_ascii_lowercase())
}

/// A blank or a character without width.
fn is_invisible(letter: char) -> bool {
    let zero_width =
        matches!(letter, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    zero_width || letter.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_forbidden_however_they_are_written() {
        let ids = ForbiddenIds::default();
        for id in FORBIDDEN {
            for written in [
                (*id).to_owned(),
                id.to_uppercase(),
                format!(" {id}\t"),
                format!("\u{200b}{id}\u{feff}"),
                format!("-{id}-"),
                id.chars().map(|letter| format!("{letter}-")).collect(),
            ] {
                assert!(ids.contains(&written), "{written:?}");
            }
            assert!(!ids.contains(&format!("{id}x")), "{id}x");
            assert!(!ids.contains(&format!("x{id}")), "x{id}");
            assert!(id.len() <= LONGEST, "{id}");
        }
        for id in ["", " ", "\u{200b}", "\u{3000}\u{feff}", "-", "- -", "-1", " -1 ", "00000000", "FFFFFFFF"]
        {
            assert!(ids.contains(id), "{id:?}");
        }
        for id in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            &"0".repeat(128),
            "0000-0000",
        ] {
            assert!(ids.contains(id), "{id:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_an_id() {
        let ids = ForbiddenIds::default();
        for id in [
            "1",
            "-2",
            "--1",
            "0000000",
            "fffffff",
            "f",
            "00000000f",
            "ffffffff0",
            "00000001",
            "guest-1",
            "nullable",
            "nu ll",
            "02:00:00:00:00:01",
            "g",
            "undefinedundefined",
            "\u{200b}x",
            "活",
        ] {
            assert!(!ids.contains(id), "{id:?}");
        }
    }

    #[test]
    fn the_configuration_adds_ids_in_any_form() {
        let ids = ForbiddenIds::new([" Test-Device ".to_owned(), "9774d56d682e549c".to_owned()]);
        for id in ["testdevice", "TEST-DEVICE", " test-device", "9774D56D-682E549C", "null"] {
            assert!(ids.contains(id), "{id}");
        }
        assert!(!ids.contains("test-device-1"));
    }
}
