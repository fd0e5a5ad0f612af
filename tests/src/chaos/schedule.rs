//! What will go wrong and when: a pure function of the seed, so that a run can be repeated.
//!
//! Each kind of fault has its rate. The run is cut into as many equal parts as the kind has faults, with one at a
//! random moment of each part: the number is certain, the moment is not.

use std::{fmt, ops::RangeInclusive, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A kind of fault, as `--faults` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// kill -9 of a process.
    Kill,
    /// SIGTERM of a process.
    Term,
    /// SIGSTOP, and SIGCONT when others may have taken over.
    Freeze,
    /// Processes that join and leave.
    Members,
    /// kill -9 of Kafka.
    Kafka,
    /// kill -9 of ClickHouse.
    ClickHouse,
    /// An insert is executed, its answer is lost.
    LostReply,
    /// The connection breaks in the middle of an insert.
    Reset,
    /// An insert takes long.
    Delay,
    /// Something between us and ClickHouse answers 500 or 503, before or after the insert.
    HttpErrors,
    /// ClickHouse refuses inserts for a while.
    TooManyParts,
    /// ClickHouse remembers three inserts only.
    Window,
    /// Clients repeat ten times as much as usual.
    Duplicates,
}

impl Kind {
    /// All of them.
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

    /// Faults in ten minutes. Cheap ones are frequent; after a dear one the pipeline must be able to catch up.
    const fn in_ten_minutes(self) -> f64 {
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

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no fault `{name}`; known are {}", known.join(", "))
        })
    }
}

/// Which process is meant: `member` counts the processes of the stage that run at that moment, round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Index into [`devstack::pipeline::STAGES`].
    pub stage: usize,
    /// Any number.
    pub member: usize,
}

/// What happens to requests that pass the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The whole answer has come from the server, the client gets none of it.
    LostReply,
    /// Half of the body reaches the server, then both connections are reset.
    Reset,
    /// The request waits before it is passed on.
    Delay(Duration),
    /// The client gets this status; `executed` tells whether the server had been asked before.
    HttpError {
        /// 500 or 503.
        status: u16,
        /// After the server has answered OK, as a balancer that lost patience does.
        executed: bool,
    },
    /// The client gets ClickHouse's own words for it.
    TooManyParts,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// kill -9; the process is started again after `away`.
    Kill {
        /// Who.
        victim: Victim,
        /// For how long.
        away: Duration,
    },
    /// SIGTERM; the process is started again `away` after its end.
    Term {
        /// Who.
        victim: Victim,
        /// For how long.
        away: Duration,
    },
    /// SIGSTOP and later SIGCONT.
    Freeze {
        /// Who.
        victim: Victim,
        /// For how long.
        frozen: Duration,
        /// After how long another process with the same instance name is started, if one is.
        replaced_after: Option<Duration>,
    },
    /// One process more, for a while.
    Join {
        /// Index into [`devstack::pipeline::STAGES`].
        stage: usize,
        /// For how long.
        stay: Duration,
    },
    /// kill -9 of Kafka.
    KillKafka {
        /// Until it is started again.
        away: Duration,
    },
    /// kill -9 of ClickHouse.
    KillClickHouse {
        /// Until it is started again.
        away: Duration,
    },
    /// The next inserts that pass the proxy meet this.
    Trouble {
        /// What.
        trouble: Trouble,
        /// How many of them.
        requests: usize,
    },
    /// All tables remember three inserts only.
    ShrinkWindow {
        /// For how long.
        lasting: Duration,
    },
    /// Clients repeat this share of their records.
    Repeat {
        /// Between 0 and 1.
        share: f64,
        /// For how long.
        lasting: Duration,
    },
}

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// When, since the begin of the run.
    pub at: Duration,
    /// Its kind.
    pub kind: Kind,
    /// What exactly.
    pub action: Action,
}

