//! The simulated clients: they send at a steady pace from a thread of their own, whatever happens, and now and then
//! repeat themselves more than usual.

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

/// A record that arrives later means something else than the truth says.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(39);

/// How the clients are told what to do.
pub(super) struct Clients {
    /// Share of records that are sent again.
    share: Mutex<f64>,
    /// Set when `share` changes or the end has come.
    interrupt: AtomicBool,
    ended: AtomicBool,
    sent: AtomicU64,
}

impl Clients {
    /// Clients that repeat this share of their records.
    pub(super) fn new(share: f64) -> Self {
        Self {
            share: Mutex::new(share),
            interrupt: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// Sends `rate` events per second until [`Clients::end`], and returns when all have arrived.
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
            simulator.set_duplicates(*self.share.lock().unwrap_or_else(PoisonError::into_inner));
            produce::run(simulator, &target, &self.interrupt, |counts| {
                self.sent.store(counts.sent, Ordering::Relaxed);
            })?;
        }
        Ok(())
    }

    /// From now on this share of records is sent again.
    pub(super) fn repeat(&self, share: f64) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
        self.interrupt.store(true, Ordering::Release);
    }

    /// Sends no more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.interrupt.store(true, Ordering::Release);
    }

    /// Events sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
