//! One process of a stage: its state, and what a supervisor does with it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use devstack::{
    Process,
    pipeline::{Pipeline, STAGES},
};

use crate::Error;

/// How long the supervisor waits before it restarts a process that has exited.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A stop takes at most 18 s, whatever server is down; the rest is for a busy machine.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// A zombie that was replaced must have exited this long after it was resumed, if its replacement ran all the time.
const ZOMBIE_TIMEOUT: Duration = Duration::from_secs(60);
/// Part of the error of a process whose name another one has.
const NAME_TAKEN: &str = "the group has another member of that name";
/// Exits of one process without progress of its stage that make a crash loop.
const CRASH_LOOP: u32 = 10;

/// What happened to the processes.
#[derive(Debug, Clone, Default)]
pub struct ProcessCounts {
    /// Processes killed (kill -9).
    pub kills: u64,
    /// Processes terminated (SIGTERM).
    pub terms: u64,
    /// Processes frozen (SIGSTOP).
    pub freezes: u64,
    /// Processes resumed after another process could have taken over: their session had timed out, or a process with
    /// the same name was running.
    pub zombies: u64,
    /// Zombies that were replaced and exited, or whose replacement exited because the zombie had taken the name.
    pub zombies_ended: u64,
    /// Processes that joined a stage for a while.
    pub joins: u64,
    /// Exits that nothing asked for, by stage (or server) and reason.
    pub exits: BTreeMap<(&'static str, String), u64>,
    /// Exits after SIGTERM with a code other than 0, by stage and reason: a server was away, so not everything was written.
    pub unclean_stops: BTreeMap<(&'static str, String), u64>,
    /// Most memory of any process of a stage, in bytes.
    pub peak_rss: BTreeMap<&'static str, u64>,
    /// All starts after the first.
    pub restarts: u64,
    /// What must not happen, whatever the numbers are.
    pub findings: Vec<String>,
}

/// A process of a stage, running or not.
pub(super) struct Member {
    /// Index into [`STAGES`].
    pub(super) stage: usize,
    pub(super) instance: String,
    pub(super) state: MemberState,
    /// When a process that joined for a while leaves.
    pub(super) leaves: Option<Instant>,
    pub(super) exits_without_progress: u32,
}

/// What a member is doing.
pub(super) enum MemberState {
    Running(Process),
    Frozen { process: Process, since: Instant, until: Instant },
    Stopping { process: Process, since: Instant, away: Duration },
    Away { until: Instant },
}

impl Member {
    /// Starts a process.
    pub(super) fn start(
        pipeline: &Pipeline,
        stage: usize,
        instance: String,
        leaves: Option<Instant>,
    ) -> Result<Self, Error> {
        let state = MemberState::Running(launch(pipeline, stage, &instance)?);
        Ok(Self { stage, instance, state, leaves, exits_without_progress: 0 })
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}", STAGES.get(self.stage).unwrap_or(&"?"), self.instance)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, MemberState::Running(_))
    }

    /// SIGTERM to a running process; it restarts `away` after its exit.
    pub(super) fn stop(&mut self, away: Duration) -> Result<(), Error> {
        let now = Instant::now();
        if let MemberState::Running(mut process) =
            std::mem::replace(&mut self.state, MemberState::Away { until: now })
        {
            process.send_sigterm()?;
            self.state = MemberState::Stopping { process, since: now, away };
        }
        Ok(())
    }

    /// Notes how much memory a running process has used at most. One that has just exited has none.
    pub(super) fn measure(&self, counts: &mut ProcessCounts) {
        let MemberState::Running(process) = &self.state else { return };
        let (Ok(bytes), Some(&stage)) = (process.peak_rss_bytes(), STAGES.get(self.stage)) else { return };
        let peak = counts.peak_rss.entry(stage).or_default();
        *peak = bytes.max(*peak);
    }

    /// Does what is due: notices exits, resumes, restarts. `has_zombie`: an earlier process with its name runs too, so that
    /// one of the two has to end.
    pub(super) fn supervise(
        &mut self,
        pipeline: &Pipeline,
        has_zombie: bool,
        session_timeout: Duration,
        counts: &mut ProcessCounts,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let name = self.name();
        match &mut self.state {
            MemberState::Running(process) => {
                let Some(status) = process.exit_status()? else { return Ok(()) };
                let reason = exit_reason(process);
                let stage = STAGES.get(self.stage).copied().unwrap_or_default();
                if status.code() != Some(1) {
                    counts.findings.push(format!("{name} exited with {status}: {reason}"));
                }
                if has_zombie && reason.contains(NAME_TAKEN) {
                    counts.zombies_ended += 1;
                } else {
                    *counts.exits.entry((stage, without_numbers(&reason))).or_default() += 1;
                }
                self.exits_without_progress += 1;
                if self.exits_without_progress == CRASH_LOOP {
                    counts
                        .findings
                        .push(format!("{name} exited {CRASH_LOOP} times without progress: {reason}"));
                }
                self.state = MemberState::Away { until: now + RESTART_PAUSE };
            }
            MemberState::Frozen { process, since, until } if *until <= now => {
                process.resume()?;
                counts.zombies += u64::from(now - *since > session_timeout);
                let resumed = std::mem::replace(&mut self.state, MemberState::Away { until: now });
                if let MemberState::Frozen { process, .. } = resumed {
                    self.state = MemberState::Running(process);
                }
            }
            MemberState::Frozen { .. } => (),
            MemberState::Stopping { process, since, away } => match process.exit_status()? {
                Some(status) => {
                    if !status.success() {
                        let reason = without_numbers(&exit_reason(process));
                        let stage = STAGES.get(self.stage).copied().unwrap_or_default();
                        *counts.unclean_stops.entry((stage, reason)).or_default() += 1;
                    }
                    self.state = MemberState::Away { until: now + *away };
                }
                None if since.elapsed() > STOP_TIMEOUT => {
                    let seconds = STOP_TIMEOUT.as_secs();
                    counts.findings.push(format!("{name} did not stop within {seconds} s of SIGTERM"));
                    process.kill()?;
                }
                None => (),
            },
            MemberState::Away { until } if *until <= now => {
                self.state = MemberState::Running(launch(pipeline, self.stage, &self.instance)?);
                counts.restarts += 1;
            }
            MemberState::Away { .. } => (),
        }
        Ok(())
    }
}

impl MemberState {
    /// As a predicate, for messages.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Running(_) => "is running",
            Self::Frozen { .. } => "is frozen",
            Self::Stopping { .. } => "is stopping",
            Self::Away { .. } => "is not running",
        }
    }
}

