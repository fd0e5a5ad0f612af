//! One request to stop, seen by threads and by tasks.
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A request to stop that any part of the process may make or watch.
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
    /// Whether the process should stop.
    pub fn requested(&self) -> bool {
        self.inner.requested_at.get().is_some()
    }

    /// How long ago the process was asked to stop; nothing while it should run.
    pub fn requested_for(&self) -> Option<Duration> {
        self.inner.requested_at.get().map(Instant::elapsed)
    }

    /// Asks the process to stop; asking again changes nothing.
    pub fn trigger(&self) {
        self.inner.requested_at.get_or_init(Instant::now);
        self.inner.notify.notify_waiters();
    }

    /// Returns once the process should stop.
    pub async fn wait(&self) {
        let notified = self.inner.notify.notified();
        tokio::pin!(notified);
        // Registered before the flag is read, so a request in between is not missed.
        notified.as_mut().enable();
        if !self.requested() {
            notified.await;
        }
    }
}