/// The faults of a run of `length`, in the order of time; processes of these stages (indexes into [`devstack::pipeline::STAGES`]) are
/// their victims. The same arguments give the same faults.
pub fn schedule(seed: u64, length: Duration, kinds: &[Kind], stages: &[usize]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in Kind::ALL {
        if !kinds.contains(&kind) {
            continue;
        }
        // Dice of its own for each kind: leaving one out does not move the others.
        let rng = StdRng::seed_from_u64(seed ^ (kind as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut dice = Dice { rng, stages };
        let count = (kind.in_ten_minutes() * length.as_secs_f64() / 600.0).round().max(1.0);
        let part = length.div_f64(count);
        for number in 0..count as u32 {
            let at = part * number + part.mul_f64(dice.rng.random());
            let action = action(kind, number, &mut dice, length);
            faults.push(Fault { at, kind, action });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn action(kind: Kind, number: u32, dice: &mut Dice<'_>, length: Duration) -> Action {
    match kind {
        Kind::Kill => Action::Kill { victim: dice.victim(), away: dice.away() },
        Kind::Term => Action::Term { victim: dice.victim(), away: dice.away() },
        Kind::Freeze => {
            // As many short ones as long ones, but in a short run all end within it.
            let longest = (length.as_secs_f64() / 4.0).clamp(6.0, 90.0);
            let frozen = Duration::from_secs_f64(5.0 * (longest / 5.0).powf(dice.rng.random()));
            let replaced_after = dice.rng.random_bool(0.6).then(|| dice.seconds(0.0, 3.0));
            Action::Freeze { victim: dice.victim(), frozen, replaced_after }
        }
        Kind::Members if number.is_multiple_of(2) => {
            Action::Join { stage: dice.stage(), stay: dice.seconds(8.0, 35.0) }
        }
        // Longer than the session lasts: its partitions go to others.
        Kind::Members => Action::Term { victim: dice.victim(), away: dice.seconds(5.0, 20.0) },
        Kind::Kafka => Action::KillKafka { away: dice.seconds(0.0, 4.0) },
        Kind::ClickHouse => Action::KillClickHouse { away: dice.seconds(0.0, 8.0) },
        Kind::LostReply => dice.trouble(Trouble::LostReply, 1..=3),
        Kind::Reset => dice.trouble(Trouble::Reset, 1..=3),
        Kind::Delay => {
            let delay = Trouble::Delay(dice.seconds(0.2, 5.0));
            dice.trouble(delay, 1..=4)
        }
        Kind::HttpErrors => {
            let status = if dice.rng.random_bool(0.5) { 500 } else { 503 };
            let error = Trouble::HttpError { status, executed: dice.rng.random_bool(0.5) };
            dice.trouble(error, 1..=4)
        }
        Kind::TooManyParts => dice.trouble(Trouble::TooManyParts, 3..=8),
        Kind::Window => Action::ShrinkWindow { lasting: length.div_f64(12.0).min(dice.seconds(15.0, 40.0)) },
        Kind::Duplicates => {
            Action::Repeat { share: 0.2, lasting: length.div_f64(8.0).min(dice.seconds(10.0, 40.0)) }
        }
    }
}

/// Chance, and whom it may meet.
struct Dice<'a> {
    rng: StdRng,
    stages: &'a [usize],
}

impl Dice<'_> {
    fn stage(&mut self) -> usize {
        let at = self.rng.random_range(0..self.stages.len().max(1));
        self.stages.get(at).copied().unwrap_or_default()
    }

    fn victim(&mut self) -> Victim {
        Victim { stage: self.stage(), member: self.rng.random_range(0..6) }
    }

    /// Mostly at once, as a supervisor that sees an exit; sometimes later.
    fn away(&mut self) -> Duration {
        if self.rng.random_bool(0.7) { Duration::ZERO } else { self.seconds(0.5, 6.0) }
    }

    fn trouble(&mut self, trouble: Trouble, requests: RangeInclusive<usize>) -> Action {
        Action::Trouble { trouble, requests: self.rng.random_range(requests) }
    }

    fn seconds(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_millis((self.rng.random_range(least..=most) * 1000.0) as u64)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostReply => write!(out, "reply lost"),
            Self::Reset => write!(out, "reset in the middle of the body"),
            Self::Delay(delay) => write!(out, "delayed by {:.1} s", delay.as_secs_f64()),
            Self::HttpError { status, executed: false } => write!(out, "HTTP {status}"),
            Self::HttpError { status, executed: true } => write!(out, "HTTP {status} after it was executed"),
            Self::TooManyParts => write!(out, "too many parts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);
    const ALL_STAGES: [usize; 3] = [0, 1, 2];

    fn count(faults: &[Fault], kind: Kind) -> usize {
        faults.iter().filter(|fault| fault.kind == kind).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_seed_gives_others() {
        let first = schedule(7, TEN_MINUTES, &Kind::ALL, &ALL_STAGES);
        assert_eq!(first, schedule(7, TEN_MINUTES, &Kind::ALL, &ALL_STAGES));
        assert_ne!(first, schedule(8, TEN_MINUTES, &Kind::ALL, &ALL_STAGES));
    }

    #[test]
    fn leaving_a_kind_out_does_not_change_the_others() {
        let all = schedule(7, TEN_MINUTES, &Kind::ALL, &ALL_STAGES);
        let only_kills: Vec<Fault> = all.into_iter().filter(|fault| fault.kind == Kind::Kill).collect();
        assert_eq!(only_kills, schedule(7, TEN_MINUTES, &[Kind::Kill], &ALL_STAGES));
    }

    #[test]
    fn ten_minutes_hold_as_many_faults_as_the_proof_asks_for() {
        for seed in 0..20 {
            let faults = schedule(seed, TEN_MINUTES, &Kind::ALL, &ALL_STAGES);
            assert!(faults.is_sorted_by_key(|fault| fault.at));
            assert!(faults.iter().all(|fault| fault.at < TEN_MINUTES));
            assert!(count(&faults, Kind::Kill) >= 200);
            assert!(count(&faults, Kind::Kafka) + count(&faults, Kind::ClickHouse) >= 10);
            let zombie = |fault: &&Fault| match fault.action {
                Action::Freeze { frozen, .. } => {
                    (Duration::from_secs(5)..=Duration::from_secs(90)).contains(&frozen)
                }
                _ => false,
            };
            assert!(faults.iter().filter(zombie).count() >= 20);
            let lost = faults.iter().map(|fault| match fault.action {
                Action::Trouble { trouble: Trouble::LostReply, requests } => requests,
                _ => 0,
            });
            assert!(lost.sum::<usize>() >= 60);
        }
    }

    #[test]
    fn every_kind_has_a_name_that_is_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("kil".parse::<Kind>().unwrap_err().contains("kill, term"));
    }
}
