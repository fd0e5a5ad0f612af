//! The table of defects: changes of a small valid event after which exactly one code is correct.

use crate::expected_code::ExpectedCode;

/// One change of a member of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Drop(&'static str),
    /// Replaces or adds a member; the value is raw JSON.
    Set(&'static str, &'static str),
    /// Repeats the member.
    Again(&'static str),
    /// Sets a text of this many bytes.
    Long(&'static str, usize),
    /// Sets an object that has only a text of this many bytes under a key.
    LongIn(&'static str, &'static str, usize),
    /// Sets an object with this many keys.
    Keys(&'static str, usize),
}
use Change::{Again, Drop, Keys, Long, LongIn, Set};

/// Changes that are made together.
pub(crate) type Defect = &'static [Change];

/// Values that are not UTF-8: stray bytes, a truncated sequence, an overlong one, a surrogate, GBK.
pub(crate) const NOT_UTF8: [&[u8]; 5] =
    [b"\"\xff\xfe\"", b"\"\xf0\x9f\x98\"", b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xc4\xe3\xba\xc3\""];

/// Records that are neither an event nor an array of events.
pub(crate) const BYTES: [&[u8]; 6] =
    [b"", b"[]", b"hello", b"{'event_name':'share'}", b"<event/>", b"event_name=share&app_id=web-main"];

pub(crate) const DEFECTS: &[(ExpectedCode, &[Defect])] = &[
    (
        ExpectedCode::DuplicateKey,
        &[
            &[Again("event_name")],
            &[Again("app_id")],
            &[Again("event_id")],
            &[Again("library")],
            &[Again("page")],
        ],
    ),
    (
        ExpectedCode::UnsupportedSchema,
        &[&[Set("schema_version", "\"2-0-0\"")], &[Set("schema_version", "\"9-1-4\"")]],
    ),
    (
        ExpectedCode::MissingField,
        &[
            &[Drop("schema_version")],
            &[Drop("event_id")],
            &[Drop("event_name")],
            &[Drop("app_id")],
            &[Drop("platform")],
            &[Drop("original_timestamp")],
            &[Drop("library")],
            &[Drop("anonymous_id")],
            &[Set("event_name", "null")],
            &[Set("library", "{\"name\":\"web-sdk\"}")],
            &[Set("library", "{\"version\":\"2.3.1\"}")],
            &[Set("platform", "\"android\""), Drop("app_version")],
            &[Set("platform", "\"web\""), Drop("page")],
            &[Set("platform", "\"h5\""), Set("page", "{\"title\":\"no url\"}")],
            &[Set("event_name", "\"login\"")],
            &[Set("event_name", "\"content_view\"")],
            &[Set("event_name", "\"playback_ping\""), Set("content", "{\"id\":\"v1\"}")],
            &[Set("event_name", "\"vip_opened\""), Set("commerce", "{\"product_type\":\"vip\"}")],
        ],
    ),
    (
        ExpectedCode::InvalidType,
        &[
            &[Set("event_name", "5")],
            &[Set("app_id", "7")],
            &[Set("anonymous_id", "123456789")],
            &[Set("event_index", "1.0")],
            &[Set("event_index", "\"3\"")],
            &[Set("is_test", "\"yes\"")],
            &[Set("device", "[]")],
            &[Set("properties", "[1,2]")],
            &[Set("page", "\"https://www.example.tv/\"")],
            &[Set("experiments", "{\"home_feed_rank\":1}")],
            &[Set("user_id", "10086")],
            &[Set("library", "\"web-sdk\"")],
            &[Set("commerce", "{\"order_id\":\"o1\",\"quantity\":1.5}")],
            &[Set("commerce", "{\"order_id\":\"o1\",\"revenue_minor\":\"1500\"}")],
        ],
    ),
    (
        ExpectedCode::InvalidValue,
        &[
            &[Set("event_name", "\"Page View\"")],
            &[Set("event_name", "\"9lives\"")],
            &[Set("platform", "\"tv\"")],
            &[Set("platform", "\"Android\"")],
            &[Set("app_id", "\"Web_Main\"")],
            &[Set("event_id", "\"not-a-uuid\"")],
            &[Set("event_id", "\"00000000-0000-0000-0000-000000000000\"")],
            &[Set("event_id", "\"6ba7b8109dad11d180b400c04fd430c8\"")],
            &[Set("activity_event_id", "\"spring_creators_enter\"")],
            &[Set("activity_event_id", "\"spring-creators\"")],
            &[Set("event_index", "-1")],
            &[Set("event_index", "18446744073709551616")],
            &[Set("commerce", "{\"order_id\":\"o1\",\"quantity\":-1}")],
            &[Long("anonymous_id", 129)],
            &[Long("session_id", 65)],
            &[Long("event_name", 65)],
            &[Long("app_id", 65)],
            &[Long("user_id", 129)],
            &[Long("install_source", 65)],
            &[Long("click_id", 257)],
            &[Long("locale", 257)],
            &[LongIn("device", "model", 129)],
            &[LongIn("campaign", "name", 257)],
            &[LongIn("commerce", "entry_point", 129)],
            &[LongIn("content", "id", 257)],
            &[LongIn("playback", "id", 257)],
            &[LongIn("experiments", "home_feed_rank", 257)],
            &[LongIn("screen", "name", 257)],
            &[Set("commerce", "{\"order_id\":\"o1\",\"quantity\":1000001}")],
            &[Set("commerce", "{\"order_id\":\"o1\",\"revenue_minor\":1000000000001}")],
            &[Set("commerce", "{\"order_id\":\"o1\",\"revenue_minor\":-9223372036854775808}")],
            &[Set("playback", "{\"id\":\"p1\",\"played_ms\":86400001}")],
            &[Set("playback", "{\"id\":\"p1\",\"rebuffer_ms\":9223372036854775807}")],
            &[Set("playback", "{\"id\":\"p1\",\"position_ms\":2592000001}")],
            &[Set("content", "{\"id\":\"v1\",\"duration_ms\":2592000001}")],
            &[Set("upload", "{\"id\":\"u1\",\"step\":\"edit\",\"bytes\":1125899906842625}")],
            &[Keys("properties", 129)],
            &[Keys("experiments", 33)],
        ],
    ),
    (
        ExpectedCode::ForbiddenId,
        &[
            &[Set("anonymous_id", "\"null\"")],
            &[Set("anonymous_id", "\"undefined\"")],
            &[Set("anonymous_id", "\"0\"")],
            &[Set("anonymous_id", "\"-1\"")],
            &[Set("anonymous_id", "\"(null)\"")],
            &[Set("anonymous_id", "\"NaN\"")],
            &[Set("anonymous_id", "\"None\"")],
            &[Set("anonymous_id", "\"[object Object]\"")],
            &[Set("anonymous_id", "\"02:00:00:00:00:00\"")],
            &[Set("anonymous_id", "\"ffffffffffffffff\"")],
            &[Set("anonymous_id", "\"\\u200b\"")],
            &[Set("anonymous_id", "\" \"")],
            &[Set("anonymous_id", "\"guest\"")],
            &[Set("anonymous_id", "\" UNKNOWN \"")],
            &[Set("anonymous_id", "\"00000000-0000-0000-0000-000000000000\"")],
        ],
    ),
    (ExpectedCode::UnknownApp, &[&[Set("app_id", "\"nobody-knows\"")], &[Set("app_id", "\"web-main-old\"")]]),
    (ExpectedCode::UnknownEvent, &[&[Set("event_name", "\"never_heard_of\"")]]),
    (
        ExpectedCode::InvalidTimestamp,
        &[
            &[Set("original_timestamp", "\"yesterday\"")],
            &[Set("original_timestamp", "\"2026-02-30T00:00:00Z\"")],
            &[Set("original_timestamp", "\"2026-03-01T12:00:00\"")],
            &[Set("original_timestamp", "\"1772366400123\"")],
            &[Set("original_timestamp", "true")],
            &[Set("original_timestamp", "\"\"")],
            &[Set("sent_at", "\"soon\"")],
        ],
    ),
];
