//! The batch in a record of `enriched-events`.
use event::Batch;

use super::lane_fold::{Input, Unreadable};

/// Reads the batch of a record.
pub(super) fn decode(input: &Input<'_>) -> Result<Batch, Unreadable> {
    let Some(value) = input.value else {
        return Err(Unreadable::Foreign("the message has no value".into()));
    };
    Batch::decode(value).map_err(|error| {
        let reason = error.to_string();
        if error.is_newer() { Unreadable::Newer(reason) } else { Unreadable::Foreign(reason) }
    })
}
