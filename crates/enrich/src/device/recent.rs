//! A short memory of identifiers, by their hash: those that were new last. One that is met again keeps its place.
use std::sync::Arc;

/// At most `N` hashes, oldest first. A copy shares them until one of the two changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recent<const N: usize>(Option<Arc<[u64]>>);

impl<const N: usize> Recent<N> {
    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.as_slice().contains(&hash)
    }

    /// Adds one that is not there; the oldest makes room.
    pub(crate) fn push(&mut self, hash: u64) {
        let known = self.as_slice();
        let forgotten = (known.len() + 1).saturating_sub(N);
        self.0 = Some(known[forgotten..].iter().copied().chain([hash]).collect());
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |hashes| ARC + size_of_val(&**hashes))
    }
}

/// Two counters stand before what an `Arc` points to.
pub(crate) const ARC: usize = 2 * size_of::<usize>();

impl<const N: usize> From<Vec<u64>> for Recent<N> {
    fn from(hashes: Vec<u64>) -> Self {
        Self((!hashes.is_empty()).then(|| hashes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::<3>::default();
        (1..=4).for_each(|hash| recent.push(hash));
        assert_eq!(recent.as_slice(), [2, 3, 4]);
        assert!(!recent.contains(1) && recent.contains(2));
    }
}
