//! Sends a simulator's records to Kafka and does not return before every one is acknowledged: a record that
//! was counted but not delivered would make the truth a lie, so any failed delivery is an error.

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
use crate::simulator::{Record, Simulator};
use crate::truth::Counts;

/// Where to, how fast and how much.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Topic of raw events; it must exist.
    pub topic: String,
    /// Stop after at least so many events (an array counts its elements); None: until the stop flag.
    pub events: Option<u64>,
    /// Events per second.
    pub pace: Pace,
    /// Longest wait for one delivery before it is a failure. Beyond 40 s the truth about `time_source` is
    /// off, as the broker receives the events too late.
    pub delivery_timeout: Duration,
    /// More settings of librdkafka (security and the like); they win over ours.
    pub kafka: Vec<(String, String)>,
}

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the broker takes them.
    Full,
    /// Events per second.
    Steady(f64),
    /// Events per second in the mean of the day, by the curve of the day in Asia/Shanghai.
    DayCurve(f64),
}

impl Target {
    /// Everything at full speed until stopped.
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

/// Why producing stopped early. The truth then counts records that may not have arrived.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong or the client cannot be made.
    #[error("cannot create a producer for {brokers}: {source}")]
    Client {
        /// As given.
        brokers: String,
        /// Of librdkafka.
        source: KafkaError,
    },
    /// librdkafka refused a record.
    #[error("cannot send to topic {topic}: {source}")]
    Send {
        /// As given.
        topic: String,
        /// Of librdkafka.
        source: KafkaError,
    },
    /// Some records were not delivered.
    #[error("{failed} records were not delivered to topic {topic}, the first because: {first}")]
    Undelivered {
        /// As given.
        topic: String,
        /// Number of records.
        failed: u64,
        /// The broker's or the client's reason.
        first: String,
    },
}

/// How many records were acknowledged; filled by librdkafka's callbacks.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

struct Context(Arc<Deliveries>);

impl ClientContext for Context {}

impl ProducerContext for Context {
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

/// Sends records until `target.events` or `stop`, then waits until all are acknowledged. `progress` is called
/// about five times a second and at the end, with what was handed to the client so far.
///
/// # Errors
/// When the client cannot be made, a record is refused, or any delivery failed.
pub fn run(
    simulator: &mut Simulator,
    target: &Target,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Counts),
) -> Result<(), Error> {
    let deliveries = Arc::new(Deliveries::default());
    let producer = producer(target, Context(Arc::clone(&deliveries)))?;
    let first = simulator.counts();
    let mut record = Record::default();
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

fn producer(target: &Target, context: Context) -> Result<BaseProducer<Context>, Error> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.brokers)
        .set("client.id", "millrace-simulator")
        // A retry of the client must not make duplicates that the truth does not know.
        .set("enable.idempotence", "true")
        .set("compression.codec", "lz4")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "131072")
        // Bad records may be larger than the usual megabyte; the topic decides.
        .set("message.max.bytes", "67108864")
        .set("message.timeout.ms", target.delivery_timeout.as_millis().to_string());
    for (key, value) in &target.kafka {
        config.set(key, value);
    }
    config
        .create_with_context(context)
        .map_err(|source| Error::Client { brokers: target.brokers.clone(), source })
}

fn send(producer: &BaseProducer<Context>, topic: &str, record: &Record) -> Result<(), Error> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).payload(&record.value);
    if !record.key.is_empty() {
        message = message.key(&record.key);
    }
    loop {
        let Err((source, refused)) = producer.send(message) else { return Ok(()) };
        if source != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(Error::Send { topic: topic.to_owned(), source });
        }
        // Deliveries free the queue, or time out: this ends.
        producer.poll(Duration::from_millis(20));
        message = refused;
    }
}

/// Waits for the acknowledgement or failure of every record; the timeout of deliveries bounds it.
fn settle(producer: &BaseProducer<Context>, deliveries: &Deliveries, sent: u64) {
    let settled =
        || deliveries.delivered.load(Ordering::Relaxed) + deliveries.failed.load(Ordering::Relaxed) >= sent;
    // Ends the linger of the last batches.
    let _ = producer.flush(Duration::from_millis(100));
    while !settled() && producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(100));
    }
}

/// Hands out permissions for records so that events keep the pace, a few milliseconds at a time.
struct Pacer {
    /// Events that should have been sent by `last`.
    due: f64,
    last: Instant,
}

impl Pacer {
    const FULL_BATCH: u32 = 256;
    /// After a stall, catch up at most this many seconds.
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
        // Arrays bring several events at once; what is sent too early is waited for in the next round.
        (owed / 1.3).ceil().min(f64::from(Self::FULL_BATCH)) as u32
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}
