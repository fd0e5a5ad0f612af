//! Which faults happen when: a pure function of the seed, so that a run can be repeated.
//!
//! Each kind of fault has its rate. The run is divided into as many equal parts as the kind has faults, with one fault at
//! a random moment of each part: the number is fixed, the moment is not.

use std::{ops::RangeInclusive, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::fault::{Fault, FaultAction, FaultKind, Victim};
use crate::proxy::RequestFault;

/// The faults of a run of `length`, in order of time, for processes of these stages (indexes into
/// [`devstack::pipeline::STAGES`]). The same arguments give the same faults.
pub fn schedule(seed: u64, length: Duration, kinds: &[FaultKind], stages: &[usize]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in FaultKind::ALL {
        if !kinds.contains(&kind) {
            continue;
        }
        // A random number generator for each kind: leaving one out does not change the others.
        let rng = StdRng::seed_from_u64(seed ^ (kind as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut dice = FaultDice { rng, stages };
        let count = (kind.in_ten_minutes() * length.as_secs_f64() / 600.0).round().max(1.0);
        let part = length.div_f64(count);
        for number in 0..count as u32 {
            let at = part * number + part.mul_f64(dice.rng.random());
            let action = action(kind, number, &mut dice, length);
            faults.push(Fault { at, kind, action });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn action(kind: FaultKind, number: u32, dice: &mut FaultDice<'_>, length: Duration) -> FaultAction {
    match kind {
        FaultKind::Kill => FaultAction::Kill { victim: dice.victim(), away: dice.away() },
        FaultKind::Term => FaultAction::Term { victim: dice.victim(), away: dice.away() },
        FaultKind::Freeze => {
            // As many short ones as long ones; in a short run all end within it.
            let longest = (length.as_secs_f64() / 4.0).clamp(6.0, 90.0);
            let frozen = Duration::from_secs_f64(5.0 * (longest / 5.0).powf(dice.rng.random()));
            let replaced_after = dice.rng.random_bool(0.6).then(|| dice.seconds(0.0, 3.0));
            FaultAction::Freeze { victim: dice.victim(), frozen, replaced_after }
        }
        FaultKind::Members if number.is_multiple_of(2) => {
            FaultAction::Join { stage: dice.stage(), stay: dice.seconds(8.0, 35.0) }
        }
        // Longer than the session timeout: other members get its partitions.
        FaultKind::Members => FaultAction::Term { victim: dice.victim(), away: dice.seconds(5.0, 20.0) },
        FaultKind::Kafka => FaultAction::KillKafka { away: dice.seconds(0.0, 4.0) },
        FaultKind::ClickHouse => FaultAction::KillClickHouse { away: dice.seconds(0.0, 8.0) },
        FaultKind::LostReply => dice.request(RequestFault::LostReply, 1..=3),
        FaultKind::Reset => dice.request(RequestFault::Reset, 1..=3),
        FaultKind::Delay => {
            let delay = RequestFault::Delay(dice.seconds(0.2, 5.0));
            dice.request(delay, 1..=4)
        }
        FaultKind::HttpErrors => {
            let status = if dice.rng.random_bool(0.5) { 500 } else { 503 };
            let error = RequestFault::HttpError { status, executed: dice.rng.random_bool(0.5) };
            dice.request(error, 1..=4)
        }
        FaultKind::TooManyParts => dice.request(RequestFault::TooManyParts, 3..=8),
        FaultKind::Window => {
            FaultAction::ShrinkWindow { lasting: length.div_f64(12.0).min(dice.seconds(15.0, 40.0)) }
        }
        FaultKind::Duplicates => {
            FaultAction::Repeat { share: 0.2, lasting: length.div_f64(8.0).min(dice.seconds(10.0, 40.0)) }
        }
    }
}

/// Random numbers, and the stages whose processes have faults.
struct FaultDice<'a> {
    rng: StdRng,
    stages: &'a [usize],
}

impl FaultDice<'_> {
    fn stage(&mut self) -> usize {
        let at = self.rng.random_range(0..self.stages.len().max(1));
        self.stages.get(at).copied().unwrap_or_default()
    }

    fn victim(&mut self) -> Victim {
        Victim { stage: self.stage(), member: self.rng.random_range(0..6) }
    }

    /// Mostly none, as with a supervisor that sees the exit; sometimes longer.
    fn away(&mut self) -> Duration {
        if self.rng.random_bool(0.7) { Duration::ZERO } else { self.seconds(0.5, 6.0) }
    }

    fn request(&mut self, fault: RequestFault, requests: RangeInclusive<usize>) -> FaultAction {
        FaultAction::Request { fault, requests: self.rng.random_range(requests) }
    }

    fn seconds(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_millis((self.rng.random_range(least..=most) * 1000.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);
    const ALL_STAGES: [usize; 3] = [0, 1, 2];

    fn count(faults: &[Fault], kind: FaultKind) -> usize {
        faults.iter().filter(|fault| fault.kind == kind).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_seed_gives_others() {
        let first = schedule(7, TEN_MINUTES, &FaultKind::ALL, &ALL_STAGES);
        assert_eq!(first, schedule(7, TEN_MINUTES, &FaultKind::ALL, &ALL_STAGES));
        assert_ne!(first, schedule(8, TEN_MINUTES, &FaultKind::ALL, &ALL_STAGES));
    }

    #[test]
    fn leaving_a_kind_out_does_not_change_the_others() {
        let all = schedule(7, TEN_MINUTES, &FaultKind::ALL, &ALL_STAGES);
        let only_kills: Vec<Fault> = all.into_iter().filter(|fault| fault.kind == FaultKind::Kill).collect();
        assert_eq!(only_kills, schedule(7, TEN_MINUTES, &[FaultKind::Kill], &ALL_STAGES));
    }

    #[test]
    fn ten_minutes_have_enough_faults_of_each_kind() {
        for seed in 0..20 {
            let faults = schedule(seed, TEN_MINUTES, &FaultKind::ALL, &ALL_STAGES);
            assert!(faults.is_sorted_by_key(|fault| fault.at));
            assert!(faults.iter().all(|fault| fault.at < TEN_MINUTES));
            assert!(count(&faults, FaultKind::Kill) >= 200);
            assert!(count(&faults, FaultKind::Kafka) + count(&faults, FaultKind::ClickHouse) >= 10);
            let zombie = |fault: &&Fault| match fault.action {
                FaultAction::Freeze { frozen, .. } => {
                    (Duration::from_secs(5)..=Duration::from_secs(90)).contains(&frozen)
                }
                _ => false,
            };
            assert!(faults.iter().filter(zombie).count() >= 20);
            let lost = faults.iter().map(|fault| match fault.action {
                FaultAction::Request { fault: RequestFault::LostReply, requests } => requests,
                _ => 0,
            });
            assert!(lost.sum::<usize>() >= 60);
        }
    }
}
