//! Failpoints and safeguards: they break the pipeline on purpose, so that tests show what keeps its numbers exact.
//!
//! A **failpoint** ends the process at a named step of a protocol, as `kill -9` would, freezes it or makes the thread panic
//! there. A **safeguard** that is switched off shows that a test notices its absence. Both are read from the environment,
//! and both exist only in builds with debug assertions: a release build has neither the variables nor the branches.
//!
//! - `MILLRACE_FAILPOINT=before:commit_transaction@3` ends the process before its third commit;
//! - `MILLRACE_FAILPOINT=freeze:commit_transaction` stops the process (SIGSTOP) before its first commit;
//! - `MILLRACE_FAILPOINT=panic:insert` makes the thread or task panic before its first insert;
//! - `MILLRACE_SAFEGUARD_OFF=token` sends inserts without a deduplication token.

/// Declares an enum whose variants have fixed snake_case names.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All variants.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the environment and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

named! {
    /// A step of one of the two protocols.
    Step {
        /// Kafka to Kafka: a transaction begins.
        BeginTransaction = "begin_transaction",
        /// Kafka to Kafka: the stage processes a batch and sends the results.
        Process = "process",
        /// Kafka to Kafka: the offsets are added to the transaction.
        SendOffsets = "send_offsets",
        /// Kafka to Kafka: the transaction commits.
        CommitTransaction = "commit_transaction",
        /// Kafka to Kafka: the state in memory follows the commit.
        ApplyState = "apply_state",
        /// Kafka to Kafka: the state is restored after an assignment.
        RestoreState = "restore_state",
        /// Kafka to ClickHouse: the intent is committed.
        Intent = "intent",
        /// Kafka to ClickHouse: offsets are committed, with intents or without, on a thread of their own.
        CommitOffsets = "commit_offsets",
        /// Kafka to ClickHouse: a block is inserted.
        Insert = "insert",
        /// Kafka to ClickHouse: the markers are read.
        ReadMarkers = "read_markers",
        /// Kafka to ClickHouse: the offset after the flush is committed.
        Done = "done",
    }
}

named! {
    /// Something that keeps totals exact.
    Safeguard {
        /// Inserts carry a deduplication token.
        Token = "token",
        /// Marker rows show which blocks are in the table.
        Marker = "marker",
        /// The bounds of a flush are committed before its insert.
        Intent = "intent",
        /// Enrich's state is written to its changelog.
        Changelog = "changelog",
        /// An earlier process with the same transactional ID and group instance ID is fenced off.
        Fencing = "fencing",
        /// A restore waits until the transactions of the partition's earlier owner have ended.
        StableOffset = "stable_offset",
    }
}

#[cfg(debug_assertions)]
mod armed {
    use super::{Safeguard, Step};
    use std::{
        process::Command,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum Place {
        Before,
        After,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum End {
        /// The process ends at once.
        Abort,
        /// The process stops until it gets a SIGCONT.
        Freeze,
        /// The thread panics.
        Panic,
    }

    struct Failpoint {
        place: Place,
        end: End,
        step: Step,
        hit: u64,
    }

    fn parse(text: &str) -> Option<Failpoint> {
        let (action, rest) = text.split_once(':')?;
        let (name, hit) = rest.split_once('@').unwrap_or((rest, "1"));
        let (place, end) = match action {
            "before" => (Place::Before, End::Abort),
            "after" => (Place::After, End::Abort),
            "freeze" => (Place::Before, End::Freeze),
            "panic" => (Place::Before, End::Panic),
            _ => return None,
        };
        let step = *Step::ALL.iter().find(|step| step.name() == name)?;
        Some(Failpoint { place, end, step, hit: hit.parse().ok()? })
    }

    #[expect(clippy::panic, reason = "a failpoint of action `panic` exists to panic")]
    pub(super) fn reached(place: Place, step: Step) {
        static ARMED: OnceLock<Option<Failpoint>> = OnceLock::new();
        static HITS: AtomicU64 = AtomicU64::new(0);
        let read = || parse(&std::env::var("MILLRACE_FAILPOINT").ok()?);
        let Some(armed) = ARMED.get_or_init(read) else { return };
        if armed.place != place || armed.step != step || HITS.fetch_add(1, Ordering::Relaxed) + 1 != armed.hit
        {
            return;
        }
        match armed.end {
            End::Abort => {
                tracing::error!(step = step.name(), "failpoint reached, ending as kill -9 would");
                std::process::abort();
            }
            End::Freeze => {
                tracing::error!(step = step.name(), "failpoint reached, freezing");
                let stopped = Command::new("sh").args(["-c", "kill -STOP $PPID"]).status();
                tracing::info!(?stopped, "resumed");
            }
            End::Panic => panic!("failpoint reached at step {}", step.name()),
        }
    }

    pub(super) fn is_off(safeguard: Safeguard) -> bool {
        static OFF: OnceLock<String> = OnceLock::new();
        let off = OFF.get_or_init(|| std::env::var("MILLRACE_SAFEGUARD_OFF").unwrap_or_default());
        off.split(',').any(|name| name == safeguard.name())
    }
}

/// To be called right before a step.
#[inline]
pub fn before(step: Step) {
    #[cfg(debug_assertions)]
    armed::reached(armed::Place::Before, step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// To be called right after a step that succeeded.
#[inline]
pub fn after(step: Step) {
    #[cfg(debug_assertions)]
    armed::reached(armed::Place::After, step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// Whether a safeguard is switched off. Always false in a release build.
#[inline]
pub fn is_off(safeguard: Safeguard) -> bool {
    #[cfg(debug_assertions)]
    return armed::is_off(safeguard);
    #[cfg(not(debug_assertions))]
    {
        let _ = safeguard;
        false
    }
}
