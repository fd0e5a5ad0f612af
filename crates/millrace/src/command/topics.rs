//! `millrace topics`: creates the topics of the pipeline, and checks their settings.
use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use ::kafka::{
    acl::{Process, acls},
    topic,
};
use clap::{Args, Subcommand};
use event::Topic;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
};
use runtime::config::SecurityProtocol;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    output::{
        self,
        table::{
            Column::{Number, Text},
            table,
        },
    },
    topic_reader,
};

/// Timeout for creating the topics and for their metadata to reach every broker.
const CREATE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace topics create
  millrace topics check
  millrace topics acls")]
pub(crate) enum TopicsCommand {
    Create(CreateTopics),
    Check(CheckTopics),
    Acls(PrintAcls),
}

/// Create the topics that are missing
///
/// Does not change topics that exist. Waits up to startup_timeout for Kafka. Safe to run again at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
The settings kafka.partitions and kafka.replication give the number of partitions and replicas. Only raw-events may get more \
partitions later. The number of partitions of clean-events must never change once it has events: a device is in the partition \
that the hash of its ID gives, and enrich remembers it there.

EXAMPLES
  millrace topics create
  MILLRACE__KAFKA__PARTITIONS=64 MILLRACE__KAFKA__REPLICATION=3 millrace topics create")]
pub(crate) struct CreateTopics {}

/// Check that every topic exists with the settings that the pipeline needs
#[derive(Debug, Args)]
#[command(after_help = "\
Prints a line with the remedy for each problem, and exits with 1 if there is a problem. A stage that finds one at its start \
exits with 78.

EXAMPLES
  millrace topics check
  millrace topics check --json | jq '.problems'")]
pub(crate) struct CheckTopics {}

/// Print the ACLs that each process needs in Kafka, as commands
///
/// Prints a kafka-acls command for each ACL, and does not connect to Kafka. Names of topics, groups and transactional IDs come
/// from the configuration. A process can do nothing else with these ACLs. The command needs them for all of its
/// subcommands except `simulate`, which sends raw events.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace topics acls
  millrace topics acls --process ingest --principal User:ingest | sh")]
pub(crate) struct PrintAcls {
    /// Only those of one process: ingest, enrich, aggregate or millrace
    #[arg(long, value_name = "NAME", value_parser = parse_process)]
    process: Option<Process>,
    /// The user that the ACLs are for [default: User:{pipeline}-{process}]
    #[arg(long, value_name = "USER")]
    principal: Option<String>,
}

fn parse_process(name: &str) -> Result<Process, String> {
    let all = Process::ALL.map(Process::as_str).join(", ");
    let found = Process::ALL.into_iter().find(|process| process.as_str() == name);
    found.ok_or_else(|| format!("it is one of {all}"))
}

impl PrintAcls {
    fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, .. } = context;
        let mut list = Vec::new();
        for process in
            Process::ALL.into_iter().filter(|process| self.process.is_none_or(|only| only == *process))
        {
            let default = format!("User:{}-{}", settings.pipeline, process.as_str());
            let principal = self.principal.as_ref().unwrap_or(&default);
            output.line(format!("# {}", process.as_str()))?;
            for grant in acls(settings, process) {
                let arguments = grant.arguments(principal);
                let brokers = quoted(&settings.kafka.brokers);
                let admin = if settings.kafka.security_protocol == SecurityProtocol::Plaintext {
                    ""
                } else {
                    " --command-config admin.properties"
                };
                output.line(format!(
                    "kafka-acls --bootstrap-server {brokers}{admin} {}",
                    arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
                ))?;
                list.push(
                    json!({ "process": process.as_str(), "principal": principal, "arguments": arguments }),
                );
            }
        }
        Ok(output.json(&list)?)
    }
}

/// An argument as one word of a shell.
fn quoted(argument: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_.:=,/-+@".contains(letter);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.into(),
        false => format!("'{}'", argument.replace('\'', "'\\''")).into(),
    }
}

impl TopicsCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Create(_) => create(context),
            Self::Check(_) => check(context),
            Self::Acls(acls) => acls.run(context),
        }
    }
}

