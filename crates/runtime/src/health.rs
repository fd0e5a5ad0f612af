//! The state of the process for `/livez`, `/readyz`, `/status` and `millrace_degraded`: heartbeats, readiness, what is
//! degraded and why, and details of its components.
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A component without a heartbeat for this long is stuck; the process should be restarted.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// A component without a heartbeat for this long waits for a server.
const WAITING_AFTER: Duration = Duration::from_secs(10);

/// Why a component does less than it should. It goes on by itself when the cause is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Degraded {
    /// Kafka does not answer.
    KafkaUnreachable,
    /// ClickHouse does not answer, or returns errors that are expected to go away.
    ClickHouseUnreachable,
    /// A client of Kafka failed; the component is being rebuilt.
    Restarting,
    /// A request has not been answered for 10 s, or records have not been written for long.
    Waiting,
    /// The memory limit is reached: the component reads less, or remembers less.
    MemoryLimit,
    /// A Kafka batch cannot be decompressed, and its partition waits.
    UndecodableBatch,
    /// A partition is halted.
    HaltedPartition,
}

impl Degraded {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::KafkaUnreachable,
        Self::ClickHouseUnreachable,
        Self::Restarting,
        Self::Waiting,
        Self::MemoryLimit,
        Self::UndecodableBatch,
        Self::HaltedPartition,
    ];

    /// Its name: label of the metric and key in `/status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KafkaUnreachable => "kafka_unreachable",
            Self::ClickHouseUnreachable => "clickhouse_unreachable",
            Self::Restarting => "restarting",
            Self::Waiting => "waiting",
            Self::MemoryLimit => "memory_limit",
            Self::UndecodableBatch => "undecodable_batch",
            Self::HaltedPartition => "halted_partition",
        }
    }

    /// Whether no record at all is processed meanwhile.
    fn stops_everything(self) -> bool {
        matches!(
            self,
            Self::KafkaUnreachable | Self::ClickHouseUnreachable | Self::Restarting | Self::Waiting
        )
    }
}

/// Shared between the workers, which report, and the HTTP server, which reads.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, Component>>>,
}

#[derive(Debug)]
struct Component {
    ready: bool,
    last_heartbeat: Instant,
    degraded: BTreeMap<Degraded, Fault>,
    details: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Fault {
    cause: String,
    since: Instant,
}

impl Component {
    fn new() -> Self {
        Self {
            ready: false,
            last_heartbeat: Instant::now(),
            degraded: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }

    /// Why it is degraded now, with the cause and the seconds it has lasted.
    fn degraded(&self) -> BTreeMap<Degraded, (String, u64)> {
        let reported = self.degraded.iter();
        let mut all: BTreeMap<_, _> = reported
            .map(|(&reason, fault)| (reason, (fault.cause.clone(), fault.since.elapsed().as_secs())))
            .collect();
        let waited = self.last_heartbeat.elapsed();
        if waited > WAITING_AFTER {
            let cause = "a request to a server has not been answered; the log names it".to_owned();
            all.insert(Degraded::Waiting, (cause, waited.as_secs()));
        }
        all
    }

    fn is_ready(&self) -> bool {
        self.ready && !self.degraded().keys().any(|reason| reason.stops_everything())
    }

    fn status(&self) -> Value {
        let degraded: serde_json::Map<String, Value> = self
            .degraded()
            .into_iter()
            .map(|(reason, (cause, seconds))| {
                (reason.as_str().to_owned(), json!({"cause": cause, "for_seconds": seconds}))
            })
            .collect();
        json!({
            "ready": self.is_ready(),
            "heard_seconds_ago": self.last_heartbeat.elapsed().as_secs(),
            "degraded": degraded,
            "details": self.details,
        })
    }
}

impl Health {
    /// Sets whether a component is ready. The process is ready when all of them are, and none is degraded so far that it
    /// processes nothing.
    pub fn set_ready(&self, component: &str, ready: bool) {
        self.with(component, |c| c.ready = ready);
    }

