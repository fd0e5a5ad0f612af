//! What the processes of the pipeline say in `/status`: halted partitions, and why a process does less than it should.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use runtime::config::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backlog::{StageBacklog, partitions};

/// A process answers at once, or not at all.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The replies of all processes in `http.processes`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Processes {
    pub(crate) processes: Vec<ProcessStatus>,
    /// Addresses without a reply of this pipeline, each with the reason.
    pub(crate) silent: BTreeMap<String, String>,
}

/// What one process says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessStatus {
    pub(crate) address: String,
    pub(crate) stage: String,
    pub(crate) instance: String,
    pub(crate) ready: bool,
    pub(crate) halted: Vec<HaltedPartition>,
    pub(crate) degraded: Vec<DegradedComponent>,
    /// The partitions that it reads, by stage or lane.
    reads: BTreeMap<String, BTreeSet<i32>>,
}

/// A partition that waits until a person acts.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HaltedPartition {
    /// The stage or lane, as in the name of the consumer group.
    pub(crate) stage: String,
    pub(crate) partition: i32,
    pub(crate) reason: String,
}

impl fmt::Display for HaltedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partition {} is halted: {}", self.stage, self.partition, self.reason)
    }
}

/// Why a component of a process does less than it should.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DegradedComponent {
    pub(crate) component: String,
    pub(crate) reason: String,
    pub(crate) cause: String,
    pub(crate) for_seconds: u64,
}

/// The reply of `/status`.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    pipeline: String,
    stage: String,
    #[serde(default)]
    instance: String,
    ready: bool,
    components: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    degraded: BTreeMap<String, Cause>,
    #[serde(default)]
    details: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Cause {
    cause: String,
    for_seconds: u64,
}

impl Processes {
    /// Asks all processes, one after the other.
    pub(crate) fn read(settings: &Settings) -> Self {
        let agent = ureq::Agent::from(ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build());
        let mut found = Self::default();
        for address in &settings.http.processes {
            let reply = agent.get(format!("http://{address}/status")).call();
            let reply = reply.and_then(|mut response| response.body_mut().read_json::<Reply>());
            match reply {
                Ok(reply) if reply.pipeline == settings.pipeline => {
                    found.processes.push(ProcessStatus::new(address, reply));
                }
                Ok(reply) => {
                    let other = format!("this is a process of the pipeline {:?}", reply.pipeline);
                    found.silent.insert(address.clone(), other);
                }
                Err(error) => _ = found.silent.insert(address.clone(), error.to_string()),
            }
        }
        found
    }

    /// The halted partitions of all processes.
    pub(crate) fn halted(&self) -> impl Iterator<Item = &HaltedPartition> {
        self.processes.iter().flat_map(|process| &process.halted)
    }

    /// What no process says: addresses without a reply, and partitions whose reader does not reply.
    pub(crate) fn unseen(&self, stages: &[StageBacklog]) -> Vec<String> {
        let silent = self.silent.iter();
        let mut unseen: Vec<String> = silent
            .map(|(address, reason)| {
                format!("no status of the process at {address} (http.processes): {reason}")
            })
            .collect();
        for stage in stages {
            let is_seen = |partition| {
                let reads = |process: &ProcessStatus| {
                    process.reads.get(stage.stage).is_some_and(|reads| reads.contains(&partition))
                };
                self.processes.iter().any(reads)
            };
            let read = stage.partitions.iter().filter(|partition| partition.has_reader == Some(true));
            let missing: Vec<i32> =
                read.map(|read| read.partition).filter(|&partition| !is_seen(partition)).collect();
            if !missing.is_empty() {
                unseen.push(format!(
                    "{} {} of {}: its process is not in http.processes, so it may be halted",
                    stage.topic,
                    partitions(missing.into_iter()),
                    stage.stage
                ));
            }
        }
        unseen
    }
}

impl ProcessStatus {
    fn new(address: &str, reply: Reply) -> Self {
        let mut process = Self {
            address: address.to_owned(),
            instance: reply.instance,
            ready: reply.ready,
            halted: Vec::new(),
            degraded: Vec::new(),
            reads: BTreeMap::new(),
            stage: reply.stage,
        };
        for (name, Component { degraded, details }) in reply.components {
            // The components of aggregate are the workers of its lanes: `live-0`.
            let stage = match name.rsplit_once('-') {
                Some((lane, _)) if process.stage == "aggregate" => format!("aggregate-{lane}"),
                _ => process.stage.clone(),
            };
            let reads = details.get("partitions").and_then(Value::as_array).into_iter().flatten();
            let reads = reads.filter_map(|partition| i32::try_from(partition.as_i64()?).ok());
            process.reads.entry(stage.clone()).or_default().extend(reads);
            let halted = details.get("halted").and_then(Value::as_object).into_iter().flatten();
            process.halted.extend(halted.filter_map(|(partition, reason)| {
                let reason = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
                Some(HaltedPartition { stage: stage.clone(), partition: partition.parse().ok()?, reason })
            }));
            process.degraded.extend(degraded.into_iter().map(|(reason, Cause { cause, for_seconds })| {
                DegradedComponent { component: name.clone(), reason, cause, for_seconds }
            }));
        }
        process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halted_partitions_and_causes_are_read_from_the_status_of_a_process() {
        let reply = serde_json::from_str(
            r#"{"pipeline": "millrace", "stage": "aggregate", "instance": "0", "ready": true, "components": {
                "live-0": {"degraded": {"memory_limit": {"cause": "full", "for_seconds": 7}},
                           "details": {"partitions": [0, 2], "halted": {"2": "is missing"}}},
                "dead_letters-1": {"details": {"partitions": [1], "halted": {}}}}}"#,
        );
        let process = ProcessStatus::new("a:1", reply.unwrap());
        let halted =
            HaltedPartition { stage: "aggregate-live".into(), partition: 2, reason: "is missing".into() };
        assert_eq!(process.halted, [halted]);
        assert_eq!(
            (process.degraded[0].reason.as_str(), process.degraded[0].for_seconds),
            ("memory_limit", 7)
        );
        assert_eq!(
            process.reads,
            BTreeMap::from([
                ("aggregate-dead_letters".to_owned(), [1].into()),
                ("aggregate-live".to_owned(), [0, 2].into())
            ])
        );
    }
}
