//! The error of a command.

/// Why a command failed; printed as one line.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;
