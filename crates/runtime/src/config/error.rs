//! Errors of the configuration. Each names the key and what to do.

/// Why the configuration cannot be used. Exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("unknown key {key} in {origin}: did you mean {nearest}?")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// File or environment variable.
        origin: String,
        /// The most similar key that exists.
        nearest: String,
    },
    /// A value that its key does not allow.
    #[error("{key} = {value:?} is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A file that cannot be read or parsed, or a value of the wrong type.
    #[error("configuration: {0}")]
    Unreadable(String),
}

impl ConfigError {
    /// A value that its key does not allow.
    pub fn value(key: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.into(), expected: expected.into() }
    }
}
