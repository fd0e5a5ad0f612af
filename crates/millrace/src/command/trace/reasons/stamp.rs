//! A stamp with its reason.
use serde::Serialize;

/// A value that a stage has stamped on the event, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StampReason {
    pub(crate) stamp: &'static str,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl StampReason {
    pub(super) fn new(stamp: &'static str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { stamp, value: value.into(), reason: reason.into() }
    }
}
