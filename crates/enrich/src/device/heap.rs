//! What shared pointers add to the memory of a device.

/// Bytes of the two counters in front of the value of an `Rc`.
pub(crate) const RC_COUNTERS: usize = 2 * size_of::<usize>();
