//! The faults that a run injects: what each is called and what exactly happens.

use std::time::Duration;

use crate::proxy::RequestFault;

/// A kind of fault, as `--faults` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// kill -9 of a process.
    Kill,
    /// SIGTERM of a process.
    Term,
    /// SIGSTOP, and SIGCONT when another process may own its partitions.
    Freeze,
    /// Processes that join a group and leave it.
    Members,
    /// kill -9 of Kafka.
    Kafka,
    /// kill -9 of ClickHouse.
    ClickHouse,
    /// An insert is executed, its reply is lost.
    LostReply,
    /// The connection breaks in the middle of an insert.
    Reset,
    /// An insert is delayed.
    Delay,
    /// A load balancer before ClickHouse returns 500 or 503, before or after the insert is executed.
    HttpErrors,
    /// ClickHouse returns "too many parts" for several inserts.
    TooManyParts,
    /// ClickHouse keeps the deduplication tokens of three inserts only.
    Window,
    /// Clients send ten times as many duplicates as usual.
    Duplicates,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Term,
        Self::Freeze,
        Self::Members,
        Self::Kafka,
        Self::ClickHouse,
        Self::LostReply,
        Self::Reset,
        Self::Delay,
        Self::HttpErrors,
        Self::TooManyParts,
        Self::Window,
        Self::Duplicates,
    ];

    /// The name on the command line and in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Freeze => "freeze",
            Self::Members => "members",
            Self::Kafka => "kafka",
            Self::ClickHouse => "clickhouse",
            Self::LostReply => "lost_reply",
            Self::Reset => "reset",
            Self::Delay => "delay",
            Self::HttpErrors => "http_errors",
            Self::TooManyParts => "too_many_parts",
            Self::Window => "window",
            Self::Duplicates => "duplicates",
        }
    }

    /// Faults in ten minutes. Those that cost little are frequent; after a costly one the pipeline needs time to
    /// catch up.
    pub(super) const fn in_ten_minutes(self) -> f64 {
        match self {
            Self::Kill => 220.0,
            Self::Term => 50.0,
            Self::Freeze => 28.0,
            Self::Members => 15.0,
            Self::Kafka => 6.0,
            Self::ClickHouse => 8.0,
            Self::LostReply => 60.0,
            Self::Reset => 30.0,
            Self::Delay => 30.0,
            Self::HttpErrors => 24.0,
            Self::TooManyParts => 8.0,
            Self::Window => 4.0,
            Self::Duplicates => 6.0,
        }
    }
}

impl std::str::FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no fault `{name}`; the faults are {}", known.join(", "))
        })
    }
}

/// The process a fault is for: `member` modulo the number of the stage's running processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Index into [`devstack::pipeline::STAGES`].
    pub stage: usize,
    /// Any number.
    pub member: usize,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultAction {
    /// kill -9; the process is started again after `away`.
    Kill {
        /// The process.
        victim: Victim,
        /// How long.
        away: Duration,
    },
    /// SIGTERM; the process is started again `away` after its end.
    Term {
        /// The process.
        victim: Victim,
        /// How long.
        away: Duration,
    },
    /// SIGSTOP and later SIGCONT.
    Freeze {
        /// The process.
        victim: Victim,
        /// How long.
        frozen: Duration,
        /// Delay until another process with the same instance name starts, if one does.
        replaced_after: Option<Duration>,
    },
    /// One more process joins the stage and leaves it again.
    Join {
        /// Index into [`devstack::pipeline::STAGES`].
        stage: usize,
        /// How long.
        stay: Duration,
    },
    /// kill -9 of Kafka.
    KillKafka {
        /// How long until it is started again.
        away: Duration,
    },
    /// kill -9 of ClickHouse.
    KillClickHouse {
        /// How long until it is started again.
        away: Duration,
    },
    /// The next inserts have this fault.
    Request {
        /// The fault.
        fault: RequestFault,
        /// How many inserts.
        requests: usize,
    },
    /// All tables keep the deduplication tokens of three inserts only.
    ShrinkWindow {
        /// How long.
        lasting: Duration,
    },
    /// Clients send this share of their records twice.
    Repeat {
        /// Between 0 and 1.
        share: f64,
        /// How long.
        lasting: Duration,
    },
}

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// Time since the start of the run.
    pub at: Duration,
    /// The kind it counts for.
    pub kind: FaultKind,
    /// What happens.
    pub action: FaultAction,
}

impl From<RequestFault> for FaultKind {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::LostReply => Self::LostReply,
            RequestFault::Reset => Self::Reset,
            RequestFault::Delay(_) | RequestFault::Held => Self::Delay,
            RequestFault::HttpError { .. } => Self::HttpErrors,
            RequestFault::TooManyParts => Self::TooManyParts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_parsed_from_its_name() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("kil".parse::<FaultKind>().unwrap_err().contains("kill, term"));
    }
}
