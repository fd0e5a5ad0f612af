//! The raw event as a table: every field a client may send, in the order in which fields are checked, with its
//! rule, when it is required, and its field in the batch. Parsing, validation and encoding all use this table.
mod field;
mod key_table;
mod names;
mod table;

pub(crate) use field::{ContractField, FieldGroup, FieldRule, Required, SHORT_BYTES};
pub(crate) use names::STANDARD_NAMES;
pub(crate) use table::{
    ANONYMOUS_ID, ANONYMOUS_ID_CHARACTERS, APP_ID, CONTRACT_FIELDS, ENVELOPE, LIBRARY_NAME, PLACES, PLATFORM,
};
