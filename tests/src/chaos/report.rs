//! The outcome of a run, as text and as JSON.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use devstack::{Totals, pipeline::STAGES};
use serde_json::{Value, json};
use simulator::ExpectedCounts;

use super::{fault::FaultKind, member::ProcessCounts, recovery::RecoveryTimes};
use crate::compare::Difference;

/// The largest number of differences that a report lists.
const MOST_SHOWN: usize = 20;

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed: the same one gives the same schedule of faults.
    pub seed: u64,
    /// How long faults were injected.
    pub length: Duration,
    /// Time from the last fault until everything was counted.
    pub drain: Duration,
    /// Number of faults by kind. For kinds that are faults of requests, the number of requests.
    pub injected: BTreeMap<FaultKind, u64>,
    /// Faults without a target: every process of the stage was already stopped.
    pub missed: u64,
    /// Counts of what happened to the processes.
    pub processes: ProcessCounts,
    /// Attacks by kind.
    pub attacks: BTreeMap<&'static str, u64>,
    /// `memory_limit` of each process.
    pub memory_limit: ByteSize,
    /// Events that clients sent, hostile ones included.
    pub sent: ExpectedCounts,
    /// Events in ClickHouse.
    pub totals: Totals,
    /// Numbers that differ from the truth.
    pub differences: Vec<Difference>,
    /// Time from a fault until the stage committed offsets again.
    pub recoveries: RecoveryTimes,
    /// Directory of the logs.
    pub logs: PathBuf,
}

impl Report {
    /// Whether every number equals the truth.
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether something happened that hostile records must not do, whatever the numbers are.
    pub fn has_findings(&self) -> bool {
        !self.processes.findings.is_empty() || self.exits_of_stages().next().is_some() || self.uses_too_much()
    }

    /// Processes that ended without being told to, after a zombie was fenced off excepted.
    fn exits_of_stages(&self) -> impl Iterator<Item = (&(&'static str, String), &u64)> {
        self.processes.exits.iter().filter(|((stage, _), _)| STAGES.contains(stage))
    }

    fn uses_too_much(&self) -> bool {
        let most = self.memory_limit.as_u64() / 4 * 5;
        self.processes.peak_rss.values().any(|&bytes| bytes > most)
    }

    /// Faults of one kind.
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.injected.get(&kind).copied().unwrap_or(0)
    }

    /// The report as one JSON object.
    pub fn json(&self) -> Value {
        let recoveries = self.recoveries.iter().map(|((kind, stage), times)| {
            let [p50, max] = median_and_max(times).map(|time| time.as_secs_f64());
            json!({"fault": kind.name(), "stage": stage, "count": times.len(), "p50_seconds": p50, "max_seconds": max})
        });
        let reasons = |counts: &BTreeMap<(&str, String), u64>| -> Vec<Value> {
            let of_reason = |((stage, reason), count): (&(&str, String), &u64)| json!({"stage": stage, "reason": reason, "count": count});
            counts.iter().map(of_reason).collect()
        };
        let faults: BTreeMap<&str, u64> =
            self.injected.iter().map(|(kind, &count)| (kind.name(), count)).collect();
        json!({
            "seed": self.seed,
            "seconds": self.length.as_secs_f64(),
            "drain_seconds": self.drain.as_secs_f64(),
            "faults": faults,
            "attacks": self.attacks,
            "peak_rss_bytes": self.processes.peak_rss,
            "missed": self.missed,
            "kills": self.processes.kills,
            "zombies": self.processes.zombies,
            "zombies_ended": self.processes.zombies_ended,
            "restarts": self.processes.restarts,
            "exits": reasons(&self.processes.exits),
            "unclean_stops": reasons(&self.processes.unclean_stops),
            "events": {
                "sent": self.sent.sent,
                "stored": self.totals.stored,
                "duplicates": self.totals.duplicates,
                "dead_letters": self.totals.dead_letters,
            },
            "recoveries": recoveries.collect::<Vec<_>>(),
            "findings": self.processes.findings,
            "differences": self.differences.len(),
            "first_differences": self.shown(),
            "logs": self.logs,
        })
    }

    fn shown(&self) -> Vec<String> {
        self.differences.iter().take(MOST_SHOWN).map(Difference::to_string).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        writeln!(out, "{:<16}{:>14}", "seed", self.seed)?;
        writeln!(out, "{:<16}{:>14.1}", "minutes", seconds(self.length) / 60.0)?;
        writeln!(out, "{:<16}{:>14.1}", "drained after s", seconds(self.drain))?;
        writeln!(out, "\nfaults")?;
        for (kind, count) in &self.injected {
            writeln!(out, "  {:<14}{count:>14}", kind.name())?;
        }
        writeln!(out, "  {:<14}{:>14}", "missed", self.missed)?;
        if !self.attacks.is_empty() {
            writeln!(out, "\nattacks")?;
        }
        for (name, count) in &self.attacks {
            writeln!(out, "  {name:<20}{count:>8}")?;
        }
        writeln!(out, "\nprocesses, memory limit {}", self.memory_limit.display().iec())?;
        for (stage, &bytes) in &self.processes.peak_rss {
            writeln!(out, "  {stage:<14}{:>14}  most memory", ByteSize(bytes).display().iec().to_string())?;
        }
        writeln!(out, "  {:<14}{:>14}", "restarts", self.processes.restarts)?;
        let (zombies, ended) = (self.processes.zombies, self.processes.zombies_ended);
        writeln!(out, "  {:<14}{zombies:>14}  {ended} ended after another process took over", "zombies")?;
        for ((stage, reason), count) in &self.processes.exits {
            writeln!(out, "  {stage:<14}{count:>14}  exited: {reason}")?;
        }
        for ((stage, reason), count) in &self.processes.unclean_stops {
            writeln!(out, "  {stage:<14}{count:>14}  exited with 1 after SIGTERM: {reason}")?;
        }
        writeln!(out, "\nrecovery in s    {:>8}{:>8}{:>8}", "count", "p50", "max")?;
        for ((kind, stage), times) in &self.recoveries {
            let [p50, max] = median_and_max(times).map(seconds);
            let (kind, count) = (kind.name(), times.len());
            writeln!(out, "  {kind:<11}{stage:<10}{count:>2}{p50:>8.1}{max:>8.1}")?;
        }
        writeln!(out, "\n{:<16}{:>14}", "sent", self.sent.sent)?;
        writeln!(out, "{:<16}{:>14}", "stored", self.totals.stored)?;
        writeln!(out, "{:<16}{:>14}", "duplicates", self.totals.duplicates)?;
        writeln!(out, "{:<16}{:>14}", "dead letters", self.totals.dead_letters)?;
        writeln!(out, "{:<16}{:>14}", "differences", self.differences.len())?;
        for difference in self.shown() {
            writeln!(out, "  {difference}")?;
        }
        for finding in &self.processes.findings {
            writeln!(out, "finding: {finding}")?;
        }
        Ok(())
    }
}

fn median_and_max(times: &[Duration]) -> [Duration; 2] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    [at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_median_and_the_longest_time() {
        let times = [3, 1, 2].map(Duration::from_secs);
        assert_eq!(median_and_max(&times), [2, 3].map(Duration::from_secs));
        assert_eq!(median_and_max(&[]), [Duration::ZERO; 2]);
    }
}
