//! `millrace cat`: the records of a topic as JSON lines.
use std::{str::FromStr, time::Duration};

use clap::Args;
use event::{Batch, Topic};
use rdkafka::message::{BorrowedMessage, Message};
use runtime::config::Settings;

use crate::{
    context::Context,
    error::Error,
    json_lines::{event::EventLine, position::RecordPosition, record::RecordLine},
    output::Output,
    topic_reader::{self, OffsetRange, PartitionBounds, Read, TopicReader},
};

/// Print the records of a topic as JSON lines, from its beginning to its current end
///
/// clean-events and enriched-events: one line per event, with every field that is set, by the names of `millrace fields`.
/// Other topics: one line per record, with the value as JSON if it is valid JSON, else as text or base64. Times are in epoch
/// milliseconds.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace cat raw-events --limit 3
  millrace cat enriched-events --follow --from end | jq 'select(.platform == \"ios\") | .channel_group'
  millrace cat dead-letters | jq -r ._headers.code | sort | uniq -c
  millrace cat clean-events --partition 3 --from 4711 --limit 1")]
pub(crate) struct Cat {
    /// raw-events, clean-events, enriched-events, enrich-state, dead-letters, activities (kafka.topic_prefix is added),
    /// or the full name of any other topic
    topic: String,
    /// Wait for new records until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Start position: `beginning`, `end`, or an offset
    #[arg(long, value_name = "POSITION", default_value = "beginning")]
    from: StartPosition,
    /// Read this partition only
    #[arg(long, short, value_name = "N")]
    partition: Option<i32>,
    /// Stop after N lines
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,
}

/// Where to start reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartPosition {
    Beginning,
    End,
    Offset(i64),
}

impl FromStr for StartPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                _ => Err("expected `beginning`, `end` or an offset".into()),
            },
        }
    }
}

impl StartPosition {
    fn range(self, bounds: PartitionBounds) -> OffsetRange {
        let start = match self {
            Self::Beginning => bounds.low,
            Self::End => bounds.high,
            Self::Offset(offset) => offset.clamp(bounds.low, bounds.high),
        };
        OffsetRange { partition: bounds.partition, start, end: bounds.high }
    }
}

impl Cat {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, .. } = context;
        if self.from == StartPosition::End && !self.follow {
            return Err(Error::Usage("--from end reads new records only: add --follow".into()));
        }
        let (topic, holds_batches) = resolve(settings, &self.topic);
        let consumer = topic_reader::connect(settings)?;
        let mut partitions = topic_reader::partitions(settings, &consumer, &topic)?;
        if let Some(wanted) = self.partition {
            partitions.retain(|&partition| partition == wanted);
            if partitions.is_empty() {
                return Err(Error::Usage(format!("--partition {wanted}: {topic} has no such partition")));
            }
        }
        let bounds = topic_reader::bounds(&consumer, &topic, &partitions)?;
        let ranges: Vec<OffsetRange> = bounds.into_iter().map(|bounds| self.from.range(bounds)).collect();
        let mut reader = TopicReader::new(settings, consumer, &topic, &ranges, self.follow)?;
        let mut left = self.limit.unwrap_or(u64::MAX);
        while left > 0 {
            match reader.next(Duration::from_millis(100))? {
                Read::Record(message) if holds_batches => left = print_events(output, &message, left)?,
                Read::Record(message) => {
                    output.json_line(&RecordLine::of(&message))?;
                    left -= 1;
                }
                Read::Idle => output.flush()?,
                Read::End => break,
            }
        }
        Ok(output.flush()?)
    }
}

/// Prints the events of a batch and returns how many lines are left to print.
fn print_events(output: &mut Output, message: &BorrowedMessage<'_>, mut left: u64) -> Result<u64, Error> {
    let batch = match Batch::decode(message.payload().unwrap_or_default()) {
        Ok(batch) => batch,
        Err(error) => {
            output.json_line(&RecordLine { problem: Some(error.to_string()), ..RecordLine::of(message) })?;
            return Ok(left - 1);
        }
    };
    for row in 0..batch.rows() {
        if left == 0 {
            break;
        }
        output.json_line(&EventLine { position: RecordPosition::of(message), batch: &batch, row })?;
        left -= 1;
    }
    Ok(left)
}

/// The full name of a topic, and whether its records are batches of events.
fn resolve(settings: &Settings, name: &str) -> (String, bool) {
    let known = Topic::ALL.iter().find(|topic| topic.name() == name || settings.kafka.topic(**topic) == name);
    match known {
        Some(&topic) => {
            let holds_batches = matches!(topic, Topic::CleanEvents | Topic::EnrichedEvents);
            (settings.kafka.topic(topic), holds_batches)
        }
        None => (name.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_get_the_prefix_and_other_names_do_not() {
        let prefix = ("MILLRACE__KAFKA__TOPIC_PREFIX".to_owned(), "eu.".to_owned());
        let settings = runtime::config::load_from(None, [prefix]).unwrap();
        for (name, topic, holds_batches) in [
            ("clean-events", "eu.clean-events", true),
            ("eu.enriched-events", "eu.enriched-events", true),
            ("raw-events", "eu.raw-events", false),
            ("orders", "orders", false),
        ] {
            assert_eq!(resolve(&settings, name), (topic.to_owned(), holds_batches));
        }
    }

    #[test]
    fn an_offset_outside_the_partition_is_moved_to_its_nearest_end() {
        let bounds = PartitionBounds { partition: 2, low: 10, high: 20 };
        for (from, start) in [("beginning", 10), ("end", 20), ("15", 15), ("3", 10), ("99", 20)] {
            assert_eq!(
                from.parse::<StartPosition>().unwrap().range(bounds),
                OffsetRange { partition: 2, start, end: 20 }
            );
        }
    }
}
