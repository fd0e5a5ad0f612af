//! Kafka as a bystander sees it: which topics there are, how far they reach, and reading them without taking part in
//! any group.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ::kafka::PartitionReader;
pub(crate) use ::kafka::Read;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, DefaultConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::config::Settings;

use crate::error::Error;

/// How long one question to the broker may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read may bring nothing before it has failed, unless it waits for new records.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that only looks. `group` is whose offsets it may ask for; it never joins the group.
pub(crate) fn observer(settings: &Settings, group: &str) -> Result<BaseConsumer, Error> {
    config(settings, group).create().map_err(Error::kafka("creating a client"))
}

fn config(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = ::kafka::client(settings);
    config
        .set("client.id", "millrace-command")
        .set("group.id", group)
        // What an aborted transaction wrote never happened.
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "65536");
    config
}

/// A client that also sees what open transactions have written.
pub(crate) fn observer_of_everything(settings: &Settings) -> Result<BaseConsumer, Error> {
    let mut config = config(settings, &format!("{}-command", settings.pipeline));
    config.set("isolation.level", "read_uncommitted");
    config.create().map_err(Error::kafka("creating a client"))
}

/// A client without a group of its own. Kafka wants a name even from who only reads.
pub(crate) fn connect(settings: &Settings) -> Result<BaseConsumer, Error> {
    observer(settings, &format!("{}-command", settings.pipeline))
}

/// The partitions of a topic.
pub(crate) fn partitions(
    settings: &Settings,
    consumer: &BaseConsumer,
    topic: &str,
) -> Result<Vec<i32>, Error> {
    let asked = Instant::now();
    let metadata =
        consumer.fetch_metadata(Some(topic), ASK_TIMEOUT).map_err(|e| unreachable(settings, asked, &e))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    match found {
        Some(found) if !found.partitions().is_empty() => {
            Ok(found.partitions().iter().map(|partition| partition.id()).collect())
        }
        _ => Err(::kafka::Error::MissingTopic(topic.to_owned()).into()),
    }
}

/// First and next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) partition: i32,
    pub(crate) low: i64,
    /// End of what is committed: an open transaction hides what follows.
    pub(crate) high: i64,
}

/// How far the partitions of a topic reach. A topic that was just made may still be electing its leaders: then the
/// question is asked again for a while.
pub(crate) fn bounds(consumer: &BaseConsumer, topic: &str, partitions: &[i32]) -> Result<Vec<Bounds>, Error> {
    let started = Instant::now();
    let ask = |end: Offset| loop {
        match offsets(consumer, topic, partitions, end) {
            Ok(offsets) => return Ok(offsets),
            Err(_) if started.elapsed() < ASK_TIMEOUT => std::thread::sleep(Duration::from_millis(200)),
            Err(source) => {
                return Err(Error::Kafka { action: format!("reading the bounds of {topic}"), source });
            }
        }
    };
    let (lows, highs) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    let bounds = partitions.iter().map(|&partition| {
        let of = |offsets: &HashMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
        Bounds { partition, low: of(&lows), high: of(&highs) }
    });
    Ok(bounds.collect())
}

/// What to read of a topic for everything that was written from this time (epoch milliseconds) until now.
pub(crate) fn spans_since(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    since_ms: i64,
) -> Result<Vec<Span>, Error> {
    let bounds = bounds(consumer, topic, partitions)?;
    let starts = offsets(consumer, topic, partitions, Offset::Offset(since_ms.max(0)))
        .map_err(Error::kafka(format!("looking up a time in {topic}")))?;
    let span = |bounds: Bounds| {
        // A partition without an offset for the time has nothing as young.
        let start = starts.get(&bounds.partition).copied().unwrap_or(bounds.high);
        Span { start: start.clamp(bounds.low, bounds.high.max(bounds.low)), ..bounds.into() }
    };
    Ok(bounds.into_iter().map(span).collect())
}

/// One end of each partition, or its first offset from a time on, asked in one go.
fn offsets(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    end: Offset,
) -> Result<HashMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition_offset(topic, partition, end)?;
    }
    let answer = consumer.offsets_for_times(list, ASK_TIMEOUT)?;
    let mut offsets = HashMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

/// Waits until a broker answers, for at most `startup_timeout`.
pub(crate) fn wait_until_up(settings: &Settings, mut waiting: impl FnMut(&str)) -> Result<(), Error> {
    let consumer = connect(settings)?;
    let started = Instant::now();
    loop {
        let left = settings.startup_timeout.saturating_sub(started.elapsed());
        match consumer.fetch_metadata(None, left.min(Duration::from_secs(2)).max(Duration::from_millis(100)))
        {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
            Ok(_) => waiting("no broker yet"),
            Err(error) if started.elapsed() >= settings.startup_timeout => {
                return Err(unreachable(settings, started, &error));
            }
            Err(error) => waiting(&error.to_string()),
        }
    }
}

fn unreachable(settings: &Settings, asked: Instant, error: &KafkaError) -> Error {
    let brokers = settings.kafka.brokers.clone();
    let seconds = asked.elapsed().as_secs();
    ::kafka::Error::Unreachable { brokers, seconds, cause: ::kafka::explain(error) }.into()
}

/// Reads some partitions of one topic, from given offsets up to given ends or on and on.
pub(crate) struct Reader {
    reader: PartitionReader<DefaultConsumerContext>,
    /// Reads on and on.
    follow: bool,
    heard: Instant,
}

impl Reader {
    /// Reads each partition from `start` to `end`, or on and on with `follow`.
    pub(crate) fn new(
        consumer: BaseConsumer,
        topic: &str,
        spans: &[Span],
        follow: bool,
    ) -> Result<Self, Error> {
        let mut reader = PartitionReader::with_consumer(consumer);
        let started = if follow {
            let from: Vec<_> =
                spans.iter().map(|span| (span.partition, Offset::Offset(span.start))).collect();
            reader.read_to_end(topic, &from).map(|()| reader.follow())
        } else {
            let spans: Vec<_> = spans.iter().map(|span| (span.partition, span.start, span.end)).collect();
            reader.read_up_to(topic, &spans)
        };
        started.map_err(Error::kafka(format!("reading {topic}")))?;
        Ok(Self { reader, follow, heard: Instant::now() })
    }

    pub(crate) fn next(&mut self, patience: Duration) -> Result<Read<'_>, Error> {
        match self.reader.next(patience) {
            Ok(Read::Idle) if !self.follow && self.heard.elapsed() > READ_TIMEOUT => {
                let seconds = READ_TIMEOUT.as_secs();
                Err(Error::Failed(format!("kafka sent nothing for {seconds} s: is a broker down?")))
            }
            Ok(Read::Record(message)) => {
                self.heard = Instant::now();
                Ok(Read::Record(message))
            }
            Ok(read) => Ok(read),
            Err(error) => {
                self.heard = Instant::now();
                match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
                        Ok(Read::Idle)
                    }
                    _ => Err(Error::Kafka { action: "reading".into(), source: error }),
                }
            }
        }
    }
}

/// What to read of a partition: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) partition: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl From<Bounds> for Span {
    fn from(bounds: Bounds) -> Self {
        Self { partition: bounds.partition, start: bounds.low, end: bounds.high }
    }
}
