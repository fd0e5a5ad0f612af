//! Sends the records of a simulator to Kafka and returns after all are acknowledged. A failed delivery is an error,
//! because the truth counts the record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::clock::day_weight;
use crate::record::RawRecord;
use crate::simulator::Simulator;
use crate::truth::ExpectedCounts;

/// Where to send, how fast, and how much.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port` of the brokers, separated by commas.
    pub brokers: String,
    /// Topic of raw events; it must exist.
    pub topic: String,
    /// Stop after at least this many events (each element of an array counts). None: until the stop flag.
    pub events: Option<u64>,
    /// Events per second.
    pub pace: Pace,
    /// Timeout of one delivery. Above 40 s `time_source` may differ from the truth, because the broker receives
    /// events too late.
    pub delivery_timeout: Duration,
    /// More settings of librdkafka, such as security. They override ours.
    pub kafka: Vec<(String, String)>,
}

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the broker accepts them.
    Full,
    /// Events per second.
    Steady(f64),
    /// Mean events per second. The rate follows the activity over a day in Asia/Shanghai.
    DayCurve(f64),
}

impl Target {
    /// Sends at full speed until stopped.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            events: None,
            pace: Pace::Full,
            delivery_timeout: Duration::from_secs(60),
            kafka: Vec::new(),
        }
    }
}

/// Why producing failed. The truth then counts records that may not have arrived.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are invalid, or the client cannot be created.
    #[error("cannot create a producer for {brokers}: {source}")]
    Client {
        /// The configured brokers.
        brokers: String,
        /// The error of librdkafka.
        source: KafkaError,
    },
    /// librdkafka rejected a record.
    #[error("cannot send to topic {topic}: {source}")]
    Send {
        /// The configured topic.
        topic: String,
        /// The error of librdkafka.
        source: KafkaError,
    },
    /// Some records were not delivered.
    #[error("{failed} records were not delivered to topic {topic}; the first error: {first}")]
    Undelivered {
        /// The configured topic.
        topic: String,
        /// Number of records.
        failed: u64,
        /// The first error of the broker or the client.
        first: String,
    },
}

/// Counts of acknowledged and failed records, set by delivery callbacks.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

struct DeliveryContext(Arc<Deliveries>);

impl ClientContext for DeliveryContext {}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                let _ = self.0.first_failure.set(error.to_string());
            }
        }
    }
}

/// Sends records until `target.events` or `stop`, then waits until all are acknowledged. Calls `progress` about
/// five times a second and at the end, with the counts passed to the client so far.
///
/// # Errors
/// The client cannot be created, a record is rejected, or a delivery failed.
pub fn run(
    simulator: &mut Simulator,
    target: &Target,
    stop: &AtomicBool,
    mut progress: impl FnMut(&ExpectedCounts),
) -> Result<(), Error> {
    let deliveries = Arc::new(Deliveries::default());
    let producer = producer(target, DeliveryContext(Arc::clone(&deliveries)))?;
    let first = simulator.counts();
    let mut record = RawRecord::default();
    let mut pacer = Pacer { due: 0.0, last: Instant::now() };
    let mut last_progress = Instant::now();

    while !stop.load(Ordering::Relaxed) && deliveries.failed.load(Ordering::Relaxed) == 0 {
        let sent = simulator.counts().sent - first.sent;
        if target.events.is_some_and(|events| sent >= events) {
            break;
        }
        let now_ms = now_ms();
        for _ in 0..pacer.allowed(target, sent, now_ms) {
            simulator.next(now_ms, &mut record);
            send(&producer, &target.topic, &record)?;
            if target.events.is_some_and(|events| simulator.counts().sent - first.sent >= events) {
                break;
            }
        }
        producer.poll(Duration::ZERO);
        if last_progress.elapsed() >= Duration::from_millis(200) {
            last_progress = Instant::now();
            progress(&simulator.counts());
        }
    }

    let sent = simulator.counts().records - first.records;
    settle(&producer, &deliveries, sent);
    progress(&simulator.counts());
    let failed = sent - deliveries.delivered.load(Ordering::Relaxed);
    if failed == 0 {
        return Ok(());
    }
    let first = deliveries.first_failure.get().cloned();
    let first = first.unwrap_or_else(|| "no acknowledgement arrived".to_owned());
    Err(Error::Undelivered { topic: target.topic.clone(), failed, first })
}

fn producer(target: &Target, context: DeliveryContext) -> Result<BaseProducer<DeliveryContext>, Error> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.brokers)
        .set("client.id", "millrace-simulator")
        // A retry of the client must not create duplicates that the truth does not count.
        .set("enable.idempotence", "true")
        .set("compression.codec", "lz4")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "131072")
        // Invalid records may exceed the default of 1 MB; the topic's limit applies.
        .set("message.max.bytes", "67108864")
        .set("message.timeout.ms", target.delivery_timeout.as_millis().to_string());
    for (key, value) in &target.kafka {
        config.set(key, value);
    }
    config
        .create_with_context(context)
        .map_err(|source| Error::Client { brokers: target.brokers.clone(), source })
}

fn send(producer: &BaseProducer<DeliveryContext>, topic: &str, record: &RawRecord) -> Result<(), Error> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).payload(&record.value);
    if !record.key.is_empty() {
        message = message.key(&record.key);
    }
    loop {
        let Err((source, rejected)) = producer.send(message) else { return Ok(()) };
        if source != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(Error::Send { topic: topic.to_owned(), source });
        }
        // A delivery or its timeout frees space in the queue, so this loop ends.
        producer.poll(Duration::from_millis(20));
        message = rejected;
    }
}

/// Waits for the acknowledgement or failure of every record, at most for the delivery timeout.
fn settle(producer: &BaseProducer<DeliveryContext>, deliveries: &Deliveries, sent: u64) {
    let settled =
        || deliveries.delivered.load(Ordering::Relaxed) + deliveries.failed.load(Ordering::Relaxed) >= sent;
    // Sends the last batches without waiting for linger.ms.
    let _ = producer.flush(Duration::from_millis(100));
    while !settled() && producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(100));
    }
}

/// Limits the number of events to the pace.
struct Pacer {
    /// Events that should have been sent by `last`.
    due: f64,
    last: Instant,
}

impl Pacer {
    const FULL_BATCH: u32 = 256;
    /// After a pause, catch up at most this many seconds.
    const LONGEST_GAP: f64 = 1.0;

    fn allowed(&mut self, target: &Target, sent: u64, now_ms: i64) -> u32 {
        let rate = match target.pace {
            Pace::Full => return Self::FULL_BATCH,
            Pace::Steady(rate) => rate,
            Pace::DayCurve(mean) => mean * day_weight(now_ms),
        };
        self.due += rate * self.last.elapsed().as_secs_f64().min(Self::LONGEST_GAP);
        self.last = Instant::now();
        let owed = self.due - sent as f64;
        if owed < 1.0 {
            thread::sleep(Duration::from_millis(2));
            return 0;
        }
        // Arrays hold several events; events sent too early delay the next ones.
        (owed / 1.3).ceil().min(f64::from(Self::FULL_BATCH)) as u32
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}
