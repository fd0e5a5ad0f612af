//! What exactly-once relies on: times and properties that every decision takes as an argument.

/// What a process may rely on, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `aggregate.epoch`.
    pub epoch: u32,
    /// How long after its commit an intent proves that this process owns the partition, in milliseconds: at most the
    /// group's session timeout. No insert starts later than that.
    pub intent_valid_ms: i64,
    /// How long after its intent an insert may still be running on the server, in milliseconds.
    pub longest_insert_ms: i64,
    /// The server stores a token and its rows in one atomic write, as replicated tables do in Keeper. After an OK such
    /// a server is not queried for markers: the replica that replies may lag.
    pub atomic_tokens: bool,
    /// Reads marker rows. Tests switch it off to show that it is needed.
    pub reads_markers: bool,
    /// Commits intents. Tests switch it off to show that it is needed.
    pub commits_intents: bool,
}
