//! Text that a cell of a spreadsheet can hold. A client chooses some of it, and one text that is too long would spoil the
//! whole file.
use std::borrow::Cow;

/// A spreadsheet program counts UTF-16 units, and takes no more than these in a cell.
const MAX_UNITS: usize = 32_767;
/// What stands behind a text that was cut.
const CUT: &str = "…";

/// A text as a cell holds it: control characters are replaced by `U+FFFD`, and what is beyond the limit is cut.
pub(super) fn cell_text(text: &str) -> Cow<'_, str> {
    let is_kept =
        |c: char| c == '\n' || c == '\t' || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    let units: usize = text.chars().map(char::len_utf16).sum();
    if units <= MAX_UNITS && text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut room = if units <= MAX_UNITS { MAX_UNITS } else { MAX_UNITS - CUT.chars().count() };
    let mut shown = String::new();
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.len_utf16()) else { break };
        room = left;
        shown.push(if is_kept(c) { c } else { char::REPLACEMENT_CHARACTER });
    }
    if units > MAX_UNITS {
        shown.push_str(CUT);
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_limit_of_a_cell_and_a_text_below_it_stays_as_it_is() {
        let units = |text: &str| text.encode_utf16().count();
        for (text, is_cut) in [
            ("a".repeat(32_767), false),
            ("a".repeat(32_768), true),
            ("会".repeat(32_767), false),
            ("😀".repeat(16_383), false),
            ("😀".repeat(16_384), true),
            (String::new(), false),
        ] {
            let shown = cell_text(&text);
            assert_eq!(matches!(shown, Cow::Owned(_)), is_cut, "{} units", units(&text));
            assert_eq!(shown.ends_with('…'), is_cut);
            assert!(units(&shown) <= MAX_UNITS);
        }
    }

    #[test]
    fn control_characters_are_replaced_and_line_breaks_are_kept() {
        assert_eq!(cell_text("a\u{0}b\u{1b}c\r\u{ffff}"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        assert_eq!(cell_text("a\nb\tc"), "a\nb\tc");
        assert_eq!(cell_text("=1+1"), "=1+1", "a text, not a formula, because the cell is a text cell");
    }
}
