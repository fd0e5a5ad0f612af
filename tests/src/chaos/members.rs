//! The processes of all stages, and the supervisor that starts them again: what ended by itself after a second, as
//! systemd would, what was killed when its time has come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use devstack::{
    Process,
    pipeline::{Pipeline, STAGES},
};

use super::schedule::Victim;
use crate::Error;

/// What a supervisor waits before it starts a process again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A stop takes 18 s at most, whoever is gone; a little more is given to a busy machine.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// A zombie whose place is taken must have noticed by then.
const ZOMBIE_TIMEOUT: Duration = Duration::from_secs(60);
/// Exits of one process without any progress of its stage that make a crash loop.
const CRASH_LOOP: u32 = 10;

/// What was seen of the processes.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Processes killed (kill -9).
    pub kills: u64,
    /// Processes asked to stop (SIGTERM).
    pub terms: u64,
    /// Processes frozen (SIGSTOP).
    pub freezes: u64,
    /// Those that went on after others could have taken their place: their session had ended, or a process with the
    /// same name was running.
    pub zombies: u64,
    /// Zombies that found their place taken and ended by themselves.
    pub zombies_ended: u64,
    /// Processes that joined a stage for a while.
    pub joins: u64,
    /// Processes that ended by themselves, by stage (or server) and last words.
    pub exits: BTreeMap<(&'static str, String), u64>,
    /// Starts of all kinds after the first.
    pub restarts: u64,
    /// What should not happen, whatever the numbers say.
    pub findings: Vec<String>,
}

/// The processes of one run.
pub(super) struct Members<'a> {
    pipeline: &'a Pipeline,
    session_timeout: Duration,
    members: Vec<Member>,
    /// Frozen, or just woken, while another process has their name.
    replaced: Vec<Zombie>,
    /// What was seen so far.
    pub(super) seen: Seen,
}

struct Member {
    stage: usize,
    instance: String,
    state: State,
    /// When this guest leaves for good.
    leaves: Option<Instant>,
    exits_without_progress: u32,
}

enum State {
    Running(Process),
    Frozen { process: Process, since: Instant, until: Instant },
    Stopping { process: Process, since: Instant, away: Duration },
    Away { until: Instant },
}

struct Zombie {
    name: String,
    process: Process,
    until: Instant,
    woken: Option<Instant>,
}

impl<'a> Members<'a> {
    /// Starts `each` processes of each stage.
    pub(super) fn start(
        pipeline: &'a Pipeline,
        each: usize,
        session_timeout: Duration,
    ) -> Result<Self, Error> {
        let mut members = Self {
            pipeline,
            session_timeout,
            members: Vec::new(),
            replaced: Vec::new(),
            seen: Seen::default(),
        };
        for number in 0..each {
            for stage in 0..STAGES.len() {
                members.add(stage, number.to_string(), None)?;
            }
        }
        Ok(members)
    }