/// A process that is frozen, or was, while another one has its name.
pub(super) struct Zombie {
    pub(super) name: String,
    pub(super) process: Process,
    /// When it is resumed.
    pub(super) until: Instant,
    pub(super) resumed: Option<Instant>,
    /// Its replacement was not running for a while. The zombie may have taken the name then, and goes on rightly.
    pub(super) was_name_free: bool,
}

impl Zombie {
    /// Resumes it when that is due; whether it still exists. `is_replaced`: a process with its name is running.
    pub(super) fn supervise(&mut self, is_replaced: bool, counts: &mut ProcessCounts) -> Result<bool, Error> {
        let now = Instant::now();
        let Some(resumed) = self.resumed else {
            if self.until <= now {
                self.process.resume()?;
                counts.zombies += 1;
                self.resumed = Some(now);
            }
            return Ok(true);
        };
        if self.process.exit_status()?.is_some() {
            counts.zombies_ended += 1;
            return Ok(false);
        }
        self.was_name_free |= !is_replaced;
        if resumed + ZOMBIE_TIMEOUT <= now {
            let (name, seconds) = (&self.name, ZOMBIE_TIMEOUT.as_secs());
            if !self.was_name_free {
                counts
                    .findings
                    .push(format!("{name} is still running {seconds} s after another process took over"));
            }
            self.process.kill()?;
            return Ok(false);
        }
        Ok(true)
    }
}

fn launch(pipeline: &Pipeline, stage: usize, instance: &str) -> Result<Process, Error> {
    let binary = STAGES.get(stage).copied().unwrap_or_default();
    Ok(pipeline.start(binary, instance, &[], &[])?)
}

/// The error in the log of a process that has exited, or its last log line. A zombie and its replacement share one file.
pub(super) fn exit_reason(process: &Process) -> String {
    let log = process.log_tail(20);
    let error = log.lines().rev().find(|line| line.contains("stage failed"));
    let line = error.or_else(|| log.lines().next_back()).unwrap_or_default();
    let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    let field = |name: &str| json.get("fields")?.get(name)?.as_str().map(str::to_owned);
    [field("message"), field("error")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// Reasons that differ only in offsets, members and times are the same.
fn without_numbers(reason: &str) -> String {
    let mut text = String::new();
    for word in reason.split_whitespace() {
        let shown = if word.chars().any(|c| c.is_ascii_digit()) { "…" } else { word };
        if !(shown == "…" && text.ends_with('…')) {
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(shown);
        }
    }
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_only_in_numbers_are_the_same() {
        assert_eq!(
            without_numbers("stage failed: partition 3 at offset 1042: fenced by another"),
            "stage failed: partition … at offset … fenced by another"
        );
    }
}
