//! The processes of all stages and their supervisor. One second after a process has exited, the supervisor restarts
//! it, as systemd does. A process that a fault stops is restarted when the fault ends.

use std::time::{Duration, Instant};

use devstack::pipeline::{Pipeline, STAGES};

use super::{
    fault::Victim,
    member::{Member, MemberState, ProcessCounts, STOP_TIMEOUT, Zombie, exit_reason},
};
use crate::Error;

/// The processes of one run.
pub(super) struct Members<'a> {
    pipeline: &'a Pipeline,
    session_timeout: Duration,
    members: Vec<Member>,
    /// Frozen or resumed processes whose name another process has.
    replaced: Vec<Zombie>,
    /// Counts since the start of the run.
    pub(super) counts: ProcessCounts,
}

impl<'a> Members<'a> {
    /// Starts `each` processes of each stage.
    pub(super) fn start(
        pipeline: &'a Pipeline,
        each: usize,
        session_timeout: Duration,
    ) -> Result<Self, Error> {
        let mut members = Vec::new();
        for number in 0..each {
            for stage in 0..STAGES.len() {
                members.push(Member::start(pipeline, stage, number.to_string(), None)?);
            }
        }
        Ok(Self {
            pipeline,
            session_timeout,
            members,
            replaced: Vec::new(),
            counts: ProcessCounts::default(),
        })
    }

    /// kill -9. Returns the process's name, or none when no process of the stage is running.
    pub(super) fn kill(&mut self, victim: Victim, away: Duration) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        if let MemberState::Running(process) = &mut member.state {
            process.kill()?;
        }
        member.state = MemberState::Away { until: Instant::now() + away };
        let name = member.name();
        self.counts.kills += 1;
        Ok(Some(name))
    }

    /// SIGTERM. Returns the process's name, or none when no process of the stage is running.
    pub(super) fn terminate(&mut self, victim: Victim, away: Duration) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        member.stop(away)?;
        let name = member.name();
        self.counts.terms += 1;
        Ok(Some(name))
    }

    /// SIGSTOP. Returns the process's name, or none when no process of the stage is running.
    pub(super) fn freeze(
        &mut self,
        victim: Victim,
        frozen: Duration,
        replaced_after: Option<Duration>,
    ) -> Result<Option<String>, Error> {
        let Some(member) = self.pick(victim) else { return Ok(None) };
        let name = member.name();
        let now = Instant::now();
        let replacement = MemberState::Away { until: now + replaced_after.unwrap_or_default() };
        if let MemberState::Running(mut process) = std::mem::replace(&mut member.state, replacement) {
            process.pause()?;
            if replaced_after.is_some() {
                let zombie = Zombie {
                    name: name.clone(),
                    process,
                    until: now + frozen,
                    resumed: None,
                    was_name_free: false,
                };
                self.replaced.push(zombie);
            } else {
                member.state = MemberState::Frozen { process, since: now, until: now + frozen };
            }
        }
        self.counts.freezes += 1;
        Ok(Some(name))
    }

    /// Starts one more process. Returns its name, or none when an added process of the stage is still there.
    pub(super) fn join(&mut self, stage: usize, stay: Duration) -> Result<Option<String>, Error> {
        if self.members.iter().any(|member| member.stage == stage && member.leaves.is_some()) {
            return Ok(None);
        }
        let member = Member::start(self.pipeline, stage, "guest".to_owned(), Some(Instant::now() + stay))?;
        let name = member.name();
        self.members.push(member);
        self.counts.joins += 1;
        Ok(Some(name))
    }

    /// Whether a process of the stage is frozen, or a replaced one has not exited yet.
    pub(super) fn has_zombies(&self, stage: usize) -> bool {
        let is_of_stage = |name: &str| STAGES.get(stage).is_some_and(|stage| name.starts_with(stage));
        let is_frozen = |m: &Member| m.stage == stage && matches!(m.state, MemberState::Frozen { .. });
        self.replaced.iter().any(|zombie| is_of_stage(&zombie.name)) || self.members.iter().any(is_frozen)
    }

    /// Ends every fault now: frozen processes resume, stopped ones restart, added ones stop.
    pub(super) fn end_faults(&mut self) {
        let now = Instant::now();
        for member in &mut self.members {
            match &mut member.state {
                MemberState::Frozen { until, .. } | MemberState::Away { until } => *until = (*until).min(now),
                MemberState::Stopping { away, .. } => *away = Duration::ZERO,
                MemberState::Running(_) => (),
            }
            member.leaves = member.leaves.map(|leaves| leaves.min(now));
        }
        for zombie in &mut self.replaced {
            zombie.until = zombie.until.min(now);
        }
    }

    /// Ends the faults and restarts the processes that are due. `has_progressed`, for each stage: it has committed an
    /// offset since the last call.
    pub(super) fn supervise(&mut self, has_progressed: [bool; STAGES.len()]) -> Result<(), Error> {
        let now = Instant::now();
        let mut left = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if has_progressed.get(member.stage) == Some(&true) {
                member.exits_without_progress = 0;
            }
            let is_leaving = member.leaves.is_some_and(|leaves| leaves <= now);
            if is_leaving && member.is_running() {
                member.stop(Duration::ZERO)?;
            }
            if is_leaving && matches!(member.state, MemberState::Away { .. }) {
                left.push(index);
                continue;
            }
            let name = member.name();
            let has_zombie = self.replaced.iter().any(|z| z.name == name && z.resumed.is_some());
            member.supervise(self.pipeline, has_zombie, self.session_timeout, &mut self.counts)?;
            member.measure(&mut self.counts);
        }
        for index in left.into_iter().rev() {
            self.members.swap_remove(index);
        }
        let mut replaced = Vec::new();
        for mut zombie in std::mem::take(&mut self.replaced) {
            let is_replaced = self.members.iter().any(|m| m.is_running() && m.name() == zombie.name);
            if zombie.supervise(is_replaced, &mut self.counts)? {
                replaced.push(zombie);
            }
        }
        self.replaced = replaced;
        Ok(())
    }

    /// Stops all processes, stage after stage. An exit code other than 0 is a finding.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.members.sort_by_key(|member| member.stage);
        for member in &mut self.members {
            let name = member.name();
            let MemberState::Running(process) = &mut member.state else { continue };
            match process.terminate(STOP_TIMEOUT) {
                Ok(status) if status.success() => (),
                Ok(status) => {
                    let reason = exit_reason(process);
                    let finding = format!("{name} exited with {status} at the end of the run: {reason}");
                    self.counts.findings.push(finding);
                }
                Err(error) => self.counts.findings.push(error.to_string()),
            }
        }
        self.members.clear();
        self.replaced.clear();
        Ok(())
    }

    /// Whether every member is running and no zombie is left.
    pub(super) fn are_all_running(&self) -> bool {
        self.members.iter().all(Member::is_running) && self.replaced.is_empty()
    }

    /// The state of each process, for messages.
    pub(super) fn states(&self) -> String {
        let states: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{} {}", member.name(), member.state.describe()))
            .collect();
        states.join(", ")
    }

    fn pick(&mut self, victim: Victim) -> Option<&mut Member> {
        let mut running: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| member.stage == victim.stage && member.is_running())
            .collect();
        if running.is_empty() {
            return None;
        }
        Some(running.swap_remove(victim.member % running.len()))
    }
}
