//! One Rust file as tokens: without comments, without what only tests compile.

use std::{collections::BTreeSet, iter::Peekable, str::FromStr, vec::IntoIter};

use proc_macro2::{Delimiter, LexError, Spacing, TokenStream, TokenTree};

/// A token and the lines it stands on. Brackets are tokens of their own, and so is `::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

/// The tokens of one file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    /// Modules declared under `#[cfg(test)]` whose code is in a file of its own.
    pub(crate) test_modules: BTreeSet<String>,
}

impl Source {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The text is no Rust.
    pub(crate) fn parse(text: &str) -> Result<Self, LexError> {
        let mut source = Self { tokens: Vec::new(), test_modules: BTreeSet::new() };
        source.add(TokenStream::from_str(text)?);
        source.join_colons();
        Ok(source)
    }

    /// Lines with code on them.
    pub(crate) fn code_lines(&self) -> usize {
        let lines = self.tokens.iter().flat_map(|token| token.first_line..=token.last_line);
        lines.collect::<BTreeSet<usize>>().len()
    }

    fn add(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().collect::<Vec<_>>().into_iter().peekable();
        while let Some(tree) = trees.next() {
            match (&tree, trees.peek().and_then(attribute)) {
                (TokenTree::Punct(punct), Some(attribute)) if punct.as_char() == '#' => {
                    let attribute = attribute.to_string();
                    if attribute.starts_with("cfg") && attribute.contains("test") {
                        trees.next();
                        self.skip_item(&mut trees);
                    } else if attribute.starts_with("doc") {
                        trees.next();
                    } else {
                        self.push(&tree);
                    }
                }
                // `#![doc]`, which is how a comment `//!` arrives.
                (TokenTree::Punct(punct), None) if punct.as_char() == '#' => {
                    let bang = trees.next_if(|next| next.to_string() == "!");
                    match (bang, trees.peek().and_then(attribute)) {
                        (Some(_), Some(attribute)) if attribute.to_string().starts_with("doc") => {
                            trees.next();
                        }
                        (bang, _) => {
                            self.push(&tree);
                            bang.iter().for_each(|bang| self.push(bang));
                        }
                    }
                }
                _ => self.push(&tree),
            }
        }
    }

    /// Leaves out one item: up to its `;` or its braces.
    fn skip_item(&mut self, trees: &mut Peekable<IntoIter<TokenTree>>) {
        let mut previous = String::new();
        for tree in trees.by_ref() {
            match &tree {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
                TokenTree::Punct(punct) if punct.as_char() == ';' => return,
                TokenTree::Ident(ident) => {
                    if previous == "mod" {
                        self.test_modules.insert(ident.to_string());
                    }
                    previous = ident.to_string();
                }
                _ => previous.clear(),
            }
        }
    }

    fn push(&mut self, tree: &TokenTree) {
        let mut add = |text: String, span: proc_macro2::Span| {
            let (first_line, last_line) = (span.start().line, span.end().line);
            self.tokens.push(Token { text, first_line, last_line });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                add(open.to_owned(), group.span_open());
                self.add(group.stream());
                let span = group.span_close();
                let (first_line, last_line) = (span.start().line, span.end().line);
                self.tokens.push(Token { text: close.to_owned(), first_line, last_line });
            }
            TokenTree::Punct(punct) => {
                let joint = if punct.spacing() == Spacing::Joint { "\u{0}" } else { "" };
                add(format!("{}{joint}", punct.as_char()), punct.span());
            }
            other => add(other.to_string(), other.span()),
        }
    }

    /// Makes one token of the two colons of a path.
    fn join_colons(&mut self) {
        let mut joined: Vec<Token> = Vec::with_capacity(self.tokens.len());
        let mut was_joint_colon = false;
        for mut token in std::mem::take(&mut self.tokens) {
            let is_joint = token.text.ends_with('\u{0}');
            token.text = token.text.trim_end_matches('\u{0}').to_owned();
            if was_joint_colon && token.text == ":" {
                if let Some(first) = joined.last_mut() {
                    first.text = "::".to_owned();
                }
                was_joint_colon = false;
                continue;
            }
            was_joint_colon = is_joint && token.text == ":";
            joined.push(token);
        }
        self.tokens = joined;
    }
}

/// What stands in the brackets of an attribute.
fn attribute(tree: &TokenTree) -> Option<TokenStream> {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some(group.stream()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_tests_are_no_code() {
        let text = "//! What it is.\n\nuse a::b;\n/// Said.\nfn f() {\n    // why\n    let s = \"x\n        y\";\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        let source = Source::parse(text).unwrap();
        assert_eq!(source.code_lines(), 5);
        assert!(source.test_modules.contains("tests"));
        let words: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words[..6], ["use", "a", "::", "b", ";", "fn"]);
    }

    #[test]
    fn an_attribute_that_is_not_about_tests_keeps_its_item() {
        let source =
            Source::parse("#![deny(x)]\n#[derive(Debug)]\nstruct A;\n#[cfg(debug_assertions)]\nfn f() {}\n");
        assert_eq!(source.unwrap().code_lines(), 5);
    }
}
