//! Checks whether the existing topics fit the pipeline. `millrace topics check` prints all problems. At the start of a
//! stage, the first problem is an error.
use event::{StageLimits, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use runtime::{
    config::{Kafka, Settings},
    shutdown::Shutdown,
};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

use super::placement::{is_empty, sample, spread_over};
use crate::{client, error::Error, startup};

/// What a topic between the stages must take at least: the largest message, a single larger row, keys and headers.
const MIN_MESSAGE_BYTES: usize = 2 * StageLimits::MESSAGE_BYTES;
/// Timeout of the request for all topics.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An existing topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which topic.
    pub topic: Topic,
    /// Number of partitions.
    pub partitions: u32,
    /// Its configuration, defaults included.
    pub settings: Vec<(String, String)>,
}

/// A topic that does not fit the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Full name of the topic.
    pub topic: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::WrongTopic { topic: problem.topic, problem: format!("{}: {}", problem.what, problem.remedy) }
    }
}

/// The problems of these topics; empty when there is none.
///
/// # Errors
/// The broker returned an error or sent no reply.
pub async fn check(settings: &Settings, topics: &[Topic]) -> Result<Vec<Problem>, Error> {
    let found = find(settings, topics).await?;
    Ok(problems(&settings.kafka, topics, &found))
}

/// Whether the devices are still in the partitions that enrich remembers them in. Call it on a thread that may block.
///
/// # Errors
/// No broker replied in time.
pub fn check_devices(settings: &Settings, found: &[Found]) -> Result<Vec<Problem>, Error> {
    let failed = |e| Error::call("reading a sample of the events", "topics", e);
    let partitions = |topic| found.iter().find(|found| found.topic == topic).map(|found| found.partitions);
    let Some(clean) = partitions(Topic::CleanEvents) else { return Ok(Vec::new()) };
    let mut devices = Vec::new();
    for topic in [Topic::CleanEvents, Topic::EnrichedEvents] {
        if let Some(number) = partitions(topic) {
            devices.extend(sample(settings, &settings.kafka.topic(topic), number).map_err(failed)?);
        }
    }
    if let Some(before) = spread_over(&devices, clean) {
        return Ok(vec![respread(&settings.kafka, clean, before)]);
    }
    let mut problems = Vec::new();
    for topic in [Topic::EnrichState, Topic::EnrichedEvents] {
        let Some(number) = partitions(topic).filter(|&number| number < clean) else { continue };
        let name = settings.kafka.topic(topic);
        let knows_devices =
            topic == Topic::EnrichState && !is_empty(settings, &name, number).map_err(failed)?;
        problems.push(if knows_devices {
            respread(&settings.kafka, clean, number)
        } else {
            too_few_partitions(&settings.kafka, name, number, clean)
        });
    }
    Ok(problems)
}

/// `clean-events` has another number of partitions than it had when its devices were spread.
fn respread(kafka: &Kafka, now: u32, before: u32) -> Problem {
    let name = kafka.topic(Topic::CleanEvents);
    Problem {
        what: format!(
            "has {now} partitions, but its devices are spread over {before}: with another number known devices come to other \
             partitions and count as new, so the number must never change"
        ),
        remedy: format!(
            "stop ingest; when `millrace status` shows lag 0 for enrich, stop enrich, delete {name} (`kafka-topics \
             --bootstrap-server {} --delete --topic {name}`), create it again with MILLRACE__KAFKA__PARTITIONS={before} \
             `millrace topics create`, and start both; raw-events may have any number of partitions",
            kafka.brokers
        ),
        topic: name,
    }
}

/// Enrich writes its events and its changelog to the partition number from which it reads.
fn too_few_partitions(kafka: &Kafka, name: String, number: u32, clean: u32) -> Problem {
    let clean_name = kafka.topic(Topic::CleanEvents);
    Problem {
        what: format!(
            "has {number} partitions, {clean_name} has {clean}: a device has the same partition number in both"
        ),
        remedy: format!(
            "`kafka-topics --bootstrap-server {} --alter --topic {name} --partitions {clean}`",
            kafka.brokers
        ),
        topic: name,
    }
}

