//! How the topics of a pipeline are created, and whether those that exist fit it.
use event::Topic;
use runtime::config::Kafka;

use crate::client::MAX_MESSAGE_BYTES;

mod check;
mod placement;

pub use check::{Found, Problem, check, check_at_start, check_devices, find, problems};

/// Largest batch of `raw-events`: several records of clients together.
const RAW_MAX_BYTES: u32 = 4 * 1024 * 1024;

/// Number of partitions that `millrace topics create` gives a topic. The registry is small and read whole by every
/// process.
pub fn partitions(topic: Topic, kafka: &Kafka) -> i32 {
    match topic {
        Topic::Activities => 1,
        _ => kafka.partitions as i32,
    }
}

/// Whether the broker's clock sets the time of a topic's messages. In `raw-events` it decides what is late or too old, not a
/// client's clock. In the topics between the stages a restore finds the start of its window by it, not by the clock of a
/// machine that runs a stage.
fn has_broker_time(topic: Topic) -> bool {
    matches!(topic, Topic::RawEvents | Topic::CleanEvents | Topic::EnrichedEvents | Topic::DeadLetters)
}

/// The configuration that `millrace topics create` gives a topic.
pub fn settings(topic: Topic) -> Vec<(&'static str, String)> {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let max_bytes = if topic == Topic::RawEvents { RAW_MAX_BYTES } else { MAX_MESSAGE_BYTES };
    let mut settings = vec![("max.message.bytes", max_bytes.to_string())];
    if has_broker_time(topic) {
        settings.push(("message.timestamp.type", "LogAppendTime".into()));
    }
    match topic {
        Topic::RawEvents => settings.push(("retention.ms", (7 * DAY_MS).to_string())),
        Topic::CleanEvents | Topic::EnrichedEvents => {
            settings.push(("retention.ms", (3 * DAY_MS).to_string()))
        }
        Topic::DeadLetters => settings.push(("retention.ms", (30 * DAY_MS).to_string())),
        Topic::EnrichState | Topic::Activities => settings.push(("cleanup.policy", "compact".into())),
    }
    settings
}
