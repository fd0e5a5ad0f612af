//! Which JSON containers are open, as one bit each: memory grows by one bit per level, and nothing recurses.

/// The open containers.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    pub(super) depth: usize,
    /// The innermost containers, up to 64: one bit each, 1 for an object, the innermost one in the lowest bit.
    inner: u64,
    /// The same for the containers around those.
    outer: Vec<u64>,
}

impl Nesting {
    pub(super) fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    pub(super) fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or(0);
        }
    }

    pub(super) fn is_object(&self) -> bool {
        self.inner & 1 == 1
    }

    /// The byte that closes the innermost container.
    pub(super) fn closing(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}
