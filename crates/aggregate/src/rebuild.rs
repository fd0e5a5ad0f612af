//! Rebuilds a worker of a lane after its clients failed. It takes the path of a restarted process, which every crash test
//! proves, but the process stays: its other lanes go on, and `/status` says what it waits for.
use std::thread;
use std::time::{Duration, Instant};

use runtime::health::{Degraded, Health};
use runtime::shutdown::Shutdown;

use crate::Error;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A worker that ran for this long failed for another reason than the one before.
const RAN_WELL: Duration = Duration::from_secs(60);
/// How often a pause looks for a request to stop, and sends a heartbeat.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `attempt` until it ends without an error, with one that is not transient, or while a stop is requested. Between two
/// attempts it pauses, longer each time.
///
/// # Errors
/// The last error of `attempt`.
pub(crate) fn rebuild(
    component: &str,
    health: &Health,
    shutdown: &Shutdown,
    mut attempt: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let Err(error) = attempt() else { return Ok(()) };
        if !error.is_transient() || shutdown.requested() {
            return Err(error);
        }
        if started.elapsed() > RAN_WELL {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(component, %error, ?pause, "worker failed, it is rebuilt");
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::Transient { url: "http://c".into(), cause: "table live_local: read-only".into() }
    }

    #[test]
    fn a_transient_error_is_followed_by_another_attempt_and_any_other_ends_the_worker() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut answers =
            vec![Err(Error::ClickHouse("run `millrace migrate`".into())), Err(away()), Err(away())];
        let ended = rebuild("live-0", &health, &shutdown, || answers.pop().unwrap());
        assert!(matches!(ended, Err(Error::ClickHouse(_))) && answers.is_empty());
        let status = health.status();
        let cause = status["live-0"]["degraded"]["restarting"]["cause"].to_string();
        assert!(cause.contains("table live_local: read-only"), "{status}");
    }

    #[test]
    fn a_requested_stop_ends_the_attempts() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut attempts = 0;
        let ended = rebuild("live-0", &health, &shutdown, || {
            attempts += 1;
            shutdown.trigger();
            Err(away())
        });
        assert!(ended.is_err() && attempts == 1);
    }
}
