//! Column types that several tables share.

/// Texts with few values.
pub(super) const TEXT: &str = "LowCardinality(String)";
/// The sketch of a distinct count.
pub(super) const SKETCH_STATE: &str = "uniqCombined64State(14)";
