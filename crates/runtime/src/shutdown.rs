//! A request to stop, for threads and for async tasks.
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A request to stop. Every part of the process can trigger it or wait for it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requested_at: OnceLock<Instant>,
    notify: Notify,
}

impl Shutdown {
    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.inner.requested_at.get().is_some()
    }

    /// Time since a stop was requested; none before.
    pub fn requested_for(&self) -> Option<Duration> {
        self.inner.requested_at.get().map(Instant::elapsed)
    }

    /// Requests a stop. A second request changes nothing.
    pub fn trigger(&self) {
        self.inner.requested_at.get_or_init(Instant::now);
        self.inner.notify.notify_waiters();
    }

    /// Returns once a stop is requested.
    pub async fn wait(&self) {
        let notified = self.inner.notify.notified();
        tokio::pin!(notified);
        // Registers before it reads the flag, so a request in between is received.
        notified.as_mut().enable();
        if !self.requested() {
            notified.await;
        }
    }
}
