//! Crash-only: a panic in any thread or task ends the process at once, and its supervisor restarts it.
//!
//! A worker that went on without another one would hold its partitions and look healthy. Recovery after `kill -9` is
//! tested at every step of both protocols, so an abort is the safe end. Release builds have `panic = "abort"`; the
//! hook does the same where panics unwind, and logs in both.
use std::{panic::PanicHookInfo, process, thread};

/// From now on a panic logs one line and aborts the process.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(log_and_abort));
}

fn log_and_abort(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("unknown");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(thread, location, panic = message, "panicked, the process aborts");
    process::abort();
}
