//! A set of rows of a batch.
use event::MAX_ROWS;

const WORDS: usize = MAX_ROWS.div_ceil(64);

/// A set of rows of a batch, one bit per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask([u64; WORDS]);

impl Mask {
    /// No row.
    pub(super) const NONE: Self = Self([0; WORDS]);

    /// The first `rows` rows.
    #[inline]
    pub(super) fn first(rows: usize) -> Self {
        let mut mask = Self::NONE;
        for (nth, word) in mask.0.iter_mut().enumerate() {
            let here = rows.saturating_sub(nth * 64).min(64);
            *word = if here == 64 { u64::MAX } else { (1 << here) - 1 };
        }
        mask
    }

    /// Adds a row if `is_in`.
    #[inline]
    pub(super) fn set(&mut self, row: usize, is_in: bool) {
        self.0[row / 64] |= u64::from(is_in) << (row % 64);
    }

    /// Whether a row is in it.
    #[inline]
    pub(super) fn has(&self, row: u32) -> bool {
        self.0[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// Whether no row is in it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Keeps the rows that are in both.
    #[inline]
    pub(super) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// Adds the rows of the other.
    #[inline]
    pub(super) fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Its rows in order.
    #[inline]
    pub(super) fn rows(&self) -> impl Iterator<Item = u32> {
        self.0.iter().enumerate().flat_map(|(nth, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(nth as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_returns_its_rows_in_order() {
        let mut mask = Mask::NONE;
        let rows = [0, 1, 63, 64, 127, 128, 499];
        rows.iter().for_each(|&row| mask.set(row as usize, true));
        assert_eq!(mask.rows().collect::<Vec<u32>>(), rows);
        assert!(mask.has(499) && !mask.has(498) && !mask.is_empty() && Mask::NONE.is_empty());
        for count in [0, 1, 63, 64, 65, MAX_ROWS] {
            assert_eq!(Mask::first(count).rows().count(), count);
        }
    }
}
