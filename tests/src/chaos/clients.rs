//! The simulated clients. They send at a steady rate from their own thread, whatever happens; faults change the share of
//! duplicates.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use simulator::{
    Simulator,
    produce::{self, Pace, Target},
};

use crate::Error;

/// The simulator's truth holds only for records that are delivered within this time.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(39);

/// Controls the clients.
pub(super) struct Clients {
    /// Share of records that are sent twice.
    share: Mutex<f64>,
    /// Set when `share` changes and at the end.
    interrupt: AtomicBool,
    ended: AtomicBool,
    sent: AtomicU64,
}

impl Clients {
    /// Clients that send this share of their records twice.
    pub(super) fn new(share: f64) -> Self {
        Self {
            share: Mutex::new(share),
            interrupt: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// Sends `rate` events per second until [`Clients::end`]; returns when all are delivered.
    pub(super) fn run(
        &self,
        simulator: &mut Simulator,
        brokers: &str,
        topic: &str,
        rate: f64,
    ) -> Result<(), Error> {
        let mut target = Target::new(brokers, topic);
        target.pace = Pace::Steady(rate);
        target.delivery_timeout = DELIVERY_TIMEOUT;
        while !self.ended.load(Ordering::Acquire) {
            self.interrupt.store(false, Ordering::Release);
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            simulator.set_duplicates(self.share());
            produce::run(simulator, &target, &self.interrupt, |counts| {
                self.sent.store(counts.sent, Ordering::Relaxed);
            })?;
        }
        Ok(())
    }

    /// The share of records that are sent twice.
    pub(super) fn share(&self) -> f64 {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the share of records that are sent twice.
    pub(super) fn send_duplicates(&self, share: f64) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
        self.interrupt.store(true, Ordering::Release);
    }

    /// Stops sending.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.interrupt.store(true, Ordering::Release);
    }

    /// Whether [`Clients::end`] was called.
    pub(super) fn have_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Events sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
