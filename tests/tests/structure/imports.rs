//! Import cycles: which files of a crate use items of which others.
//!
//! A path is followed through re-exports to the file that defines its item: `crate::Error` is a use of `error.rs`, not
//! of `lib.rs`. A re-export is itself a use only when its file mentions the name elsewhere, too.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    source::{Source, Token},
    workspace::TextFile,
};

/// Absolute path of a module or an item: the segments behind `crate`.
type Path = Vec<String>;

/// Where one file uses another: line and path as written.
pub(crate) type Uses = BTreeMap<(String, String), (usize, String)>;

/// The modules of one crate.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<Path, Module>,
}

#[derive(Debug, Default)]
struct Module {
    file: String,
    /// Names that a `use` brings in; none for items of other crates.
    imports: BTreeMap<String, Option<Path>>,
    globs: Vec<Path>,
    items: BTreeSet<String>,
    references: Vec<Reference>,
    mentions: BTreeMap<String, usize>,
}

/// A path in the code, absolute.
#[derive(Debug)]
struct Reference {
    path: Path,
    written: String,
    line: usize,
    /// The name it brings in, when it is a re-export.
    exports: Option<String>,
}

enum Target {
    Module,
    Item(String),
}

impl Crate {
    /// Reads the files of one crate. Their paths are relative to its `src`.
    pub(crate) fn parse(files: &[TextFile]) -> Self {
        let files = without_tests(files);
        let parse = |file: &TextFile| {
            let source = Source::parse(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
            (file.clone(), source)
        };
        let mut parsed: Vec<(TextFile, Source)> = files.iter().map(parse).collect();
        parsed.sort_by_key(|(file, _)| module_of(&file.path).len());
        let mut this = Self::default();
        for (file, _) in &parsed {
            let module = Module { file: file.path.clone(), ..Module::default() };
            this.modules.insert(module_of(&file.path), module);
        }
        for (file, source) in &parsed {
            this.declare(&module_of(&file.path), &file.path, &source.tokens);
        }
        for (file, source) in &parsed {
            this.read(&module_of(&file.path), &source.tokens, Pass::Imports);
        }
        for (file, source) in &parsed {
            this.read(&module_of(&file.path), &source.tokens, Pass::Paths);
        }
        this
    }

    /// Every use of one file by another.
    pub(crate) fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for module in self.modules.values() {
            for reference in &module.references {
                let is_mentioned = |name: &String| module.mentions.get(name).is_some_and(|&times| times > 1);
                if reference.exports.as_ref().is_some_and(|name| !is_mentioned(name)) {
                    continue;
                }
                let Some(Target::Item(target)) = self.resolve(&[], &reference.path, 0) else { continue };
                if target != module.file {
                    let place = (reference.line, reference.written.clone());
                    uses.entry((module.file.clone(), target)).or_insert(place);
                }
            }
        }
        uses
    }

    /// Notes the items of a file and of the modules that are written out in it.
    fn declare(&mut self, module: &[String], file: &str, tokens: &[Token]) {
        const KINDS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod"];
        for (module, tokens) in split(module, tokens) {
            let of = self.modules.entry(module).or_default();
            of.file = file.to_owned();
            for pair in tokens.windows(2) {
                if KINDS.contains(&pair[0].text.as_str()) && is_name(&pair[1].text) {
                    of.items.insert(pair[1].text.clone());
                }
            }
            for token in tokens {
                *of.mentions.entry(token.text.clone()).or_default() += 1;
            }
        }
    }

    fn read(&mut self, module: &[String], tokens: &[Token], pass: Pass) {
        for (module, tokens) in split(module, tokens) {
            let mut at = 0;
            while let Some(token) = tokens.get(at) {
                let behind = tokens.get(at + 1).map_or("", |token| &token.text);
                if token.text == "use" && behind != "<" {
                    let is_export = at > 0 && ["pub", ")"].contains(&tokens[at - 1].text.as_str());
                    let end = at + tokens[at..].iter().position(|token| token.text == ";").unwrap_or(1);
                    if pass == Pass::Imports {
                        self.import(&module, &tokens[at + 1..end], is_export);
                    }
                    at = end;
                } else if behind == "::" && is_name(&token.text) {
                    let (path, end) = path_at(&tokens, at);
                    if pass == Pass::Paths {
                        self.mention(&module, &path, token.first_line);
                    }
                    at = end;
                }
                at += 1;
            }
        }
    }