/// As [`check`], for the start of a stage: waits for a broker until `startup_timeout`, and returns the first problem as
/// an error. Call it inside a Tokio context, on a thread that may block.
///
/// # Errors
/// A topic is missing or has a problem, no broker replied in time, or a shutdown was requested.
pub fn check_at_start(settings: &Settings, topics: &[Topic], shutdown: &Shutdown) -> Result<(), Error> {
    let started = Instant::now();
    let consumer: BaseConsumer =
        client::client(settings).create().map_err(|e| Error::call("creating a client", "all topics", e))?;
    for &topic in topics {
        startup::wait_for_topic(&consumer, settings, &settings.kafka.topic(topic), shutdown)?;
    }
    drop(consumer);
    loop {
        let checked = Handle::current().block_on(find(settings, topics)).and_then(|found| {
            let problems = problems(&settings.kafka, topics, &found);
            if problems.is_empty() { check_devices(settings, &found) } else { Ok(problems) }
        });
        match checked {
            Ok(problems) => return problems.into_iter().next().map_or(Ok(()), |problem| Err(problem.into())),
            Err(error) if error.is_denied() => return Err(error),
            // The broker replied a moment ago, so it is restarting. Until it has restarted, many errors are transient.
            Err(error) if started.elapsed() < settings.startup_timeout && !shutdown.requested() => {
                tracing::warn!(%error, "checking the topics failed, retrying");
                std::thread::sleep(Duration::from_millis(500));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Those of `topics` that exist.
///
/// # Errors
/// The broker returned an error or sent no reply.
pub async fn find(settings: &Settings, topics: &[Topic]) -> Result<Vec<Found>, Error> {
    let failed = |e| Error::call("listing the topics", "admin", e);
    let consumer: BaseConsumer = client::client(settings).create().map_err(failed)?;
    let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT).map_err(failed)?;
    let mut found = Vec::new();
    for &topic in topics {
        let name = settings.kafka.topic(topic);
        if let Some(listed) = metadata.topics().iter().find(|listed| listed.name() == name) {
            let partitions = listed.partitions().len() as u32;
            found.push(Found { topic, partitions, settings: Vec::new() });
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = found.iter().map(|found| settings.kafka.topic(found.topic)).collect();
    for (found, settings) in found.iter_mut().zip(startup::topic_settings(settings, &names).await?) {
        found.settings = settings;
    }
    Ok(found)
}

/// The problems of the `wanted` topics, given those that were found.
pub fn problems(kafka: &Kafka, wanted: &[Topic], found: &[Found]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for &topic in wanted {
        let name = kafka.topic(topic);
        match found.iter().find(|found| found.topic == topic) {
            Some(found) => check_one(kafka, found, &mut problems),
            None => problems.push(Problem {
                topic: name,
                what: "does not exist".into(),
                remedy: "run `millrace topics create`, or check kafka.topic_prefix".into(),
            }),
        }
    }
    problems
}

fn check_one(kafka: &Kafka, found: &Found, problems: &mut Vec<Problem>) {
    let name = kafka.topic(found.topic);
    let mut report = |what: String, remedy: String| {
        problems.push(Problem { topic: name.clone(), what, remedy });
    };
    let timestamps = found.setting("message.timestamp.type");
    if found.topic == Topic::RawEvents && !kafka.allow_create_time && timestamps != "LogAppendTime" {
        report(
            format!(
                "message.timestamp.type is {timestamps}, so the clients' clocks decide which events are too old"
            ),
            alter(kafka, &name, "message.timestamp.type=LogAppendTime")
                + ", or accept it with kafka.allow_create_time = true",
        );
    }
    if found.topic == Topic::EnrichedEvents && !kafka.allow_create_time && timestamps != "LogAppendTime" {
        report(
            format!(
                "message.timestamp.type is {timestamps}, so a restore of enrich finds its de-duplication window by the \
                 clock of the machine that wrote it"
            ),
            alter(kafka, &name, "message.timestamp.type=LogAppendTime")
                + ", or accept it with kafka.allow_create_time = true",
        );
    }
    let largest = found.setting("max.message.bytes").parse::<usize>();
    let is_written = !matches!(found.topic, Topic::RawEvents | Topic::Activities);
    if is_written && largest.is_ok_and(|largest| largest < MIN_MESSAGE_BYTES) {
        let needed = MIN_MESSAGE_BYTES;
        report(
            format!(
                "max.message.bytes is {}, but a stage writes messages of up to {needed} bytes",
                found.setting("max.message.bytes")
            ),
            alter(kafka, &name, &format!("max.message.bytes={needed}")),
        );
    }
    let policy = found.setting("cleanup.policy");
    let compacted = policy.split(',').any(|policy| policy.trim() == "compact");
    match found.topic {
        Topic::EnrichState | Topic::Activities if policy != "compact" => report(
            format!("cleanup.policy is {policy}, so the newest record of a key can be deleted"),
            alter(kafka, &name, "cleanup.policy=compact"),
        ),
        Topic::EnrichState | Topic::Activities => {}
        _ if compacted => report(
            format!("cleanup.policy is {policy}, so records with equal keys replace each other"),
            alter(kafka, &name, "cleanup.policy=delete"),
        ),
        _ => {}
    }
}

impl Found {
    /// The value of a configuration key; empty when the broker has none.
    pub fn setting(&self, key: &str) -> &str {
        self.settings.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

fn alter(kafka: &Kafka, topic: &str, setting: &str) -> String {
    format!(
        "`kafka-configs --bootstrap-server {} --alter --entity-type topics --entity-name {topic} --add-config {setting}`",
        kafka.brokers
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{partitions, settings};
    use runtime::config::load_from;

    fn as_created(kafka: &Kafka) -> Vec<Found> {
        let found = |&topic: &Topic| {
            let mut settings: Vec<(String, String)> =
                settings(topic).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            // The broker's defaults.
            settings.push(("cleanup.policy".into(), "delete".into()));
            settings.push(("message.timestamp.type".into(), "CreateTime".into()));
            Found { topic, partitions: partitions(topic, kafka) as u32, settings }
        };
        Topic::ALL.iter().map(found).collect()
    }

    fn change(found: &mut [Found], topic: Topic, key: &str, value: &str) {
        let found = found.iter_mut().find(|found| found.topic == topic).unwrap();
        found.settings.insert(0, (key.into(), value.into()));
    }

    #[test]
    fn topics_as_they_are_created_have_no_problem() {
        let settings = load_from(None, []).unwrap();
        assert_eq!(problems(&settings.kafka, Topic::ALL, &as_created(&settings.kafka)), []);
    }

    #[test]
    fn each_wrong_setting_is_one_problem_with_a_remedy() {
        let kafka = load_from(None, [("MILLRACE__KAFKA__TOPIC_PREFIX".into(), "p.".into())]).unwrap().kafka;
        type Change = fn(&mut Vec<Found>);
        let cases: [(Change, &str, &str, &str); 7] = [
            (|f| f.retain(|f| f.topic != Topic::Activities), "p.activities", "not exist", "topics create"),
            (
                |f| change(f, Topic::RawEvents, "message.timestamp.type", "CreateTime"),
                "p.raw-events",
                "CreateTime",
                "message.timestamp.type=LogAppendTime",
            ),
            (
                |f| change(f, Topic::EnrichedEvents, "message.timestamp.type", "CreateTime"),
                "p.enriched-events",
                "CreateTime",
                "message.timestamp.type=LogAppendTime",
            ),
            (
                |f| change(f, Topic::EnrichState, "cleanup.policy", "delete"),
                "p.enrich-state",
                "delete",
                "cleanup.policy=compact",
            ),
            (
                |f| change(f, Topic::RawEvents, "cleanup.policy", "compact,delete"),
                "p.raw-events",
                "compact,delete",
                "cleanup.policy=delete",
            ),
            (
                |f| change(f, Topic::DeadLetters, "max.message.bytes", "1048588"),
                "p.dead-letters",
                "1048588",
                "max.message.bytes=2097152",
            ),
            (
                |f| change(f, Topic::EnrichState, "max.message.bytes", "2000000"),
                "p.enrich-state",
                "2000000",
                "max.message.bytes=2097152",
            ),
        ];
        for (break_it, topic, what, remedy) in cases {
            let mut found = as_created(&kafka);
            break_it(&mut found);
            let problems = problems(&kafka, Topic::ALL, &found);
            assert_eq!(problems.len(), 1, "{problems:?}");
            let problem = &problems[0];
            assert_eq!(problem.topic, topic);
            assert!(problem.what.contains(what) && problem.remedy.contains(remedy), "{problem:?}");
        }
    }

    #[test]
    fn the_hint_for_another_number_of_partitions_keeps_known_devices_known() {
        let kafka = load_from(None, [("MILLRACE__KAFKA__TOPIC_PREFIX".into(), "p.".into())]).unwrap().kafka;
        let problem = respread(&kafka, 8, 6);
        assert!(problem.what.contains("has 8 partitions, but its devices are spread over 6"), "{problem:?}");
        assert!(problem.remedy.contains("delete p.clean-events"), "{problem:?}");
        assert!(problem.remedy.contains("MILLRACE__KAFKA__PARTITIONS=6"), "{problem:?}");
        let problem = too_few_partitions(&kafka, "p.enriched-events".into(), 3, 8);
        assert!(
            problem.what.contains("3 partitions") && problem.remedy.contains("--partitions 8"),
            "{problem:?}"
        );
    }

    #[test]
    fn create_time_is_accepted_when_the_settings_say_so() {
        let mut kafka = load_from(None, []).unwrap().kafka;
        kafka.allow_create_time = true;
        let mut found = as_created(&kafka);
        change(&mut found, Topic::RawEvents, "message.timestamp.type", "CreateTime");
        assert_eq!(problems(&kafka, Topic::ALL, &found), []);
    }
}
