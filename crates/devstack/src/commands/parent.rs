//! Ties a process to the one that started it.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::failure::Failure;

/// Has the kernel kill this process when `parent` ends.
///
/// # Errors
/// `parent` has ended already.
pub(super) fn die_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(Pid::as_raw_nonzero).is_some_and(|pid| pid.get() == parent) {
        return Ok(());
    }
    Err(format!("process {parent}, which started this one, has ended").into())
}
