//! Sends attacks beside the honest clients, one every few seconds, and knows what must become of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};
use simulator::Truth;

use super::clients::Clients;
use crate::{
    Error,
    hostile::{Attack, Attacker},
};

/// Between two attacks.
const PAUSE: Duration = Duration::from_secs(2);
/// A producer waits longer than any server is away.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// What a correct pipeline counts for it.
    pub(super) truth: Truth,
    /// Attacks by kind.
    pub(super) attacks: BTreeMap<&'static str, u64>,
}

/// Attacks the topics of `pipeline` until the clients end.
///
/// # Errors
/// A record was not delivered, so that what must be counted is not known.
pub(super) fn run(
    seed: u64,
    brokers: &str,
    pipeline: &str,
    partitions: i32,
    clients: &Clients,
) -> Result<Sent, Error> {
    let deliveries = Arc::new(Deliveries::default());
    let producer = |batch_bytes: &str, linger_ms: &str| -> Result<BaseProducer<Delivery>, Error> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("compression.type", "zstd")
            .set("message.max.bytes", "900000000")
            .set("batch.size", batch_bytes)
            .set("linger.ms", linger_ms)
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        Ok(config.create_with_context(Delivery(Arc::clone(&deliveries)))?)
    };
    let (usual, of_one_batch) = (producer("1000000", "200")?, producer("900000000", "60000")?);
    let mut attacker = Attacker::new(seed);
    let mut sent = Sent::default();
    let mut partition = 0;
    while !clients.have_ended() {
        let attack = attacker.attack(crate::now_ms());
        partition = (partition + 1) % partitions;
        let topic = format!("{pipeline}.{}", attack.inner_topic.unwrap_or("raw-events"));
        if attack.is_one_batch {
            send(&of_one_batch, &topic, partition, &attack)?;
            of_one_batch.flush(DELIVERY_TIMEOUT)?;
        } else {
            send(&usual, &topic, partition, &attack)?;
        }
        *sent.attacks.entry(attack.name).or_default() += 1;
        sent.truth.add(attack.truth());
        let until = Instant::now() + PAUSE;
        while Instant::now() < until && !clients.have_ended() {
            usual.poll(Duration::from_millis(50));
        }
    }
    usual.flush(DELIVERY_TIMEOUT)?;
    match deliveries.failed.load(Ordering::Acquire) {
        0 => Ok(sent),
        failed => Err(Error::Answer {
            what: format!("the delivery of {failed} hostile records"),
            wanted: "successful",
        }),
    }
}

fn send(
    producer: &BaseProducer<Delivery>,
    topic: &str,
    partition: i32,
    attack: &Attack,
) -> Result<(), Error> {
    for hostile in &attack.records {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition);
        record.key = hostile.key.as_deref();
        record.payload = hostile.value.as_deref();
        while let Err((error, back)) = producer.send(record) {
            let code = error.rdkafka_error_code();
            if code != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(Duration::from_millis(50));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

struct Delivery(Arc<Deliveries>);

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.failed.fetch_add(1, Ordering::Release);
        }
    }
}
