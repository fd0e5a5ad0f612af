//! The newest of a device's identifiers, by hash. One that comes again is the newest again, so that what a device does
//! every day is not pushed out by what it did once.
use std::rc::Rc;

use super::heap::RC_COUNTERS;

/// At most `N` hashes, oldest first. Copies share them until one of the copies changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recent<const N: usize>(Option<Rc<[u64]>>);

impl<const N: usize> Recent<N> {
    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.as_slice().contains(&hash)
    }

    /// Whether it is the newest, so that pushing it again changes nothing.
    pub(crate) fn is_newest(&self, hash: u64) -> bool {
        self.as_slice().last() == Some(&hash)
    }

    /// Makes a hash the newest. A new one pushes out the oldest.
    pub(crate) fn push(&mut self, hash: u64) {
        let others = self.as_slice().iter().copied().filter(|&known| known != hash);
        let pushed_out = (others.clone().count() + 1).saturating_sub(N);
        self.0 = Some(others.skip(pushed_out).chain([hash]).collect());
    }

    /// Appends hashes as a record of the changelog lists them.
    pub(crate) fn append(&mut self, hashes: impl Iterator<Item = u64>) {
        let all: Rc<[u64]> = self.as_slice().iter().copied().chain(hashes).collect();
        self.0 = (!all.is_empty()).then_some(all);
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |hashes| RC_COUNTERS + size_of_val(&**hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_pushes_out_the_oldest() {
        let mut recent = Recent::<3>::default();
        (1..=4).for_each(|hash| recent.push(hash));
        assert_eq!(recent.as_slice(), [2, 3, 4]);
        assert!(!recent.contains(1) && recent.contains(2));
    }

    #[test]
    fn one_that_comes_again_is_the_newest_again() {
        let mut recent = Recent::<3>::default();
        [1, 2, 3, 1, 4].into_iter().for_each(|hash| recent.push(hash));
        assert_eq!(recent.as_slice(), [3, 1, 4]);
        assert!(recent.is_newest(4) && !recent.is_newest(1));
    }
}
