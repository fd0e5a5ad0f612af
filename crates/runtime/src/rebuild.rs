//! Rebuilds a worker after its clients failed. It takes the path of a restarted process, which every crash test proves, but
//! the process stays: its other workers go on, and it says in `/status` what it waits for.
use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use crate::{
    health::{Degraded, Health},
    shutdown::Shutdown,
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A worker that ran for this long failed for another reason than the one before.
const RAN_WELL: Duration = Duration::from_secs(60);
/// How often a pause looks for a request to stop, and sends a heartbeat.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `attempt` until it ends without an error, with one that is not transient, or while a stop is requested. Between two
/// attempts it pauses, longer each time. `attempt` is given the error of the one before.
///
/// # Errors
/// The last error of `attempt`.
pub fn rebuild<E: Display>(
    component: &str,
    health: &Health,
    shutdown: &Shutdown,
    is_transient: impl Fn(&E) -> bool,
    mut attempt: impl FnMut(Option<&E>) -> Result<(), E>,
) -> Result<(), E> {
    let mut before = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let Err(error) = attempt(before.as_ref()) else { return Ok(()) };
        if !is_transient(&error) || shutdown.requested() {
            return Err(error);
        }
        if started.elapsed() > RAN_WELL {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(component, %error, ?pause, "worker failed, it is rebuilt");
        metrics::counter!("millrace_workers_rebuilt_total").increment(1);
        health.set_ready(component, false);
        health.set_degraded(component, Degraded::Restarting, Some(error.to_string()));
        let until = Instant::now() + pause;
        while Instant::now() < until && !shutdown.requested() {
            thread::sleep(LOOK);
            health.heartbeat(component);
        }
        if shutdown.requested() {
            return Err(error);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        before = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_error_is_followed_by_another_attempt_that_knows_it() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut seen = Vec::new();
        let ended = rebuild(
            "w",
            &health,
            &shutdown,
            |e: &&str| *e == "away",
            |before| {
                seen.push(before.copied());
                match seen.len() {
                    1 => Err("away"),
                    2 => Err("fatal"),
                    _ => Ok(()),
                }
            },
        );
        assert_eq!(ended, Err("fatal"));
        assert_eq!(seen, [None, Some("away")]);
        assert!(health.status()["w"]["degraded"]["restarting"]["cause"] == "away");
    }

    #[test]
    fn a_requested_stop_ends_the_attempts() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut attempts = 0;
        let ended = rebuild(
            "w",
            &health,
            &shutdown,
            |_: &&str| true,
            |_| {
                attempts += 1;
                shutdown.trigger();
                Err("away")
            },
        );
        assert_eq!((ended, attempts), (Err("away"), 1));
    }
}
