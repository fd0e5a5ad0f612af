//! Ctrl-C and SIGTERM as a flag, so that a long command can stop its processes and still report.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

const EXIT_CODE: i32 = 130;

/// A flag that Ctrl-C or SIGTERM sets. A second signal ends the process at once, and with it everything it started.
///
/// # Errors
/// The system refuses a signal handler.
pub fn on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in this order: the first signal finds the flag unset and sets it, the second exits.
        register_conditional_shutdown(signal, EXIT_CODE, Arc::clone(&interrupted))?;
        register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}
