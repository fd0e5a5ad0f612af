//! When ClickHouse may forget: never while an insert can be on its way for long.
//!
//! A server that remembers three inserts cannot tell that a fourth one is the repetition of the first; the marker
//! rows tell whoever asks before inserting. Nobody asks for an insert that left its process long ago: of one that was
//! frozen in the middle of sending, or of one that died while the proxy held its request. In production the window
//! outlasts both by far. Here it does not, so the two faults exclude each other.

use std::time::{Duration, Instant};

/// How long a woken process may take to send what it was about to send.
const AFTERMATH: Duration = Duration::from_secs(6);

/// What the tables remember, and what is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// Everything that matters.
    Usual,
    /// It shall shrink as soon as no insert can be on its way; none can be since then.
    Wanted {
        /// For how long it shall be small.
        lasting: Duration,
        /// Since when no process is frozen.
        calm_since: Option<Instant>,
    },
    /// The server has been asked.
    Shrinking {
        /// For how long it shall be small.
        lasting: Duration,
    },
    /// Three inserts.
    Small {
        /// Until then.
        until: Instant,
    },
    /// The server has been asked to remember again.
    Growing,
    /// It remembers again, but not yet what was sent while it did not.
    Remembering {
        /// Until then.
        until: Instant,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the server to forget.
    Shrink,
    /// Ask it to remember.
    Restore,
    /// Inserts may be on their way for long again.
    Release,
}

impl Window {
    /// Whether inserts may be on their way for long.
    pub(super) fn allows_zombies(self) -> bool {
        self == Self::Usual
    }

    /// What is due. `has_zombies` tells whether a process that inserts is frozen.
    pub(super) fn step(&mut self, now: Instant, has_zombies: bool) -> Option<Step> {
        match *self {
            Self::Wanted { lasting, .. } if has_zombies => {
                *self = Self::Wanted { lasting, calm_since: None };
                None
            }
            Self::Wanted { lasting, calm_since } => {
                let since = calm_since.unwrap_or(now);
                *self = Self::Wanted { lasting, calm_since: Some(since) };
                if now.duration_since(since) < AFTERMATH {
                    return None;
                }
                *self = Self::Shrinking { lasting };
                Some(Step::Shrink)
            }
            Self::Small { until } if until <= now => {
                *self = Self::Growing;
                Some(Step::Restore)
            }
            Self::Remembering { until } if until <= now => {
                *self = Self::Usual;
                Some(Step::Release)
            }
            _ => None,
        }
    }

    /// The server remembers three inserts from now on.
    pub(super) fn shrunk(&mut self, now: Instant) {
        if let Self::Shrinking { lasting } = *self {
            *self = Self::Small { until: now + lasting };
        }
    }

    /// The server remembers again.
    pub(super) fn restored(&mut self, now: Instant) {
        *self = Self::Remembering { until: now + AFTERMATH };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_forgets_only_while_no_insert_can_be_on_its_way() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut window = Window::Wanted { lasting: Duration::from_secs(20), calm_since: None };
        assert_eq!(window.step(at(0), true), None);
        assert_eq!(window.step(at(1), false), None);
        assert_eq!(window.step(at(5), true), None, "somebody was frozen again");
        assert_eq!(window.step(at(6), false), None);
        assert_eq!(window.step(at(12), false), Some(Step::Shrink));
        assert!(!window.allows_zombies());
        window.shrunk(at(13));
        assert_eq!(window.step(at(32), false), None);
        assert_eq!(window.step(at(33), false), Some(Step::Restore));
        window.restored(at(34));
        assert!(!window.allows_zombies());
        assert_eq!(window.step(at(40), false), Some(Step::Release));
        assert!(window.allows_zombies());
    }
}
