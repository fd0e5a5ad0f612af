//! When the deduplication window of the tables may be small: only while no insert can arrive late.
//!
//! A server that keeps the tokens of three inserts does not recognise the repetition of an older one; the marker rows
//! show it to a process that reads them before it inserts. No process reads them for an insert that was sent long ago:
//! by a process that was frozen while it was sending, or by one that died while the proxy delayed its request. In
//! production the window is far longer than both. Here it is not, so the two faults exclude each other.

use std::time::{Duration, Instant};

/// How long a process that was frozen may take to send what it was about to send.
const LATE_INSERTS: Duration = Duration::from_secs(6);

/// The window of the tables, and the planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DedupeWindow {
    /// As in production.
    Usual,
    /// It shall shrink as soon as no late insert is possible.
    Requested {
        /// How long it shall be small.
        lasting: Duration,
        /// Since when no process is frozen.
        none_frozen_since: Option<Instant>,
    },
    /// The server has got the request to shrink it.
    Shrinking {
        /// How long it shall be small.
        lasting: Duration,
    },
    /// Three inserts.
    Small {
        /// The end of the small window.
        until: Instant,
    },
    /// The server has got the request to restore it.
    Growing,
    /// As usual, but tokens of inserts while it was small are missing.
    Restored {
        /// When no such insert can arrive any more.
        until: Instant,
    },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowChange {
    /// Shrink the window.
    Shrink,
    /// Restore the window.
    Restore,
    /// Late inserts are allowed again.
    AllowOldInserts,
}

impl DedupeWindow {
    /// Whether a fault may delay inserts for long.
    pub(super) fn allows_old_inserts(self) -> bool {
        self == Self::Usual
    }

    /// Plans a small window, unless one is planned already.
    pub(super) fn request(&mut self, lasting: Duration) {
        if *self == Self::Usual {
            *self = Self::Requested { lasting, none_frozen_since: None };
        }
    }

    /// The change that is due. `has_zombies` is whether a process that inserts is frozen.
    pub(super) fn next_change(&mut self, now: Instant, has_zombies: bool) -> Option<WindowChange> {
        match *self {
            Self::Requested { lasting, .. } if has_zombies => {
                *self = Self::Requested { lasting, none_frozen_since: None };
                None
            }
            Self::Requested { lasting, none_frozen_since } => {
                let since = none_frozen_since.unwrap_or(now);
                *self = Self::Requested { lasting, none_frozen_since: Some(since) };
                if now.duration_since(since) < LATE_INSERTS {
                    return None;
                }
                *self = Self::Shrinking { lasting };
                Some(WindowChange::Shrink)
            }
            Self::Small { until } if until <= now => {
                *self = Self::Growing;
                Some(WindowChange::Restore)
            }
            Self::Restored { until } if until <= now => {
                *self = Self::Usual;
                Some(WindowChange::AllowOldInserts)
            }
            _ => None,
        }
    }

    /// The server has shrunk it.
    pub(super) fn shrunk(&mut self, now: Instant) {
        if let Self::Shrinking { lasting } = *self {
            *self = Self::Small { until: now + lasting };
        }
    }

    /// The server has restored it.
    pub(super) fn restored(&mut self, now: Instant) {
        *self = Self::Restored { until: now + LATE_INSERTS };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_small_only_while_no_insert_can_arrive_late() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut window = DedupeWindow::Usual;
        window.request(Duration::from_secs(20));
        assert_eq!(window.next_change(at(0), true), None);
        assert_eq!(window.next_change(at(1), false), None);
        assert_eq!(window.next_change(at(5), true), None, "another process was frozen");
        assert_eq!(window.next_change(at(6), false), None);
        assert_eq!(window.next_change(at(12), false), Some(WindowChange::Shrink));
        assert!(!window.allows_old_inserts());
        window.shrunk(at(13));
        assert_eq!(window.next_change(at(32), false), None);
        assert_eq!(window.next_change(at(33), false), Some(WindowChange::Restore));
        window.restored(at(34));
        assert!(!window.allows_old_inserts());
        assert_eq!(window.next_change(at(40), false), Some(WindowChange::AllowOldInserts));
        assert!(window.allows_old_inserts());
    }
}