    /// Takes one `use`.
    fn import(&mut self, module: &[String], tree: &[Token], is_export: bool) {
        let line = tree.first().map_or(0, |token| token.first_line);
        for leaf in leaves(tree) {
            let absolute = self.absolute(module, &leaf.path);
            let Some(of) = self.modules.get_mut(module) else { continue };
            let written = leaf.path.join("::");
            if let (Some(path), true) = (&absolute, leaf.is_glob) {
                of.globs.push(path.clone());
                if !is_export {
                    let path = child(path, "*");
                    of.references.push(Reference { path, written, line, exports: None });
                }
                continue;
            }
            if let Some(path) = &absolute {
                let exports = is_export.then(|| leaf.name.clone());
                of.references.push(Reference { path: path.clone(), written, line, exports });
            }
            of.imports.insert(leaf.name, absolute);
        }
    }

    /// Takes a path that is written outside of a `use`.
    fn mention(&mut self, module: &[String], path: &[String], line: usize) {
        let Some(absolute) = self.absolute(module, path) else { return };
        if let Some(of) = self.modules.get_mut(module) {
            let written = path.join("::");
            of.references.push(Reference { path: absolute, written, line, exports: None });
        }
    }

    /// The path from the root of the crate; none when it begins outside.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name => {
                let of = self.modules.get(module)?;
                if self.modules.contains_key(&child(module, name)) || of.items.contains(name) {
                    child(module, name)
                } else {
                    of.imports.get(name)?.clone()?
                }
            }
        };
        for segment in rest {
            match segment.as_str() {
                "super" => {
                    base.pop();
                }
                "self" => {}
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// What a path leads to, seen from a module.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Target> {
        if depth > 16 {
            return None;
        }
        let mut at = from.to_vec();
        for (index, segment) in path.iter().enumerate() {
            let rest = &path[index + 1..];
            let of = self.modules.get(&at)?;
            let inner = child(&at, segment);
            let import = of.imports.get(segment);
            let is_module = self.modules.contains_key(&inner);
            if is_module && !(rest.is_empty() && import.is_some()) {
                at = inner;
            } else if let Some(import) = import.filter(|import| import.as_ref() != Some(&inner)) {
                let Some(import) = import else { return Some(Target::Item(of.file.clone())) };
                return self.resolve(&[], &[import.as_slice(), rest].concat(), depth + 1);
            } else if segment == "*" || of.items.contains(segment) {
                return Some(Target::Item(of.file.clone()));
            } else {
                let by_glob = |glob: &Path| {
                    let defines = self.modules.get(glob)?;
                    let has = defines.items.contains(segment) || defines.imports.contains_key(segment);
                    has.then(|| self.resolve(glob, &path[index..], depth + 1))?
                };
                let found = of.globs.iter().find_map(by_glob);
                return found.or_else(|| Some(Target::Item(of.file.clone())));
            }
        }
        Some(Target::Module)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Imports,
    Paths,
}

/// One name that a `use` brings in.
struct Leaf {
    path: Path,
    name: String,
    is_glob: bool,
}

/// The files that are compiled without `cfg(test)`, too: not those of a `#[cfg(test)] mod tests;` and below it.
pub(crate) fn without_tests(files: &[TextFile]) -> Vec<TextFile> {
    let of_crate = |path: &str| match path.split_once("/src/") {
        Some((name, path)) => (name.to_owned(), module_of(path)),
        None => (String::new(), module_of(path)),
    };
    let mut test_modules = Vec::new();
    for file in files {
        let source = Source::parse(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        let (name, module) = of_crate(&file.path);
        test_modules.extend(source.test_modules.iter().map(|test| (name.clone(), child(&module, test))));
    }
    let is_test = |path: &str| {
        let (name, module) = of_crate(path);
        test_modules.iter().any(|(of, test)| *of == name && module.starts_with(test))
    };
    files.iter().filter(|file| !is_test(&file.path)).cloned().collect()
}

/// Every path in the code with its line, as written; of a `use` the whole path of every name.
pub(crate) fn paths(tokens: &[Token]) -> Vec<(Path, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let behind = tokens.get(at + 1).map_or("", |token| &token.text);
        if token.text == "use" && behind != "<" {
            let end = at + tokens[at..].iter().position(|token| token.text == ";").unwrap_or(1);
            found.extend(leaves(&tokens[at + 1..end]).into_iter().map(|leaf| (leaf.path, token.first_line)));
            at = end;
        } else if behind == "::" && is_name(&token.text) {
            let (path, end) = path_at(tokens, at);
            found.push((path, token.first_line));
            at = end;
        }
        at += 1;
    }
    found
}

/// The names of a tree such as `a::{b, c::{self, d as e}, f::*}`.
fn leaves(tree: &[Token]) -> Vec<Leaf> {
    fn walk(tokens: &[Token], prefix: &[String], found: &mut Vec<Leaf>) {
        let mut path = prefix.to_vec();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token.text.as_str() {
                "::" => {}
                "{" => {
                    for part in comma_separated(&tokens[at + 1..tokens.len() - 1]) {
                        walk(part, &path, found);
                    }
                    return;
                }
                "*" => {
                    found.push(Leaf { path, name: "*".to_owned(), is_glob: true });
                    return;
                }
                "as" => {
                    let name = tokens.get(at + 1).map_or_else(String::new, |token| token.text.clone());
                    found.push(Leaf { path, name, is_glob: false });
                    return;
                }
                "self" if !path.is_empty() => {}
                name => path.push(name.to_owned()),
            }
            at += 1;
        }
        if let Some(name) = path.last().cloned() {
            found.push(Leaf { path, name, is_glob: false });
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

fn comma_separated(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// The path that begins at a token, and the place of its last token.
fn path_at(tokens: &[Token], start: usize) -> (Path, usize) {
    let mut path = vec![tokens[start].text.clone()];
    let mut at = start;
    while let [colons, name, ..] = &tokens[at + 1..] {
        if colons.text != "::" || !is_name(&name.text) {
            break;
        }
        path.push(name.text.clone());
        at += 2;
    }
    (path, at)
}

/// Tokens by module: those of modules that are written out in a file belong to these.
fn split(module: &[String], tokens: &[Token]) -> Vec<(Path, Vec<Token>)> {
    let mut inner = Vec::new();
    let mut own = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let [word, name, open, ..] = &tokens[at..]
            && word.text == "mod"
            && open.text == "{"
        {
            let end = closing(tokens, at + 2);
            inner.extend(split(&child(module, &name.text), &tokens[at + 3..end]));
            at = end + 1;
            continue;
        }
        own.push(token.clone());
        at += 1;
    }
    inner.insert(0, (module.to_vec(), own));
    inner
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn child(module: &[String], name: &str) -> Path {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// The module that a file below `src` holds.
fn module_of(path: &str) -> Path {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Sets of files that use each other, each sorted.
pub(crate) fn cycles(uses: &Uses) -> Vec<Vec<String>> {
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in uses.keys() {
        reach.entry(from).or_default().insert(to);
    }
    // Transitive closure; a crate has some dozens of files.
    loop {
        let mut grown = false;
        for from in reach.keys().copied().collect::<Vec<_>>() {
            let next: BTreeSet<&str> =
                reach[from].iter().filter_map(|to| reach.get(to)).flatten().copied().collect();
            let own = reach.entry(from).or_default();
            let before = own.len();
            own.extend(next);
            grown |= own.len() > before;
        }
        if !grown {
            break;
        }
    }
    let mut cycles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, to) in &reach {
        let cycle: Vec<String> = to
            .iter()
            .filter(|&&other| reach.get(other).is_some_and(|back| back.contains(from)))
            .map(|&file| file.to_owned())
            .collect();
        if cycle.len() > 1 {
            cycles.insert(cycle);
        }
    }
    cycles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let file = |&(path, text): &(&str, &str)| TextFile { path: path.to_owned(), text: text.to_owned() };
        let files: Vec<TextFile> = files.iter().map(file).collect();
        let uses = Crate::parse(&files).uses();
        assert_eq!(cycles(&uses), expected, "{uses:#?}");
    }

    #[test]
    fn two_files_that_use_each_other_are_a_cycle() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use crate::b::B; pub(crate) struct A;"),
                ("b.rs", "pub(crate) struct B; fn f() -> super::a::A { todo!() }"),
            ],
            &[&["a.rs", "b.rs"]],
        );
    }

    #[test]
    fn two_files_of_which_one_uses_the_other_are_none() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use crate::b::B; pub(crate) struct A;"),
                ("b.rs", "pub(crate) struct B;"),
            ],
            &[],
        );
    }

    #[test]
    fn a_parent_and_a_child_that_use_each_other_are_a_cycle() {
        let child = "use super::Parent; pub(super) fn f(_: Parent) {}";
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod b; struct Parent; fn g() { b::f(Parent) }"),
                ("a/b.rs", child),
            ],
            &[&["a.rs", "a/b.rs"]],
        );
        check(&[("lib.rs", "mod a;"), ("a.rs", "mod b; struct Parent;"), ("a/b.rs", child)], &[]);
    }

    #[test]
    fn a_path_through_a_re_export_is_a_use_of_the_file_that_defines_it() {
        let error = "pub struct Error;";
        let user = "use crate::Error; pub fn f() -> Error { Error }";
        check(
            &[
                ("lib.rs", "mod error; mod a; pub use error::Error; pub use a::f;"),
                ("error.rs", error),
                ("a.rs", user),
            ],
            &[],
        );
        // As soon as lib.rs itself uses `a`, and `a` something that lib.rs defines, it is one.
        check(
            &[
                (
                    "lib.rs",
                    "mod error; mod a; pub use error::Error; pub use a::f; pub fn main() { f(); } pub struct X;",
                ),
                ("error.rs", error),
                ("a.rs", "use crate::{Error, X}; pub fn f() -> Error { X; Error }"),
            ],
            &[&["a.rs", "lib.rs"]],
        );
    }

    #[test]
    fn a_module_that_is_imported_is_used_where_its_items_are_named() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a/mod.rs", "pub mod c; use crate::b; fn f() { b::g() }"),
                ("a/c.rs", "pub struct C;"),
                ("b.rs", "use crate::a; pub fn g() -> a::c::C { a::c::C }"),
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a/mod.rs", "pub mod c; use crate::b; pub fn f() { b::g() }"),
                ("a/c.rs", "pub struct C;"),
                ("b.rs", "use crate::a; pub fn g() { a::f() }"),
            ],
            &[&["a/mod.rs", "b.rs"]],
        );
    }

    #[test]
    fn three_files_in_a_cycle_are_found_and_tests_are_ignored() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "pub struct A; use crate::b::{self, B as Other}; fn f() { b::f() }"),
                ("b.rs", "pub struct B; pub fn f() { crate::c::C; }"),
                ("c.rs", "pub struct C; use crate::a::*;"),
            ],
            &[&["a.rs", "b.rs", "c.rs"]],
        );
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "pub struct A; use crate::b::B;"),
                ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "pub struct A; use crate::b::B;"),
                ("b.rs", "pub struct B; #[cfg(test)] mod tests;"),
                ("b/tests.rs", "use crate::a::A;"),
            ],
            &[],
        );
    }

    #[test]
    fn modules_written_out_in_a_file_belong_to_it() {
        check(
            &[
                ("lib.rs", "mod a; pub mod header { pub const CODE: u8 = 1; }"),
                ("a.rs", "fn f() -> u8 { crate::header::CODE }"),
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a; pub mod header { pub const CODE: u8 = super::a::A; }"),
                ("a.rs", "pub const A: u8 = 1; fn f() -> u8 { crate::header::CODE }"),
            ],
            &[&["a.rs", "lib.rs"]],
        );
    }
}
