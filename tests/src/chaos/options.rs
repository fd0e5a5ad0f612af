//! What to run, and what is reported meanwhile.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytesize::ByteSize;
use devstack::Profile;

use super::fault::FaultKind;
use crate::secure::Secure;

/// What to run.
#[derive(Debug, Clone)]
pub struct ChaosOptions {
    /// Determines the faults and the events.
    pub seed: u64,
    /// How long faults are injected.
    pub length: Duration,
    /// Kinds of faults.
    pub kinds: Vec<FaultKind>,
    /// Stages whose processes have faults: indexes into [`devstack::pipeline::STAGES`].
    pub stages: Vec<usize>,
    /// Events per second.
    pub rate: f64,
    /// Processes of each stage, without those that join for a while.
    pub members: usize,
    /// Attacks beside the honest clients, see [`crate::hostile`]. Then a process that ends by itself is a finding, and so
    /// is one that uses more than 1.25 times `memory_limit`.
    pub hostile: bool,
    /// With it, the processes connect to the secure listener `SASL` of Kafka, whose security it is, and to ClickHouse with
    /// TLS.
    pub secure: Option<Arc<Secure>>,
    /// `memory_limit` of each process.
    pub memory_limit: ByteSize,
    /// How the binaries are built.
    pub profile: Profile,
    /// Directory for logs; it is created.
    pub logs: PathBuf,
}

/// The state of a run.
#[derive(Debug, Clone, Copy)]
pub struct ChaosProgress {
    /// Time since the start of the faults.
    pub elapsed: Duration,
    /// Whether all faults are over.
    pub is_draining: bool,
    /// Events sent.
    pub sent: u64,
    /// Events accounted for.
    pub counted: u64,
    /// Faults so far.
    pub faults: u64,
}

/// Gets messages and progress of a run.
pub trait Observer {
    /// One line about something that has just happened.
    fn message(&self, line: &str);
    /// The state of the run, several times a second.
    fn progress(&self, progress: ChaosProgress);
}
