//! Texts by their number in the batch, which is cheaper to compare than the text.
use event::{Batch, Field, TextRef};

/// The number of a row's text; 0 for the empty text.
pub(crate) fn text_ref(batch: &Batch, field: Field, row: usize) -> TextRef {
    batch.text_column(field).get(row).copied().unwrap_or(0)
}
