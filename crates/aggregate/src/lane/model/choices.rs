//! Pseudo-random choices that follow from a seed alone.

/// Pseudo-random choices that follow from a seed.
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// A number below `of`.
    pub(super) fn choose(&mut self, of: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % of
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.choose(of) == 0
    }

    pub(super) fn index(&mut self, of: usize) -> usize {
        self.choose(of as u64) as usize
    }
}
