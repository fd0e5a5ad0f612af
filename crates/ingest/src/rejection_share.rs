//! Whether most of the newest records of a partition were rejected: a client release that breaks the contract shows
//! here first.

/// Number of newest records of a partition that count.
pub(crate) const WINDOW: usize = 10_000;

/// The newest records of one partition, one bit each: 1 for a record with a rejection.
#[derive(Debug)]
pub(crate) struct RejectionShare {
    rejected: Vec<u64>,
    next: usize,
    sum: usize,
    /// What [`change`](Self::change) last returned.
    mostly_rejected: bool,
}

impl Default for RejectionShare {
    fn default() -> Self {
        Self { rejected: vec![0; WINDOW.div_ceil(64)], next: 0, sum: 0, mostly_rejected: false }
    }
}

impl RejectionShare {
    pub(crate) fn push(&mut self, rejected: bool) {
        let (word, bit) = (&mut self.rejected[self.next / 64], 1 << (self.next % 64));
        self.sum -= usize::from(*word & bit != 0);
        self.sum += usize::from(rejected);
        *word = if rejected { *word | bit } else { *word & !bit };
        self.next = (self.next + 1) % WINDOW;
    }

    /// Number of rejected records in the window.
    pub(crate) fn sum(&self) -> usize {
        self.sum
    }

    /// Whether more than half of the window is rejected, if that has changed since the last call.
    pub(crate) fn change(&mut self) -> Option<bool> {
        let now = self.sum > WINDOW / 2;
        let changed = now != self.mostly_rejected;
        self.mostly_rejected = now;
        changed.then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_needs_more_than_half_of_the_last_ten_thousand() {
        let mut share = RejectionShare::default();
        for _ in 0..WINDOW / 2 {
            share.push(true);
        }
        assert_eq!(share.change(), None);
        share.push(true);
        assert_eq!((share.change(), share.change()), (Some(true), None));
        for _ in 0..WINDOW / 2 - 1 {
            share.push(false);
        }
        assert_eq!(share.change(), None, "5001 are still among the last 10000");
        share.push(false);
        assert_eq!(share.change(), Some(false), "the oldest has left the window");
        let bits: usize = share.rejected.iter().map(|word| word.count_ones() as usize).sum();
        assert_eq!(share.sum(), bits);
    }
}
