//! What a command does now, as one line. On a terminal the line is rewritten in place; elsewhere a new step is a new
//! line on stderr, and a step that takes long is repeated every ten seconds with how far it is.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// What one part of the stack does now.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The part: `kafka`, `clickhouse`, `stages`. A new step of a part replaces its last one.
    pub part: &'static str,
    /// What it does, such as `downloading`; nothing when the part is done.
    pub doing: &'a str,
    /// How far it is, such as `12 of 55 MB`; may change many times a second.
    pub amount: &'a str,
}

/// Receives the steps, from any thread.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Report>>);

type Report = dyn Fn(Step<'_>) + Send + Sync;

impl Progress {
    /// Calls `report` with each step.
    pub fn new(report: impl Fn(Step<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    /// Whether nobody receives the steps.
    pub fn is_silent(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn report(&self, part: &'static str, doing: &str, amount: &str) {
        if let Some(report) = &self.0 {
            report(Step { part, doing, amount });
        }
    }

    pub(crate) fn done(&self, part: &'static str) {
        self.report(part, "", "");
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_silent() { "Progress(silent)" } else { "Progress(reported)" })
    }
}

/// The progress line of a command.
#[derive(Debug, Clone)]
pub struct ProgressLine(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    bar: Option<ProgressBar>,
    parts: Mutex<Vec<Part>>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    doing: String,
    amount: String,
    /// When it was written as a line of its own.
    written: Instant,
}

impl ProgressLine {
    /// An empty line; on a terminal with a spinner.
    pub fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self(Arc::new(Shown { bar, parts: Mutex::default() }))
    }

    /// Shows a step of the command itself.
    pub fn show(&self, doing: &str) {
        self.0.set(Step { part: "", doing, amount: "" });
    }

    /// A [`Progress`] whose steps are shown here.
    pub fn progress(&self) -> Progress {
        let shown = Arc::clone(&self.0);
        Progress::new(move |step| shown.set(step))
    }

    /// Removes the line.
    pub fn finish(&self) {
        if let Some(bar) = &self.0.bar {
            bar.finish_and_clear();
        }
    }
}

impl Shown {
    fn set(&self, step: Step<'_>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts.iter().position(|part| part.name == step.part);
        if step.doing.is_empty() {
            known.map(|index| parts.remove(index));
        } else {
            let is_new = known.is_none_or(|index| parts[index].doing != step.doing);
            let index = known.unwrap_or(parts.len());
            if is_new {
                let part = Part {
                    name: step.part,
                    doing: step.doing.to_owned(),
                    amount: String::new(),
                    written: Instant::now(),
                };
                parts.splice(index..(index + usize::from(known.is_some())), [part]);
            }
            let part = &mut parts[index];
            step.amount.clone_into(&mut part.amount);
            if self.bar.is_none() && (is_new || part.written.elapsed() >= REPEAT_AFTER) {
                part.written = Instant::now();
                // A command works without its progress: an error of stderr is ignored.
                let _ = writeln!(std::io::stderr(), "{}", part.text());
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_message(parts.iter().map(Part::text).collect::<Vec<_>>().join(" · "));
        }
    }
}

impl Part {
    /// The words that are there, with a space between them.
    fn text(&self) -> String {
        let words = [self.name, &self.doing, &self.amount].into_iter().filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_shows_its_newest_step_until_it_is_done() {
        let shown = Shown { bar: Some(ProgressBar::hidden()), parts: Mutex::default() };
        let line = |part, doing, amount| {
            shown.set(Step { part, doing, amount });
            shown.bar.as_ref().unwrap().message()
        };
        assert_eq!(line("kafka", "downloading", ""), "kafka downloading");
        assert_eq!(line("stages", "compiling", "1 of 9"), "kafka downloading · stages compiling 1 of 9");
        assert_eq!(line("kafka", "downloading", "3 MB"), "kafka downloading 3 MB · stages compiling 1 of 9");
        assert_eq!(line("kafka", "starting", ""), "kafka starting · stages compiling 1 of 9");
        assert_eq!(line("kafka", "", ""), "stages compiling 1 of 9");
        assert_eq!(line("", "creating topics", ""), "stages compiling 1 of 9 · creating topics");
    }
}
