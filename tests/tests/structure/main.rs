//! The structure of the repository: no import cycles inside a crate, no file that is too long or without its idea in the
//! first line, no banned word, no effects in pure code.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod imports;
mod purity;
mod size;
mod source;
mod words;
mod workspace;

use std::collections::BTreeMap;

use imports::{Crate, cycles, without_tests};
use workspace::TextFile;

/// Fails with all findings.
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{} {what}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_crate_has_an_import_cycle() {
    let mut crates: BTreeMap<String, Vec<TextFile>> = BTreeMap::new();
    for file in workspace::sources() {
        let (name, path) = file.path.split_once("/src/").unwrap();
        // A binary is a crate of its own.
        if path == "main.rs" || path.starts_with("bin/") {
            continue;
        }
        let file = TextFile { path: path.to_owned(), text: file.text.clone() };
        crates.entry(name.to_owned()).or_default().push(file);
    }
    let mut found = Vec::new();
    let mut seen = 0;
    for (name, files) in &crates {
        let uses = Crate::parse(files).uses();
        seen += uses.len();
        for cycle in cycles(&uses) {
            let within = uses.iter().filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to));
            let lines = within.map(|((from, to), (line, path))| {
                format!("    {name}/src/{from}:{line} uses {path} of {to}")
            });
            found.push(format!("{name}: {}\n{}", cycle.join(", "), lines.collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(seen > 300, "only {seen} uses were found");
    assert_none("import cycles", &found);
}

#[test]
fn every_source_file_begins_with_a_comment_about_itself() {
    let found: Vec<String> = workspace::sources()
        .iter()
        .filter(|file| !size::begins_with_comment(&file.text))
        .map(|file| file.path.clone())
        .collect();
    assert_none("files do not begin with //!", &found);
}

#[test]
fn a_file_with_more_than_400_lines_of_code_has_a_reason() {
    let found: Vec<String> = without_tests(&workspace::sources()).iter().filter_map(size::too_long).collect();
    assert_none("files are too long", &found);
}

#[test]
fn no_file_has_a_banned_word() {
    let files = workspace::files(&[".rs", ".md", ".toml"]);
    assert!(files.len() > 250, "only {} files were found", files.len());
    let found: Vec<String> = files.iter().flat_map(words::findings).collect();
    assert_none("banned words", &found);
}

#[test]
fn only_listed_files_use_kafka_clickhouse_tokio_files_threads_and_clocks() {
    let files = without_tests(&workspace::sources());
    assert_none("uses in pure code", &purity::findings(&files, purity::EFFECTS));
    assert_none("entries of purity.rs without a use", &purity::stale(&files, purity::EFFECTS));
}
