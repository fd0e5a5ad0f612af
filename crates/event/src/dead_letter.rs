//! What a dead letter has: headers with the reason and the origin, and as much of the original key and value as always
//! fits into a message.
use sha2::{Digest, Sha256};

use crate::limit::DeadLetterLimits;

/// Header names in the topic `dead-letters`. Values are UTF-8 text, numbers in decimal.
pub mod header {
    /// A [`RejectCode`](crate::RejectCode).
    pub const CODE: &str = "code";
    /// One sentence: the field, its value, and what to send instead.
    pub const MESSAGE: &str = "message";
    /// JSON pointer to the invalid field; '' for the whole event or record.
    pub const POINTER: &str = "pointer";
    /// Topic the record was read from.
    pub const ORIGIN_TOPIC: &str = "origin_topic";
    /// Partition the record was read from.
    pub const ORIGIN_PARTITION: &str = "origin_partition";
    /// Offset the record was read from.
    pub const ORIGIN_OFFSET: &str = "origin_offset";
    /// Last offset of a range that cannot be decoded; its first one is [`ORIGIN_OFFSET`].
    pub const ORIGIN_LAST_OFFSET: &str = "origin_last_offset";
    /// Position of the event in the record's array; 0 for a single event or a whole record.
    pub const ORIGIN_INDEX: &str = "origin_index";
    /// The stage that rejected it: `ingest`, `enrich` or `aggregate`.
    pub const STAGE: &str = "stage";
    /// Version of that program.
    pub const VERSION: &str = "version";
    /// The event's `app_id`, if it could be read.
    pub const APP_ID: &str = "app_id";
    /// The event's `platform`, if it could be read.
    pub const PLATFORM: &str = "platform";
    /// The event's `library.name`, if it could be read.
    pub const LIBRARY: &str = "library";
    /// When the broker received the raw record, epoch milliseconds.
    pub const RECEIVED_AT: &str = "received_at";
    /// Length of the record's key in bytes. Only if the dead letter has its first bytes instead of the whole key.
    pub const KEY_BYTES: &str = "key_bytes";
    /// Length of the rejected value in bytes. Only if the dead letter has its first bytes instead of the whole value.
    pub const VALUE_BYTES: &str = "value_bytes";
    /// SHA-256 of the whole value, in hexadecimal. Only if the dead letter has its first bytes only.
    pub const VALUE_SHA256: &str = "value_sha256";
    /// `1` if the dead letter has only the first bytes of the value; else the header is absent.
    pub const VALUE_TRUNCATED: &str = "value_truncated";
}

/// What a dead letter keeps of a key and a value, and the headers that say what was cut. The record at the origin has
/// all bytes until retention deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBytes<'a> {
    /// The key, or its first bytes.
    pub key: Option<&'a [u8]>,
    /// The value, or its first bytes.
    pub value: &'a [u8],
    cut: Vec<(&'static str, String)>,
}

impl<'a> KeptBytes<'a> {
    /// For a dead letter of a whole record.
    pub fn of_record(key: Option<&'a [u8]>, value: &'a [u8]) -> Self {
        Self::with_limit(key, value, DeadLetterLimits::VALUE_BYTES)
    }

    /// For a dead letter of one element of an array: each of them has the record's key.
    pub fn of_element(key: Option<&'a [u8]>, value: &'a [u8]) -> Self {
        let key_bytes = key.map_or(0, |key| key.len().min(DeadLetterLimits::KEY_BYTES));
        Self::with_limit(key, value, DeadLetterLimits::VALUE_BYTES - key_bytes)
    }

    /// Headers for the dead letter beside those with reason and origin. None of them if nothing was cut.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.cut.iter().map(|(name, value)| (*name, value.as_str()))
    }

    fn with_limit(key: Option<&'a [u8]>, value: &'a [u8], most: usize) -> Self {
        let mut cut = Vec::new();
        let kept_key = key.map(|key| key.get(..DeadLetterLimits::KEY_BYTES).unwrap_or(key));
        if let (Some(key), Some(kept)) = (key, kept_key)
            && kept.len() < key.len()
        {
            cut.push((header::KEY_BYTES, key.len().to_string()));
        }
        let mut kept_value = value;
        if value.len() > most {
            kept_value = value.get(..DeadLetterLimits::CUT_VALUE_BYTES).unwrap_or(value);
            cut.push((header::VALUE_BYTES, value.len().to_string()));
            cut.push((header::VALUE_SHA256, sha256(value)));
            cut.push((header::VALUE_TRUNCATED, "1".into()));
        }
        Self { key: kept_key, value: kept_value, cut }
    }
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: usize = DeadLetterLimits::KEY_BYTES;
    const VALUE: usize = DeadLetterLimits::VALUE_BYTES;
    const CUT: usize = DeadLetterLimits::CUT_VALUE_BYTES;

    #[test]
    fn a_value_is_whole_up_to_one_mebibyte_and_a_key_up_to_one_kibibyte() {
        let (key, value) = (vec![b'k'; KEY + 1], vec![b'v'; VALUE + 1]);
        for (key_bytes, value_bytes, kept_key, kept_value, headers) in [
            (0, 0, 0, 0, &[][..]),
            (KEY, VALUE, KEY, VALUE, &[]),
            (KEY + 1, VALUE, KEY, VALUE, &[header::KEY_BYTES]),
            (KEY, VALUE + 1, KEY, CUT, &[header::VALUE_BYTES, header::VALUE_SHA256, header::VALUE_TRUNCATED]),
        ] {
            let kept = KeptBytes::of_record(Some(&key[..key_bytes]), &value[..value_bytes]);
            assert_eq!((kept.key.map(<[u8]>::len), kept.value.len()), (Some(kept_key), kept_value));
            assert_eq!(kept.headers().map(|header| header.0).collect::<Vec<_>>(), headers);
        }
        assert_eq!(KeptBytes::of_record(None, b"").key, None);
    }

    #[test]
    fn key_and_value_of_an_element_have_one_mebibyte_together() {
        let (key, value) = (vec![b'k'; 2 * KEY], vec![b'v'; VALUE]);
        let kept = KeptBytes::of_element(Some(&key), &value[..VALUE - KEY]);
        assert_eq!((kept.key.map(<[u8]>::len), kept.value.len()), (Some(KEY), VALUE - KEY));
        assert_eq!(KeptBytes::of_element(Some(&key), &value[..VALUE - KEY + 1]).value.len(), CUT);
        assert_eq!(KeptBytes::of_element(None, &value).value.len(), VALUE);
    }

    #[test]
    fn the_headers_tell_length_and_hash_of_what_was_cut() {
        let value = vec![b'a'; 2 * VALUE];
        let kept = KeptBytes::of_record(None, &value);
        // head -c 2097152 /dev/zero | tr '\0' a | sha256sum
        let hash = "5256ec18f11624025905d057d6befb03d77b243511ac5f77ed5e0221ce6d84b5";
        let expected = [("value_bytes", "2097152"), ("value_sha256", hash), ("value_truncated", "1")];
        assert_eq!(kept.headers().collect::<Vec<_>>(), expected);
    }
}
