//! The activity registry as it stands in its compacted topic: the last entry of a key counts, an empty one deletes.
use std::{collections::BTreeMap, time::Duration};

use event::Activity;
use rdkafka::{
    error::KafkaError,
    message::Message,
    producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture},
};
use runtime::topic::Topic;

use crate::{
    context::Context,
    error::Error,
    kafka::{self, Read, Reader, Span},
    output,
};

/// Every activity by its ID. Entries that cannot be read are named on stderr and left out.
pub(crate) fn read(context: &Context) -> Result<BTreeMap<String, Activity>, Error> {
    let settings = &context.settings;
    let topic = settings.kafka.topic(Topic::Activities);
    let consumer = kafka::connect(settings)?;
    let partitions = kafka::partitions(settings, &consumer, &topic)?;
    let bounds = kafka::bounds(&consumer, &topic, &partitions)?;
    let spans: Vec<Span> = bounds.into_iter().map(Span::from).collect();
    let mut reader = Reader::new(consumer, &topic, &spans, false)?;
    let mut activities = BTreeMap::new();
    loop {
        let message = match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => message,
            Read::Idle => continue,
            Read::End => return Ok(activities),
        };
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        match message.payload().filter(|value| !value.is_empty()).map(Activity::parse) {
            None => _ = activities.remove(&key),
            Some(Ok(activity)) => _ = activities.insert(key, activity),
            Some(Err(error)) => {
                let (partition, offset) = (message.partition(), message.offset());
                output::note(format!(
                    "note: {topic}/{partition} offset {offset}, key {key:?}: {error}; left out"
                ));
            }
        }
    }
}

/// Writes entries and returns when Kafka has them safely.
pub(crate) fn write(context: &Context, activities: &[Activity]) -> Result<(), Error> {
    let activities: Vec<&Activity> = activities.iter().collect();
    Writer::new(context)?.write(context, &activities).into_iter().collect()
}

/// Writes to the registry. Making one finds out whether Kafka and the topic are there.
pub(crate) struct Writer {
    topic: String,
    partitions: u32,
    producer: FutureProducer,
}

impl Writer {
    pub(crate) fn new(context: &Context) -> Result<Self, Error> {
        let settings = &context.settings;
        let topic = settings.kafka.topic(Topic::Activities);
        let partitions = kafka::partitions(settings, &kafka::connect(settings)?, &topic)?.len() as u32;
        let producer = runtime::kafka::client(settings)
            .set("client.id", "millrace-command")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "30000")
            .create()
            .map_err(Error::kafka(format!("writing to {topic}")))?;
        Ok(Self { topic, partitions, producer })
    }

    /// Writes entries, and says of each whether Kafka has it safely. One that failed may still have been written.
    pub(crate) fn write(&self, context: &Context, activities: &[&Activity]) -> Vec<Result<(), Error>> {
        let sent: Vec<_> = activities.iter().map(|activity| self.send(activity)).collect();
        let failed = || Error::kafka(format!("writing to {}", self.topic));
        context.tokio.block_on(async {
            let mut outcomes = Vec::with_capacity(sent.len());
            for delivery in sent {
                let outcome = match delivery {
                    Err(error) => Err(error),
                    Ok(delivery) => match delivery.await {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err((error, _))) => Err(failed()(error)),
                        Err(_) => Err(failed()(KafkaError::Canceled)),
                    },
                };
                outcomes.push(outcome);
            }
            outcomes
        })
    }

    fn send(&self, activity: &Activity) -> Result<DeliveryFuture, Error> {
        let value = serde_json::to_vec(activity).map_err(|error| Error::Failed(error.to_string()))?;
        let key = activity.activity_id.as_bytes();
        let partition = event::partition_for(key, self.partitions) as i32;
        let record = FutureRecord::to(&self.topic).key(key).payload(&value).partition(partition);
        let failed = Error::kafka(format!("writing to {}", self.topic));
        self.producer.send_result(record).map_err(|(error, _)| failed(error))
    }
}
