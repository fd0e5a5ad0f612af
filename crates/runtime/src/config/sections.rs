//! Sections of the configuration that the program uses as they are written.
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Section `log`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// Format of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// Text.
    Text,
}

/// Section `ingest`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Ingest {
    pub apps: Vec<String>,
    pub unknown_events: UnknownEvents,
    pub forbidden_ids: Vec<String>,
    #[serde(with = "humantime_serde")]
    pub max_event_age: Duration,
    pub undecodable: UndecodableBatches,
}

/// What a stage does about a Kafka batch that cannot be decompressed or fails its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UndecodableBatches {
    /// Writes a dead letter with its offsets and reads on behind it.
    DeadLetter,
    /// Its partition waits.
    Halt,
}

/// What ingest does with event names that the contract does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// Processes them like any other.
    Accept,
    /// Rejects them.
    Reject,
}

/// Section `enrich.active`: the steps of each definition of an active device, in the `where` language.
pub type ActiveDefinitions = BTreeMap<String, Vec<serde_json::Map<String, serde_json::Value>>>;
