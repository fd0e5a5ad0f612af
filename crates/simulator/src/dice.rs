//! The only source of randomness. It is seeded, and no share or range makes it panic.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Dice for one device or video. The same arguments give the same sequence.
    pub(crate) fn of(seed: u64, kind: u64, number: u32) -> Self {
        let mixed = (seed ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd134_2543_de82_ef95);
        Self::new(mixed ^ u64::from(number).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.0.random()
    }

    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// 0 ≤ x < n; 0 when n is 0.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        let draw: u32 = self.0.random();
        ((u64::from(draw) * u64::from(n)) >> 32) as u32
    }

    /// from ≤ x < to.
    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.unit() * (to - from) as f64) as i64
    }

    /// Uniform on a logarithmic scale.
    pub(crate) fn spread(&mut self, from: i64, to: i64) -> i64 {
        let ratio = to as f64 / from.max(1) as f64;
        (from.max(1) as f64 * ratio.powf(self.unit())) as i64
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// One of the entries, by weight.
    pub(crate) fn weighted<T: Copy>(&mut self, of: &[(T, u32)]) -> T {
        let total: u32 = of.iter().map(|(_, weight)| weight).sum();
        let mut draw = self.below(total);
        for &(value, weight) in of {
            if draw < weight {
                return value;
            }
            draw -= weight;
        }
        of[of.len() - 1].0
    }

    /// A rank below `n` with probability ∝ 1/√rank, for devices.
    pub(crate) fn mild_rank(&mut self, n: u32) -> u32 {
        let u = self.unit();
        ((u * u * f64::from(n)) as u32).min(n.saturating_sub(1))
    }

    /// A rank below `n` with probability ∝ 1/rank (Zipf's law), for videos.
    pub(crate) fn zipf_rank(&mut self, n: u32) -> u32 {
        let rank = f64::from(n + 1).powf(self.unit()) as u32;
        rank.saturating_sub(1).min(n.saturating_sub(1))
    }
}
