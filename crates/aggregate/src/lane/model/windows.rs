//! What a schedule did: its outcome, and which dangerous windows it entered.

/// How a schedule ended.
pub(super) struct Outcome {
    /// What went wrong.
    pub(super) result: Result<(), String>,
    /// Which dangerous windows it entered.
    pub(super) windows: Windows,
    /// A hash of everything that happened.
    pub(super) trace_hash: u64,
}

macro_rules! windows {
    ($($name:ident),* $(,)?) => {
        /// How often schedules entered each dangerous window.
        #[derive(Debug, Default, Clone, Copy)]
        pub(super) struct Windows { $(pub(super) $name: u64),* }

        impl Windows {
            pub(super) fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            pub(super) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

windows! {
    killed_between_intent_and_insert,
    killed_with_insert_sent,
    killed_in_mid_replay,
    killed_with_end_not_committed,
    permanent_error_in_mid_replay,
    permanent_error_on_insert,
    replayed_before_newest_marker_was_known,
    insert_reply_lost,
    insert_partly_executed,
    token_stored_without_rows,
    delayed_insert_executed_after_takeover,
    insert_expired,
    commit_reply_lost,
    commit_of_earlier_generation,
    woken_after_takeover,
    revoked_with_insert_sent,
    revoked_with_commit_sent,
    reply_of_earlier_assignment,
    buffer_full,
    short_of_memory,
    replay_paused,
}