fn create(context: &mut Context) -> Result<(), Error> {
    let Context { settings, output, tokio } = context;
    let mut noted = None;
    topic_reader::wait_until_up(settings, |cause| {
        let brokers = &settings.kafka.brokers;
        if noted.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(10)) {
            output::note(format!("waiting for kafka at {brokers}: {cause}; check kafka.brokers"));
            noted = Some(Instant::now());
        }
    })?;
    let admin: AdminClient<DefaultClientContext> =
        ::kafka::client(settings).create().map_err(Error::kafka("creating a client"))?;
    let names: Vec<String> = Topic::ALL.iter().map(|&topic| settings.kafka.topic(topic)).collect();
    let configs: Vec<_> = Topic::ALL.iter().map(|&topic| topic::settings(topic)).collect();
    let new_topics: Vec<NewTopic<'_>> = Topic::ALL
        .iter()
        .zip(names.iter().zip(&configs))
        .map(|(topic, (name, config))| {
            let replication = TopicReplication::Fixed(settings.kafka.replication as i32);
            let new = NewTopic::new(name, topic::partitions(*topic, &settings.kafka), replication);
            config.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(CREATE_TIMEOUT));
    let results = tokio
        .block_on(admin.create_topics(&new_topics, &options))
        .map_err(Error::kafka("creating topics"))?;
    let mut list = Vec::new();
    for (new, result) in new_topics.iter().zip(results) {
        let created = match result {
            Ok(_) => true,
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => false,
            Err((name, code)) => return Err(not_created(settings.kafka.replication, &name, code)),
        };
        let config: Vec<String> = new.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (name, partitions) = (new.name, new.num_partitions);
        if created {
            output.line(format!("created {name}: partitions={partitions}, {}", config.join(", ")))?;
        } else {
            output.line(format!("exists  {name}"))?;
        }
        list.push(json!({ "topic": name, "created": created }));
    }
    // Other brokers get the metadata of new topics a little later, and the next command may connect to one of them.
    let consumer = topic_reader::connect(settings)?;
    let started = Instant::now();
    for name in &names {
        while let Err(error) = topic_reader::partitions(settings, &consumer, name) {
            if started.elapsed() > CREATE_TIMEOUT {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(output.json(&list)?)
}

fn not_created(replication: u32, topic: &str, code: RDKafkaErrorCode) -> Error {
    let advice = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            format!("; kafka.replication = {replication} needs {replication} brokers")
        }
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "; this user may not create topics".to_owned()
        }
        _ => String::new(),
    };
    Error::Failed(format!("topic {topic} cannot be created: {code}{advice}"))
}

fn check(context: &mut Context) -> Result<(), Error> {
    let Context { settings, output, tokio } = context;
    // First, because its error message is better when no broker is reachable.
    let raw = topic_reader::partitions(
        settings,
        &topic_reader::connect(settings)?,
        &settings.kafka.topic(Topic::RawEvents),
    );
    match raw {
        Ok(_) | Err(Error::Broker(::kafka::Error::MissingTopic(_))) => (),
        Err(error) => return Err(error),
    }
    let found = tokio.block_on(topic::find(settings, Topic::ALL))?;
    let mut problems = topic::problems(&settings.kafka, Topic::ALL, &found);
    problems.extend(topic::check_devices(settings, &found)?);
    let mut table = table(&[
        Text("topic"),
        Number("partitions"),
        Text("timestamps"),
        Text("cleanup"),
        Number("max message"),
    ]);
    for found in &found {
        let setting = |key| found.setting(key).to_owned();
        table.add_row([
            settings.kafka.topic(found.topic),
            found.partitions.to_string(),
            setting("message.timestamp.type"),
            setting("cleanup.policy"),
            setting("max.message.bytes"),
        ]);
    }
    output.table(&table)?;
    for problem in &problems {
        output.line(format!("problem: {} {}: {}", problem.topic, problem.what, problem.remedy))?;
    }
    let listed = problems
        .iter()
        .map(|problem| json!({ "topic": problem.topic, "what": problem.what, "remedy": problem.remedy }));
    output.json(&json!({ "ok": problems.is_empty(), "problems": listed.collect::<Vec<_>>() }))?;
    if problems.is_empty() { Ok(output.line("all topics are correct")?) } else { Err(Error::Reported) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn an_argument_of_a_printed_command_is_one_word_of_the_shell() {
        for (argument, expected) in [
            ("User:millrace-ingest", "User:millrace-ingest"),
            ("kafka-1.example:9093,kafka-2:9093", "kafka-1.example:9093,kafka-2:9093"),
            ("User:CN=Kafka Client,O=My Corp", "'User:CN=Kafka Client,O=My Corp'"),
            ("User:x; rm -rf .", "'User:x; rm -rf .'"),
            ("User:O'Neil $(id)", "'User:O'\\''Neil $(id)'"),
            ("*", "'*'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }
}
