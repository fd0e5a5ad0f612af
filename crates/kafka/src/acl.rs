//! The ACLs that each process needs, and nothing more.
//!
//! An ACL that allows Read or Write also allows Describe. A group ID that is only named, because librdkafka requires one of
//! every consumer, needs Describe: the client looks for the group's coordinator.
use event::Topic;
use runtime::config::Settings;

/// What an ACL is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// All groups whose IDs begin with this.
    GroupPrefix(String),
    /// All transactional IDs that begin with this.
    TransactionalIdPrefix(String),
}

/// One operation on several resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As `kafka-acls` names it.
    pub operation: &'static str,
    /// All of them literal, or all of them prefixes.
    pub resources: Vec<Resource>,
}

/// A process of Millrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The stage `ingest`.
    Ingest,
    /// The stage `enrich`.
    Enrich,
    /// The stage `aggregate`.
    Aggregate,
    /// The operator's command.
    Millrace,
}

impl Process {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Enrich, Self::Aggregate, Self::Millrace];

    /// The name of its program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Enrich => "enrich",
            Self::Aggregate => "aggregate",
            Self::Millrace => "millrace",
        }
    }
}

/// The ACLs of a process.
pub fn acls(settings: &Settings, process: Process) -> Vec<Grant> {
    let topics = |topics: &[Topic]| -> Vec<Resource> {
        topics.iter().map(|&topic| Resource::Topic(settings.kafka.topic(topic))).collect()
    };
    let group = |name: &str| Resource::Group(format!("{}-{name}", settings.pipeline));
    let groups = |prefix: &str| Resource::GroupPrefix(format!("{}-{prefix}", settings.pipeline));
    let transactions =
        |stage: &str| Resource::TransactionalIdPrefix(format!("{}-{stage}-", settings.pipeline));
    let with = |mut resources: Vec<Resource>, more: Resource| {
        resources.push(more);
        resources
    };
    let grant = |operation, resources| Grant { operation, resources };
    match process {
        // It checks at its start that the devices are in the partitions in which enrich remembers them.
        Process::Ingest => vec![
            grant(
                "Read",
                with(topics(&[Topic::RawEvents, Topic::CleanEvents, Topic::EnrichedEvents]), group("ingest")),
            ),
            grant("Write", topics(&[Topic::CleanEvents, Topic::DeadLetters])),
            grant("Write", vec![transactions("ingest")]),
            grant(
                "DescribeConfigs",
                topics(&[
                    Topic::RawEvents,
                    Topic::CleanEvents,
                    Topic::EnrichedEvents,
                    Topic::EnrichState,
                    Topic::DeadLetters,
                ]),
            ),
            grant("Describe", with(topics(&[Topic::EnrichState]), group("topics"))),
        ],
        Process::Enrich => vec![
            grant(
                "Read",
                with(
                    topics(&[
                        Topic::CleanEvents,
                        Topic::EnrichedEvents,
                        Topic::EnrichState,
                        Topic::Activities,
                    ]),
                    group("enrich"),
                ),
            ),
            grant("Write", topics(&[Topic::EnrichedEvents, Topic::EnrichState, Topic::DeadLetters])),
            grant("Write", vec![transactions("enrich")]),
            grant(
                "DescribeConfigs",
                topics(&[
                    Topic::CleanEvents,
                    Topic::EnrichedEvents,
                    Topic::EnrichState,
                    Topic::Activities,
                    Topic::DeadLetters,
                ]),
            ),
            grant("Describe", with(topics(&[Topic::RawEvents]), group("ingest"))),
            grant("Describe", vec![group("topics"), group("activity-registry"), group("enrich-restore")]),
        ],
        Process::Aggregate => vec![
            grant("Read", topics(&[Topic::EnrichedEvents, Topic::DeadLetters])),
            grant("Read", vec![groups("aggregate-")]),
        ],
        Process::Millrace => vec![
            grant("Create", topics(Topic::ALL)),
            grant("DescribeConfigs", topics(Topic::ALL)),
            grant("Read", topics(Topic::ALL)),
            grant("Describe", vec![groups("")]),
            // `forget` writes tombstones for the person's devices.
            grant("Write", topics(&[Topic::Activities, Topic::EnrichState])),
        ],
    }
}

impl Grant {
    /// The arguments of `kafka-acls` that add it.
    pub fn arguments(&self, principal: &str) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--add", "--allow-principal", principal, "--operation", self.operation]
                .map(str::to_owned)
                .into();
        let mut is_prefix = false;
        for resource in &self.resources {
            let (option, name) = match resource {
                Resource::Topic(name) => ("--topic", name),
                Resource::Group(name) => ("--group", name),
                Resource::GroupPrefix(name) => ("--group", name),
                Resource::TransactionalIdPrefix(name) => ("--transactional-id", name),
            };
            is_prefix |= matches!(resource, Resource::GroupPrefix(_) | Resource::TransactionalIdPrefix(_));
            arguments.extend([option.to_owned(), name.clone()]);
        }
        if is_prefix {
            arguments.extend(["--resource-pattern-type", "prefixed"].map(str::to_owned));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::config::load_from;

    #[test]
    fn a_grant_has_either_names_or_prefixes_and_the_names_of_the_pipeline() {
        let settings = load_from(None, [("MILLRACE__PIPELINE".to_owned(), "p".to_owned())]).unwrap();
        for process in Process::ALL {
            for grant in acls(&settings, process) {
                let is_prefix = |resource: &Resource| {
                    matches!(resource, Resource::GroupPrefix(_) | Resource::TransactionalIdPrefix(_))
                };
                let prefixes = grant.resources.iter().filter(|resource| is_prefix(resource)).count();
                assert!(prefixes == 0 || prefixes == grant.resources.len(), "{grant:?}");
            }
        }
        let ingest = acls(&settings, Process::Ingest);
        let arguments: Vec<String> = ingest.iter().map(|grant| grant.arguments("User:u").join(" ")).collect();
        assert_eq!(
            arguments[0],
            "--add --allow-principal User:u --operation Read --topic raw-events --topic clean-events --topic enriched-events --group p-ingest"
        );
        assert_eq!(
            arguments[2],
            "--add --allow-principal User:u --operation Write --transactional-id p-ingest- --resource-pattern-type prefixed"
        );
    }
}