    /// kill -9; the name of the victim, if any process of the stage runs.
    pub(super) fn kill(&mut self, victim: Victim, away: Duration) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        if let State::Running(process) = &mut member.state {
            process.kill()?;
        }
        member.state = State::Away { until: Instant::now() + away };
        let name = member.name();
        self.seen.kills += 1;
        Ok(Some(name))
    }

    /// SIGTERM; the name of the victim, if any process of the stage runs.
    pub(super) fn terminate(&mut self, victim: Victim, away: Duration) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        member.stop(away)?;
        let name = member.name();
        self.seen.terms += 1;
        Ok(Some(name))
    }

    /// SIGSTOP; the name of the victim, if any process of the stage runs.
    pub(super) fn freeze(
        &mut self,
        victim: Victim,
        frozen: Duration,
        replaced_after: Option<Duration>,
    ) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        let name = member.name();
        let now = Instant::now();
        let instead = State::Away { until: now + replaced_after.unwrap_or_default() };
        if let State::Running(mut process) = std::mem::replace(&mut member.state, instead) {
            process.pause()?;
            if replaced_after.is_some() {
                let zombie = Zombie { name: name.clone(), process, until: now + frozen, woken: None };
                self.replaced.push(zombie);
            } else {
                member.state = State::Frozen { process, since: now, until: now + frozen };
            }
        }
        self.seen.freezes += 1;
        Ok(Some(name))
    }

    /// One process more; its name, unless the stage has a guest already.
    pub(super) fn join(&mut self, stage: usize, stay: Duration) -> Result<Option<String>, Error> {
        if self.members.iter().any(|member| member.stage == stage && member.leaves.is_some()) {
            return Ok(None);
        }
        let name = self.add(stage, "guest".to_owned(), Some(Instant::now() + stay))?;
        self.seen.joins += 1;
        Ok(Some(name))
    }

    /// Whether any process of the stage is frozen, or was and still has to notice what it missed.
    pub(super) fn has_zombies(&self, stage: usize) -> bool {
        let is_of_stage = |name: &str| STAGES.get(stage).is_some_and(|stage| name.starts_with(stage));
        self.replaced.iter().any(|zombie| is_of_stage(&zombie.name))
            || self.members.iter().any(|m| m.stage == stage && matches!(m.state, State::Frozen { .. }))
    }

    /// Everybody goes on and comes back now; guests leave.
    pub(super) fn calm_down(&mut self) {
        let now = Instant::now();
        for member in &mut self.members {
            match &mut member.state {
                State::Frozen { until, .. } | State::Away { until } => *until = (*until).min(now),
                State::Stopping { away, .. } => *away = Duration::ZERO,
                State::Running(_) => (),
            }
            member.leaves = member.leaves.map(|leaves| leaves.min(now));
        }
        for zombie in &mut self.replaced {
            zombie.until = zombie.until.min(now);
        }
    }

    /// Does what is due. `has_progressed` tells for each stage whether it has committed anything since the last call.
    pub(super) fn supervise(&mut self, has_progressed: [bool; STAGES.len()]) -> Result<(), Error> {
        let now = Instant::now();
        let mut guests_gone = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if has_progressed.get(member.stage) == Some(&true) {
                member.exits_without_progress = 0;
            }
            if member.leaves.is_some_and(|leaves| leaves <= now) && matches!(member.state, State::Running(_))
            {
                member.stop(Duration::ZERO)?;
            }
            let has_left = member.leaves.is_some_and(|leaves| leaves <= now)
                && matches!(member.state, State::Away { .. });
            if has_left {
                guests_gone.push(index);
                continue;
            }
            member.supervise(self.pipeline, self.session_timeout, &mut self.seen)?;
        }
        for index in guests_gone.into_iter().rev() {
            self.members.swap_remove(index);
        }
        let mut still = Vec::new();
        for mut zombie in std::mem::take(&mut self.replaced) {
            if zombie.is_still_there(&mut self.seen)? {
                still.push(zombie);
            }
        }
        self.replaced = still;
        Ok(())
    }

    /// Stops everything, stage after stage; says who did not end cleanly.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.members.sort_by_key(|member| member.stage);
        for member in &mut self.members {
            let name = member.name();
            let State::Running(process) = &mut member.state else { continue };
            match process.terminate(STOP_TIMEOUT) {
                Ok(status) if status.success() => (),
                Ok(status) => {
                    let words = last_words(process);
                    self.seen.findings.push(format!("{name} ended with {status} when all was done: {words}"));
                }
                Err(error) => self.seen.findings.push(error.to_string()),
            }
        }
        self.members.clear();
        self.replaced.clear();
        Ok(())
    }

    /// Whether nobody is away, frozen or stopping, and no zombie is left.
    pub(super) fn are_all_running(&self) -> bool {
        let is_running = |member: &Member| matches!(member.state, State::Running(_));
        self.members.iter().all(is_running) && self.replaced.is_empty()
    }

    /// What each process is doing, for a report of something that hangs.
    pub(super) fn states(&self) -> String {
        let states: Vec<String> =
            self.members.iter().map(|m| format!("{} {}", m.name(), m.state.word())).collect();
        states.join(", ")
    }

    fn add(&mut self, stage: usize, instance: String, leaves: Option<Instant>) -> Result<String, Error> {
        let process = launch(self.pipeline, stage, &instance)?;
        let state = State::Running(process);
        let member = Member { stage, instance, state, leaves, exits_without_progress: 0 };
        let name = member.name();
        self.members.push(member);
        Ok(name)
    }

    fn pick(&mut self, victim: Victim) -> Option<&mut Member> {
        let mut running: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| member.stage == victim.stage && matches!(member.state, State::Running(_)))
            .collect();
        if running.is_empty() {
            return None;
        }
        Some(running.swap_remove(victim.member % running.len()))
    }
}