    /// A heartbeat of a component. Call it at least every few seconds, also while waiting.
    pub fn heartbeat(&self, component: &str) {
        self.with(component, |_| ());
    }

    /// Says that a component is degraded for this reason, with the cause, or no longer is. The first and the last
    /// are logged, so it may be called in every round of a loop.
    pub fn set_degraded(&self, component: &str, reason: Degraded, cause: Option<String>) {
        self.with(component, |c| match cause {
            Some(cause) => {
                if let Some(fault) = c.degraded.get_mut(&reason) {
                    fault.cause = cause;
                } else {
                    tracing::warn!(component, reason = reason.as_str(), cause, "degraded");
                    c.degraded.insert(reason, Fault { cause, since: Instant::now() });
                }
            }
            None => {
                if let Some(fault) = c.degraded.remove(&reason) {
                    let seconds = fault.since.elapsed().as_secs();
                    tracing::info!(component, reason = reason.as_str(), seconds, "no longer degraded");
                }
            }
        });
    }

    /// Sets a detail of a component in `/status`.
    pub fn report(&self, component: &str, key: &str, value: impl Into<Value>) {
        let value = value.into();
        self.with(component, |c| {
            c.details.insert(key.to_owned(), value);
        });
    }

    /// Whether every component is ready, and there is at least one.
    pub fn is_ready(&self) -> bool {
        let components = self.lock();
        !components.is_empty() && components.values().all(Component::is_ready)
    }

    /// Number of components that are degraded, for each reason.
    pub fn degraded(&self) -> [(Degraded, usize); Degraded::ALL.len()] {
        let components = self.lock();
        let all: Vec<_> = components.values().map(Component::degraded).collect();
        Degraded::ALL.map(|reason| (reason, all.iter().filter(|found| found.contains_key(&reason)).count()))
    }

    /// The components without a heartbeat for too long.
    pub fn stuck(&self) -> Vec<String> {
        let components = self.lock();
        let is_stuck = |c: &Component| c.last_heartbeat.elapsed() > STUCK_AFTER;
        components.iter().filter(|(_, c)| is_stuck(c)).map(|(name, _)| name.clone()).collect()
    }

    /// All components, as JSON.
    pub fn status(&self) -> Value {
        let components = self.lock();
        let all = components.iter().map(|(name, component)| (name.clone(), component.status()));
        all.collect::<serde_json::Map<_, _>>().into()
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Component)) {
        let mut components = self.lock();
        if !components.contains_key(name) {
            components.insert(name.to_owned(), Component::new());
        }
        if let Some(component) = components.get_mut(name) {
            component.last_heartbeat = Instant::now();
            change(component);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Component>> {
        // A panic while the lock was held cannot have left a broken value.
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_components_are() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.set_ready("worker-0", true);
        health.heartbeat("worker-1");
        assert!(!health.is_ready());
        health.set_ready("worker-1", true);
        assert!(health.is_ready());
        assert!(health.stuck().is_empty());
    }

    #[test]
    fn a_degraded_component_names_its_reason_and_is_ready_only_if_it_still_processes_records() {
        let health = Health::default();
        health.set_ready("worker-0", true);
        health.set_degraded("worker-0", Degraded::HaltedPartition, Some("no such table".into()));
        assert!(health.is_ready(), "the other partitions go on");
        health.set_degraded("worker-0", Degraded::KafkaUnreachable, Some("no broker answers".into()));
        assert!(!health.is_ready());
        let status = &health.status()["worker-0"];
        assert_eq!(status["degraded"]["kafka_unreachable"]["cause"], "no broker answers");
        assert_eq!(status["ready"], false);
        let counted: Vec<usize> = health.degraded().iter().map(|(_, count)| *count).collect();
        assert_eq!(counted, [1, 0, 0, 0, 0, 0, 1]);
        health.set_degraded("worker-0", Degraded::KafkaUnreachable, None);
        assert!(health.is_ready());
    }
}
