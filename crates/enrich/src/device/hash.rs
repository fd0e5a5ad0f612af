//! The hash under which a device's state keeps texts of the client. It is part of the changelog's format.

/// XXH3 of a text.
pub(crate) fn text_hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}
