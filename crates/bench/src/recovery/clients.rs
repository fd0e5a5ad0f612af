//! Simulated clients that send at a steady rate in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use simulator::{Config, Detail, Simulator, produce};

use crate::Failure;

pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<u64, produce::Error>>,
}

impl Clients {
    pub(super) fn start(brokers: &str, topic: String, rate: u32, seed: u64) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, progress) = (Arc::clone(&stop), Arc::clone(&sent));
        let mut target = produce::Target::new(brokers, topic);
        target.pace = produce::Pace::Steady(f64::from(rate));
        // No delivery fails while Kafka does not answer.
        target.delivery_timeout = Duration::from_hours(1);
        let thread = thread::spawn(move || {
            let detail = Detail { devices: false, minutes: false, dead_letters: false };
            let mut simulator = Simulator::new(Config { seed, detail, ..Config::default() });
            let report = |counts: &simulator::ExpectedCounts| progress.store(counts.sent, Ordering::Relaxed);
            produce::run(&mut simulator, &target, &stopped, report)?;
            Ok(simulator.counts().sent)
        });
        Self { stop, sent, thread }
    }

    /// Events sent so far, at most a fifth of a second old.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether they ended with an error, which [`Clients::end`] returns.
    pub(super) fn have_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops sending; returns the number of events sent, all of them acknowledged.
    pub(super) fn end(self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().map_err(|_| "the simulated clients panicked")?;
        Ok(sent?)
    }
}
