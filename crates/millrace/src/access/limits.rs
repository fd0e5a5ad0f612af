//! What the queries of a user may cost.
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error};

/// Limits of a user. A user with several roles has the highest of each limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Of one query, whole seconds.
    #[serde(with = "humantime_serde")]
    pub(crate) execution_time: Duration,
    /// Of one query, in bytes on the server.
    #[serde(deserialize_with = "byte_size")]
    pub(crate) memory: ByteSize,
    /// Rows that one query returns.
    pub(crate) result_rows: u64,
    /// Queries at the same time.
    pub(crate) concurrent_queries: u64,
    /// Queries in an hour.
    pub(crate) queries_per_hour: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            execution_time: Duration::from_secs(30),
            memory: ByteSize::gib(2),
            result_rows: 200_000,
            concurrent_queries: 8,
            queries_per_hour: 10_000,
        }
    }
}

impl Limits {
    /// The highest of each limit.
    pub(crate) fn highest(&self, other: &Self) -> Self {
        Self {
            execution_time: self.execution_time.max(other.execution_time),
            memory: self.memory.max(other.memory),
            result_rows: self.result_rows.max(other.result_rows),
            concurrent_queries: self.concurrent_queries.max(other.concurrent_queries),
            queries_per_hour: self.queries_per_hour.max(other.queries_per_hour),
        }
    }

    /// The limits that are outside their range.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let seconds = self.execution_time.as_secs();
        if !(1..=3600).contains(&seconds) || self.execution_time.subsec_nanos() != 0 {
            problems.push("limits.execution_time must be whole seconds, from 1s to 1h".to_owned());
        }
        for (name, value, least, most) in [
            ("memory", self.memory.as_u64(), 1 << 20, 1 << 40),
            ("result_rows", self.result_rows, 1, 1_000_000_000),
            ("concurrent_queries", self.concurrent_queries, 1, 1_000),
            ("queries_per_hour", self.queries_per_hour, 1, 1_000_000_000),
        ] {
            if !(least..=most).contains(&value) {
                problems.push(format!("limits.{name} = {value} must be from {least} to {most}"));
            }
        }
        problems
    }
}

/// A text such as `2GiB`.
fn byte_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(format!("`{text}` is not a size such as 2GiB")))
}
