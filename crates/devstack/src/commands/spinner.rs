//! Says what is going on while a command works: a spinner on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use devstack::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// What the stack is doing right now: a spinner on a terminal, lines elsewhere.
pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(super) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    pub(super) fn progress(&self) -> Progress {
        let bar = self.0.clone();
        Progress::new(move |step| match &bar {
            Some(bar) => bar.set_message(step.to_owned()),
            None => {
                // Progress is a courtesy: nothing depends on it arriving.
                let _ = writeln!(std::io::stderr(), "{step}");
            }
        })
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }

    /// Says one step.
    pub(super) fn say(&self, step: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(step.to_owned()),
            None => {
                let _ = writeln!(std::io::stderr(), "{step}");
            }
        }
    }
}
