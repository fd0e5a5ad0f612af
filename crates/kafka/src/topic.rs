//! How the topics of a pipeline are created, and whether those that exist fit it.
use event::Topic;
use runtime::config::Kafka;

mod check;

pub use check::{Found, Problem, check, check_at_start, find, problems};

/// Largest record of `raw-events`. Dead letters may be larger, because they carry headers beside the same bytes.
const RAW_MAX_BYTES: u32 = 4 * 1024 * 1024;
/// Largest message of the other topics.
const MAX_BYTES: u32 = 8 * 1024 * 1024;

/// Number of partitions that `millrace topics create` gives a topic. The registry is small and read whole by every
/// process.
pub fn partitions(topic: Topic, kafka: &Kafka) -> i32 {
    match topic {
        Topic::Activities => 1,
        _ => kafka.partitions as i32,
    }
}

/// The configuration that `millrace topics create` gives a topic.
pub fn settings(topic: Topic) -> Vec<(&'static str, String)> {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let max_bytes = if topic == Topic::RawEvents { RAW_MAX_BYTES } else { MAX_BYTES };
    let mut settings = vec![("max.message.bytes", max_bytes.to_string())];
    match topic {
        Topic::RawEvents => {
            // The broker's clock decides what is late or too old, not a client's.
            settings.push(("message.timestamp.type", "LogAppendTime".into()));
            settings.push(("retention.ms", (7 * DAY_MS).to_string()));
        }
        Topic::CleanEvents | Topic::EnrichedEvents => {
            // A restore finds the start of its window by these timestamps, so they come from the clock that stamped the
            // raw records too, and not from that of a machine that runs a stage.
            settings.push(("message.timestamp.type", "LogAppendTime".into()));
            settings.push(("retention.ms", (3 * DAY_MS).to_string()))
        }
        Topic::DeadLetters => settings.push(("retention.ms", (30 * DAY_MS).to_string())),
        Topic::EnrichState | Topic::Activities => settings.push(("cleanup.policy", "compact".into())),
    }
    settings
}
