//! Paths of values inside `properties`.
use std::fmt;

/// Prefix of every path.
const PREFIX: &str = "properties.";

/// The path of a value inside `properties`: `properties.player.version` is key `version` of the object under
/// `player`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyPath {
    keys: Vec<Box<str>>,
}

impl PropertyPath {
    /// Reads `properties.a.b`. None for a name without the prefix `properties.`.
    ///
    /// # Errors
    /// The name has the prefix, but is not a path.
    pub fn parse(name: &str) -> Option<Result<Self, String>> {
        let path = name.strip_prefix(PREFIX)?;
        let keys: Vec<Box<str>> = path.split('.').map(Box::from).collect();
        let whole = keys.iter().all(|key| !key.is_empty());
        Some(if whole {
            Ok(Self { keys })
        } else {
            Err(format!("`{name}` has an empty part: write keys separated by single dots"))
        })
    }

    /// The keys of the path, the outermost first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(AsRef::as_ref)
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.keys.join("."))
    }
}
