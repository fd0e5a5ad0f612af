//! Tombstones in the changelog of enrich.
use std::time::{Duration, Instant};

use event::{Topic, partition_for};
use rdkafka::{
    consumer::Consumer,
    producer::{FutureProducer, FutureRecord},
};
use runtime::config::Settings;
use tokio::runtime::Runtime;

use super::person::{Person, PersonKeys};
use crate::{error::Error, topic_reader};

const POLL: Duration = Duration::from_millis(500);
/// The broker removes a member a little after its session has ended.
const MARGIN: Duration = Duration::from_secs(3);

/// Fails while a process of enrich is a member of its group: it holds the devices in memory and writes them again. A process
/// that has ended stays a member for `kafka.session_timeout`, so this waits as long.
pub(super) fn check_stopped(settings: &Settings) -> Result<(), Error> {
    let group = format!("{}-enrich", settings.pipeline);
    let consumer = topic_reader::group_observer(settings, &group)?;
    let started = Instant::now();
    loop {
        let failed = Error::kafka(format!("reading group {group}"));
        let groups =
            consumer.fetch_group_list(Some(&group), topic_reader::REQUEST_TIMEOUT).map_err(failed)?;
        let members = groups.groups().iter().map(|found| found.members().len()).sum::<usize>();
        if members == 0 {
            return Ok(());
        }
        if started.elapsed() > settings.kafka.session_timeout + MARGIN {
            return Err(Error::Failed(format!(
                "{members} members of group {group} are running, and would write the device from their memory again: stop \
                 all processes of enrich, run this command again, and start them; meanwhile events wait in Kafka"
            )));
        }
        std::thread::sleep(POLL);
    }
}

/// Writes a tombstone for each device and returns their number.
pub(super) fn write_tombstones(
    settings: &Settings,
    tokio: &Runtime,
    person: &Person,
    keys: &PersonKeys,
) -> Result<usize, Error> {
    let topic = settings.kafka.topic(Topic::EnrichState);
    let partitions = topic_reader::partitions(settings, &topic_reader::connect(settings)?, &topic)?.len();
    let failed = || Error::kafka(format!("writing to {topic}"));
    let producer: FutureProducer = ::kafka::client(settings)
        .set("client.id", "millrace-command")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "30000")
        .create()
        .map_err(failed())?;
    tokio.block_on(async {
        for (key, partition_key) in keys.devices.iter().zip(person.partition_keys()) {
            let key = key.to_be_bytes();
            let partition = partition_for(partition_key.as_bytes(), partitions as u32) as i32;
            let record: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&topic).key(&key[..]).partition(partition);
            let sent = producer.send(record, rdkafka::util::Timeout::Never).await;
            sent.map_err(|(error, _)| failed()(error))?;
        }
        Ok(keys.devices.len())
    })
}
