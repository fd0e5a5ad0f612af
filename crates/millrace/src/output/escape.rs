//! Text that a client, an author or a server chose, made safe for a terminal: what would move the cursor, clear the screen,
//! begin another line or change the order of the letters is shown as its code.
use std::borrow::Cow;

/// What `console` writes around a styled text, and nothing else.
const STYLES: [&str; 6] = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];

/// The text on one line, without any sequence that a terminal executes.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_except(text, &[])
}

/// As [`escaped`], for a line whose own parts may be bold or coloured.
pub(super) fn escaped_except_styles(text: &str) -> Cow<'_, str> {
    escaped_except(text, if console::colors_enabled() { &STYLES } else { &[] })
}

fn escaped_except<'t>(text: &'t str, kept: &[&str]) -> Cow<'t, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let style = kept.iter().find(|style| rest.starts_with(**style));
        let length = style.map_or(letter.len_utf8(), |style| style.len());
        match style {
            Some(style) => shown.push_str(style),
            None if is_unsafe(letter) => shown.extend(letter.escape_default()),
            None => shown.push(letter),
        }
        rest = &rest[length..];
    }
    Cow::Owned(shown)
}

/// Control characters, those that begin a line, and those that change the direction of text.
pub(super) fn is_unsafe(letter: char) -> bool {
    let turns = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_execute_is_shown_as_its_code() {
        for (text, expected) in [
            ("会员节 draw-2 €", "会员节 draw-2 €"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("ok\r\nerror: 0", "ok\\r\\nerror: 0"),
            ("a\tb\u{7f}", "a\\tb\\u{7f}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{2066}b\u{2069}\u{200f}\u{2028}", "a\\u{2066}b\\u{2069}\\u{200f}\\u{2028}"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn only_the_styles_of_this_command_are_kept() {
        let styled = "\u{1b}[1mname\u{1b}[0m \u{1b}[8mhidden\u{1b}[2K";
        assert_eq!(escaped_except(styled, &STYLES), "\u{1b}[1mname\u{1b}[0m \\u{1b}[8mhidden\\u{1b}[2K");
    }
}
