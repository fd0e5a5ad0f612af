//! How long the topics still hold what the tables no longer have.
use event::Topic;
use runtime::config::Settings;
use serde::Serialize;

use crate::error::Error;

/// A topic with records of clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RetainedTopic {
    pub(super) name: String,
    /// From `retention.ms`; None without a limit.
    pub(super) days: Option<f64>,
}

impl RetainedTopic {
    fn new(name: String, retention_ms: &str) -> Self {
        let ms = retention_ms.parse::<i64>().ok().filter(|ms| *ms >= 0);
        Self { name, days: ms.map(|ms| ms as f64 / 86_400_000.0) }
    }
}

impl RetainedTopic {
    /// When the records of today are gone.
    pub(super) fn until(&self) -> String {
        match self.days {
            Some(days) => format!("no: retention holds records for {days:.1} days"),
            None => "no: the topic has no retention, so records stay until they are deleted".to_owned(),
        }
    }
}

/// The topics with records of clients, in the order of the flow.
pub(super) async fn topics(settings: &Settings) -> Result<Vec<RetainedTopic>, Error> {
    const TOPICS: &[Topic] =
        &[Topic::RawEvents, Topic::CleanEvents, Topic::EnrichedEvents, Topic::DeadLetters];
    let found = ::kafka::topic::find(settings, TOPICS).await?;
    let retained = found
        .iter()
        .map(|found| RetainedTopic::new(settings.kafka.topic(found.topic), found.setting("retention.ms")));
    Ok(retained.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retention_is_printed_in_days() {
        for (setting, expected) in [
            ("604800000", "no: retention holds records for 7.0 days"),
            ("-1", "has no retention"),
            ("", "has no retention"),
        ] {
            assert!(RetainedTopic::new("t".into(), setting).until().contains(expected), "{setting}");
        }
    }
}