impl Member {
    fn name(&self) -> String {
        format!("{}-{}", STAGES.get(self.stage).unwrap_or(&"?"), self.instance)
    }

    fn stop(&mut self, away: Duration) -> Result<(), Error> {
        let now = Instant::now();
        if let State::Running(mut process) = std::mem::replace(&mut self.state, State::Away { until: now }) {
            process.ask_to_stop()?;
            self.state = State::Stopping { process, since: now, away };
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        pipeline: &Pipeline,
        session_timeout: Duration,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let name = self.name();
        match &mut self.state {
            State::Running(process) => {
                let Some(status) = process.exit_status()? else { return Ok(()) };
                let words = last_words(process);
                let stage = STAGES.get(self.stage).copied().unwrap_or_default();
                if status.code() != Some(1) {
                    seen.findings.push(format!("{name} ended by itself with {status}: {words}"));
                }
                *seen.exits.entry((stage, without_numbers(&words))).or_default() += 1;
                self.exits_without_progress += 1;
                if self.exits_without_progress == CRASH_LOOP {
                    seen.findings.push(format!("{name} ended {CRASH_LOOP} times without progress: {words}"));
                }
                self.state = State::Away { until: now + RESTART_PAUSE };
            }
            State::Frozen { process, since, until } if *until <= now => {
                process.resume()?;
                seen.zombies += u64::from(now - *since > session_timeout);
                let woken = std::mem::replace(&mut self.state, State::Away { until: now });
                if let State::Frozen { process, .. } = woken {
                    self.state = State::Running(process);
                }
            }
            State::Frozen { .. } => (),
            State::Stopping { process, since, away } => match process.exit_status()? {
                Some(status) => {
                    if !status.success() {
                        let words = format!("asked to stop: {}", without_numbers(&last_words(process)));
                        let stage = STAGES.get(self.stage).copied().unwrap_or_default();
                        *seen.exits.entry((stage, words)).or_default() += 1;
                    }
                    self.state = State::Away { until: now + *away };
                }
                None if since.elapsed() > STOP_TIMEOUT => {
                    let seconds = STOP_TIMEOUT.as_secs();
                    seen.findings.push(format!("{name} did not stop within {seconds} s of SIGTERM"));
                    process.kill()?;
                }
                None => (),
            },
            State::Away { until } if *until <= now => {
                self.state = State::Running(launch(pipeline, self.stage, &self.instance)?);
                seen.restarts += 1;
            }
            State::Away { .. } => (),
        }
        Ok(())
    }
}

impl State {
    const fn word(&self) -> &'static str {
        match self {
            Self::Running(_) => "runs",
            Self::Frozen { .. } => "is frozen",
            Self::Stopping { .. } => "is stopping",
            Self::Away { .. } => "is away",
        }
    }
}

impl Zombie {
    fn is_still_there(&mut self, seen: &mut Seen) -> Result<bool, Error> {
        let now = Instant::now();
        let Some(woken) = self.woken else {
            if self.until <= now {
                self.process.resume()?;
                seen.zombies += 1;
                self.woken = Some(now);
            }
            return Ok(true);
        };
        if self.process.exit_status()?.is_some() {
            seen.zombies_ended += 1;
            return Ok(false);
        }
        if woken + ZOMBIE_TIMEOUT <= now {
            let (name, seconds) = (&self.name, ZOMBIE_TIMEOUT.as_secs());
            seen.findings.push(format!("{name} still runs {seconds} s after another took its place"));
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

/// Why it ended, as its log says; else its last line. A zombie and its replacement share one file.
fn last_words(process: &Process) -> String {
    let log = process.log_tail(20);
    let error = log.lines().rev().find(|line| line.contains("stage failed"));
    let line = error.or_else(|| log.lines().next_back()).unwrap_or_default();
    let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    let field = |name: &str| json.get("fields")?.get(name)?.as_str().map(str::to_owned);
    [field("message"), field("error")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// The same words with other offsets, members and times are the same reason.
fn without_numbers(words: &str) -> String {
    let mut text = String::new();
    for word in words.split_whitespace() {
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
    fn the_same_reason_with_other_numbers_is_one_reason() {
        assert_eq!(
            without_numbers("stage failed: partition 3 at offset 1042: fenced by another"),
            "stage failed: partition … at offset … fenced by another"
        );
    }
}
