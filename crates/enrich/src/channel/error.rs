//! Why a rule file cannot be used.

/// Why a rule file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A rule is wrong.
    #[error("rule {rule:?}: {problem}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A site is wrong.
    #[error("site {site:?}: {problem}")]
    Site {
        /// Its name.
        site: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The list does not end with a rule that always matches.
    #[error("the last rule must have evidence = \"none\", so that every event gets a channel")]
    NoLastRule,
}
