//! What a run came to, for people and for machines.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use devstack::Totals;
use serde_json::{Value, json};
use simulator::Counts;

use super::{members::Seen, schedule::Kind};
use crate::compare::Difference;

/// How many differences are shown.
const SHOWN: usize = 20;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed: the same one gives the same faults.
    pub seed: u64,
    /// How long faults were injected.
    pub length: Duration,
    /// How long it took afterwards until everything was counted.
    pub drain: Duration,
    /// Faults of each kind that met somebody; of the proxy's, requests.
    pub injected: BTreeMap<Kind, u64>,
    /// Faults that met nobody, as all that could be met were away already.
    pub missed: u64,
    /// What was seen of the processes.
    pub seen: Seen,
    /// What the clients sent.
    pub sent: Counts,
    /// What ClickHouse shows.
    pub totals: Totals,
    /// Everything that is not as the truth says.
    pub differences: Vec<Difference>,
    /// Time from a fault until the stage counted again, by kind of fault and stage.
    pub recoveries: BTreeMap<(Kind, &'static str), Vec<Duration>>,
    /// Where the logs are.
    pub logs: PathBuf,
}

impl Report {
    /// Whether every number is the truth.
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty()
    }

    /// Faults of a kind that met somebody.
    pub fn count(&self, kind: Kind) -> u64 {
        self.injected.get(&kind).copied().unwrap_or(0)
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let recoveries = self.recoveries.iter().map(|((kind, stage), times)| {
            let [p50, max] = median_and_max(times).map(|time| time.as_secs_f64());
            json!({"fault": kind.name(), "stage": stage, "count": times.len(), "p50_seconds": p50, "max_seconds": max})
        });
        let exits = self
            .seen
            .exits
            .iter()
            .map(|((stage, words), count)| json!({"stage": stage, "words": words, "count": count}));
        let faults: BTreeMap<&str, u64> =
            self.injected.iter().map(|(kind, &count)| (kind.name(), count)).collect();
        json!({
            "seed": self.seed,
            "seconds": self.length.as_secs_f64(),
            "drain_seconds": self.drain.as_secs_f64(),
            "faults": faults,
            "missed": self.missed,
            "kills": self.seen.kills,
            "zombies": self.seen.zombies,
            "zombies_ended": self.seen.zombies_ended,
            "restarts": self.seen.restarts,
            "exits": exits.collect::<Vec<_>>(),
            "events": {
                "sent": self.sent.sent,
                "stored": self.totals.stored,
                "duplicates": self.totals.duplicates,
                "dead_letters": self.totals.dead_letters,
            },
            "recoveries": recoveries.collect::<Vec<_>>(),
            "findings": self.seen.findings,
            "differences": self.differences.len(),
            "first_differences": self.shown(),
            "logs": self.logs,
        })
    }

    fn shown(&self) -> Vec<String> {
        self.differences.iter().take(SHOWN).map(Difference::to_string).collect()
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
        writeln!(out, "  {:<14}{:>14}", "met nobody", self.missed)?;
        writeln!(out, "\nprocesses")?;
        writeln!(out, "  {:<14}{:>14}", "restarts", self.seen.restarts)?;
        let (zombies, ended) = (self.seen.zombies, self.seen.zombies_ended);
        writeln!(out, "  {:<14}{zombies:>14}  {ended} found their place taken and ended", "zombies")?;
        for ((stage, words), count) in &self.seen.exits {
            writeln!(out, "  {stage:<14}{count:>14}  ended by itself: {words}")?;
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
        for finding in &self.seen.findings {
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
    fn the_middle_and_the_longest_time_are_told() {
        let times = [3, 1, 2].map(Duration::from_secs);
        assert_eq!(median_and_max(&times), [2, 3].map(Duration::from_secs));
        assert_eq!(median_and_max(&[]), [Duration::ZERO; 2]);
    }
}
