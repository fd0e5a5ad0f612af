//! The files of this repository, as the checks see them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file: its path below the root of the repository, with `/`, and what stands in it.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&tests).parent().unwrap().to_path_buf()
}

/// Every file whose name ends in one of these, sorted by path.
pub(crate) fn files(endings: &[&str]) -> Vec<TextFile> {
    let mut found = Vec::new();
    walk(&root(), "", endings, &mut found);
    found.sort_by(|a: &TextFile, b: &TextFile| a.path.cmp(&b.path));
    found
}

/// Every Rust file below a `src`.
pub(crate) fn sources() -> Vec<TextFile> {
    let mut files = files(&[".rs"]);
    files.retain(|file| file.path.contains("/src/"));
    assert!(files.len() > 200, "only {} files were found", files.len());
    files
}

fn walk(directory: &Path, prefix: &str, endings: &[&str], found: &mut Vec<TextFile>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(TextFile { path, text: fs::read_to_string(entry.path()).unwrap() });
        }
    }
}
