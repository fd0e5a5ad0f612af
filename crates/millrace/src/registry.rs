//! The activity registry: a compacted topic. The last record of a key is the activity, an empty one deletes it.
use std::{collections::BTreeMap, time::Duration};

use event::{Activity, Topic};
use rdkafka::{
    error::KafkaError,
    message::Message,
    producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture},
};

use crate::{
    context::Context,
    error::Error,
    output,
    topic_reader::{self, OffsetRange, Read, TopicReader},
};

/// Activities by ID.
pub(crate) type Activities = BTreeMap<String, Activity>;

/// Reads the registry. Skips entries that cannot be parsed, with a note on stderr.
pub(crate) fn read(context: &Context) -> Result<Activities, Error> {
    let settings = &context.settings;
    let topic = settings.kafka.topic(Topic::Activities);
    let consumer = topic_reader::connect(settings)?;
    let partitions = topic_reader::partitions(settings, &consumer, &topic)?;
    let bounds = topic_reader::bounds(&consumer, &topic, &partitions)?;
    let ranges: Vec<OffsetRange> = bounds.into_iter().map(OffsetRange::from).collect();
    let mut reader = TopicReader::new(settings, consumer, &topic, &ranges, false)?;
    let mut activities = Activities::new();
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
                    "note: skipped {topic} partition {partition}, offset {offset}, key {key:?}: {error}"
                ));
            }
        }
    }
}

/// Writes entries and waits until Kafka has acknowledged them.
pub(crate) fn write(context: &Context, activities: &[Activity]) -> Result<(), Error> {
    let activities: Vec<&Activity> = activities.iter().collect();
    RegistryProducer::new(context)?.write(context, &activities).into_iter().collect()
}

/// Writes to the registry.
pub(crate) struct RegistryProducer {
    topic: String,
    partitions: u32,
    producer: FutureProducer,
}

impl RegistryProducer {
    /// Fails when Kafka is unreachable or the topic is missing.
    pub(crate) fn new(context: &Context) -> Result<Self, Error> {
        let settings = &context.settings;
        let topic = settings.kafka.topic(Topic::Activities);
        let partitions =
            topic_reader::partitions(settings, &topic_reader::connect(settings)?, &topic)?.len() as u32;
        let producer = ::kafka::client(settings)
            .set("client.id", "millrace-command")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "30000")
            .create()
            .map_err(Error::kafka(format!("writing to {topic}")))?;
        Ok(Self { topic, partitions, producer })
    }

    /// Writes entries. The result of each says whether Kafka acknowledged it; one that failed may have been written.
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
