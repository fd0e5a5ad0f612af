//! Drills: ways to break the pipeline on purpose, so that tests can prove what keeps it exact.
//!
//! A **failpoint** ends the process at a named step of a protocol, as kill -9 would. A **safeguard** switched off
//! shows that some test notices. Both are read from the environment, and both exist in debug builds only: a release
//! build has neither the names nor the branches.
//!
//! - `MILLRACE_FAILPOINT=before:commit_transaction@3` ends the process before its third commit;
//! - `MILLRACE_SAFEGUARD_OFF=token` sends inserts without a deduplication token.

/// Declares an enum whose variants have stable snake_case names.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name used in the environment and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

named! {
    /// A step of one of the two protocols.
    Step {
        /// Kafka → Kafka: a transaction is begun.
        BeginTransaction = "begin_transaction",
        /// Kafka → Kafka: the stage decides and sends.
        Process = "process",
        /// Kafka → Kafka: the offsets join the transaction.
        SendOffsets = "send_offsets",
        /// Kafka → Kafka: the transaction commits.
        CommitTransaction = "commit_transaction",
        /// Kafka → Kafka: state in memory follows the commit.
        ApplyState = "apply_state",
        /// Kafka → Kafka: state is read back after an assignment.
        RestoreState = "restore_state",
        /// Kafka → ClickHouse: the intent is committed.
        Intent = "intent",
        /// Kafka → ClickHouse: a block is inserted.
        Insert = "insert",
        /// Kafka → ClickHouse: the markers are read.
        ReadMarkers = "read_markers",
        /// Kafka → ClickHouse: the offset behind the flush is committed.
        Done = "done",
    }
}

named! {
    /// Something that keeps totals exact.
    Safeguard {
        /// Inserts carry a deduplication token.
        Token = "token",
        /// Marker rows tell what landed.
        Marker = "marker",
        /// The bounds of a flush are committed before its insert.
        Intent = "intent",
        /// Enrich's state is written to its changelog.
        Changelog = "changelog",
        /// An earlier holder of a transactional ID and group membership is shut out.
        Fencing = "fencing",
        /// A restore waits until the transactions of the partition's earlier owner are decided.
        StableOffset = "stable_offset",
    }
}

#[cfg(debug_assertions)]
mod armed {
    use super::{Safeguard, Step};
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Armed {
        place: &'static str,
        step: Step,
        hit: u64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = std::env::var("MILLRACE_FAILPOINT").ok()?;
            let (place, rest) = text.split_once(':')?;
            let (name, hit) = rest.split_once('@').unwrap_or((rest, "1"));
            let place = ["before", "after"].into_iter().find(|known| *known == place)?;
            let step = *Step::ALL.iter().find(|step| step.name() == name)?;
            Some(Armed { place, step, hit: hit.parse().ok()? })
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn reached(place: &'static str, step: Step) {
        static HITS: AtomicU64 = AtomicU64::new(0);
        let Some(armed) = armed() else { return };
        if armed.place == place && armed.step == step && HITS.fetch_add(1, Ordering::Relaxed) + 1 == armed.hit
        {
            tracing::error!(place, step = step.name(), "failpoint reached, ending as kill -9 would");
            std::process::abort();
        }
    }

    pub(super) fn is_off(safeguard: Safeguard) -> bool {
        static OFF: OnceLock<String> = OnceLock::new();
        let off = OFF.get_or_init(|| std::env::var("MILLRACE_SAFEGUARD_OFF").unwrap_or_default());
        off.split(',').any(|name| name == safeguard.name())
    }
}

/// Call right before a step.
#[inline]
pub fn before(step: Step) {
    #[cfg(debug_assertions)]
    armed::reached("before", step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// Call right after a step that succeeded.
#[inline]
pub fn after(step: Step) {
    #[cfg(debug_assertions)]
    armed::reached("after", step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// Whether a safeguard is switched off; never in a release build.
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
