//! What becomes of a record: one verdict for the whole of it, or one for each event in it. The order is the
//! contract's: too large, not UTF-8, no JSON, too deep, a key twice, then the fields.
//!
//! A record is one event or an array of them. An array is judged as text and as JSON in one piece, since nobody can
//! say where the elements of broken JSON end; from there on each element is judged alone, and a bad one never
//! spoils its neighbours.
use event::{Limits, RejectCode, Rejection, Verdict};

use crate::{
    json::Reader,
    parse::{Event, KeyOrder, malformed_json, parse},
    validate::{Facts, Rules, validate},
};

/// The verdict on one event, or on a whole record that holds none that could be told apart.
#[derive(Debug)]
pub struct Decision<'d, 'a> {
    /// Place in the record's array; 0 for a single event or the whole record.
    pub index: usize,
    /// The exact bytes the verdict is about.
    pub bytes: &'a [u8],
    /// What could be read of the event; with a refusal that may be nothing.
    pub event: &'d Event<'a>,
    /// Whether the event goes on.
    pub verdict: Verdict<Facts>,
}

/// Judges a record and hands each decision to `settle`, in order. `received_at` is the record's own time, epoch
/// milliseconds.
///
/// # Errors
/// The first error of `settle`.
pub fn decide<'a, E>(
    value: Option<&'a [u8]>,
    received_at: i64,
    rules: &Rules,
    order: &mut KeyOrder,
    mut settle: impl FnMut(Decision<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = value.unwrap_or_default();
    let mut judge = |index, bytes: &'a [u8], content: Result<&'a str, Rejection>| {
        let mut event = Event::default();
        let judged = content.and_then(|json| {
            parse(json, &mut event, order)?;
            validate(&mut event, rules, received_at)
        });
        let verdict = judged.map_or_else(Verdict::Reject, Verdict::Emit);
        settle(Decision { index, bytes, event: &event, verdict })
    };
    if !is_array(bytes) {
        return judge(0, bytes, event_text(bytes));
    }
    match split(bytes) {
        Ok(elements) => elements.into_iter().enumerate().try_for_each(|(index, element)| {
            let text = check_size(element.as_bytes()).map(|()| element);
            judge(index, element.as_bytes(), text)
        }),
        Err(rejection) => judge(0, bytes, Err(rejection)),
    }
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) == Some(&b'[')
}

fn event_text(bytes: &[u8]) -> Result<&str, Rejection> {
    check_size(bytes)?;
    utf8(bytes)
}

fn check_size(bytes: &[u8]) -> Result<(), Rejection> {
    if bytes.len() <= Limits::EVENT_BYTES {
        return Ok(());
    }
    let message =
        format!("the event has {} bytes, {} at most: send less with it", bytes.len(), Limits::EVENT_BYTES);
    Err(Rejection::new(RejectCode::TooLarge, "", message))
}

fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| {
        let message = format!("no UTF-8 at byte {}: send JSON in UTF-8, uncompressed", error.valid_up_to());
        Rejection::new(RejectCode::NotUtf8, "", message)
    })
}

/// The exact texts of an array's elements.
fn split(bytes: &[u8]) -> Result<Vec<&str>, Rejection> {
    let mut reader = Reader::new(utf8(bytes)?);
    let (mut elements, mut count) = (Vec::new(), 0);
    let read = reader.elements(|_, element| {
        count += 1;
        if count <= Limits::ARRAY_EVENTS {
            elements.push(element);
        }
    });
    read.and_then(|()| reader.end()).map_err(malformed_json)?;
    if count == 0 {
        return Err(Rejection::new(
            RejectCode::MalformedJson,
            "",
            "the array is empty: send 1 to 500 events",
        ));
    }
    if count > Limits::ARRAY_EVENTS {
        let message =
            format!("{count} events in one record, {} at most: send more records", Limits::ARRAY_EVENTS);
        return Err(Rejection::new(RejectCode::InvalidValue, "", message));
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RejectCode as Code;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::{convert::Infallible, time::Duration};

    const RECEIVED_AT: i64 = 1_772_452_800_000; // 2026-03-02T12:00:00Z

    fn rules() -> Rules {
        Rules::new(["web-main".to_owned()], false, Duration::from_secs(7 * 86_400))
    }

    fn valid() -> Value {
        json!({
            "schema_version": "1-0-0", "event_id": "01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e", "event_name": "search",
            "app_id": "web-main", "platform": "ios", "app_version": "1.0", "original_timestamp": RECEIVED_AT - 5,
            "anonymous_id": "d1", "library": {"name": "l", "version": "1"},
        })
    }

    /// A valid event with some fields set, `content/tags` style; null takes a field away.
    fn with(fields: &[(&str, Value)]) -> String {
        let mut event = valid();
        for (path, value) in fields {
            let (object, key) = match path.split_once('/') {
                Some((object, key)) => (&mut event[object], key),
                None => (&mut event, *path),
            };
            if object.is_null() {
                *object = json!({});
            }
            let Some(object) = object.as_object_mut() else { panic!("{path}") };
            if value.is_null() {
                object.remove(key);
            } else {
                object.insert(key.to_owned(), value.clone());
            }
        }
        event.to_string()
    }

    fn verdicts(record: &[u8], rules: &Rules) -> Vec<Result<(), (Code, String)>> {
        let mut verdicts = Vec::new();
        let Ok(()) = decide(Some(record), RECEIVED_AT, rules, &mut KeyOrder::default(), |decision| {
            assert_eq!(decision.index, verdicts.len());
            verdicts.push(match decision.verdict {
                Verdict::Emit(_) => Ok(()),
                Verdict::Reject(rejection) => {
                    assert!(
                        !rejection.message.is_empty() && rejection.message.len() <= Rejection::MAX_MESSAGE
                    );
                    Err((rejection.code, rejection.pointer.into_owned()))
                }
                Verdict::Drop(reason) => panic!("{reason:?}"),
            });
            Ok::<_, Infallible>(())
        });
        verdicts
    }

    #[track_caller]
    fn check(record: impl AsRef<[u8]>, expected: &[Option<(Code, &str)>]) {
        let found = verdicts(record.as_ref(), &rules());
        let expected: Vec<_> = expected
            .iter()
            .map(|verdict| verdict.map_or(Ok(()), |(code, at)| Err((code, at.to_owned()))))
            .collect();
        let shown = String::from_utf8_lossy(record.as_ref());
        assert_eq!(found, expected, "{}", shown.chars().take(500).collect::<String>());
    }

    #[track_caller]
    fn accepted(fields: &[(&str, Value)]) {
        check(with(fields), &[None]);
    }

    #[track_caller]
    fn refused(code: Code, pointer: &str, fields: &[(&str, Value)]) {
        check(with(fields), &[Some((code, pointer))]);
    }

    #[test]
    fn what_was_read_before_changes_no_verdict() {
        let page = ("page", json!({"url": "https://www.example.tv/", "title": "t"}));
        let records = [
            with(&[]),
            with(&[page.clone(), ("platform", json!("web"))]),
            with(&[page, ("event_name", Value::Null)]),
            with(&[("library", json!({"version": "1", "name": "l", "name_": 1}))]),
            with(&[]).replacen("\"platform\":\"ios\"", "\"platform\":\"ios\",\"platform\":\"ios\"", 1),
            with(&[]).replacen("\"platform\":\"ios\"", "\"platform\" : \"ios\" , \"unknown\":1", 1),
            with(&[("anonymous_id", json!("d\u{7}"))]),
            with(&[("event_index", json!(0))]),
            with(&[("event_index", json!(12))]).replace("12", "12 "),
            with(&[("event_index", json!(12))]).replace("12", "12x"),
        ];
        let read = |record: &str, order: &mut KeyOrder| {
            let mut read = String::new();
            let Ok(()) = decide(Some(record.as_bytes()), RECEIVED_AT, &rules(), order, |decision| {
                read = format!("{:?} {:?}", decision.verdict, decision.event);
                Ok::<_, Infallible>(())
            });
            read
        };
        let mut order = KeyOrder::default();
        for _ in 0..2 {
            for record in records.iter().chain(records.iter().rev()) {
                assert_eq!(read(record, &mut order), read(record, &mut KeyOrder::default()), "{record}");
            }
        }
    }

    #[test]
    fn every_required_field_is_missed_by_name() {
        accepted(&[]);
        for field in [
            "schema_version",
            "event_id",
            "event_name",
            "app_id",
            "platform",
            "original_timestamp",
            "anonymous_id",
            "library",
        ] {
            refused(Code::MissingField, &format!("/{field}"), &[(field, Value::Null)]);
            let null = with(&[]).replacen(&format!("\"{field}\":"), &format!("\"{field}\":null,\"x\":"), 1);
            check(null, &[Some((Code::MissingField, &format!("/{field}")))]);
        }
        refused(Code::MissingField, "/library/name", &[("library/name", Value::Null)]);
        refused(Code::MissingField, "/library/version", &[("library/version", Value::Null)]);
    }

    #[test]
    fn platform_and_name_decide_what_else_is_required() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("platform", "web", Some("/page")),
            ("platform", "h5", Some("/page")),
            ("platform", "mini_program", None),
            ("event_name", "login", Some("/user_id")),
            ("event_name", "register", Some("/user_id")),
            ("event_name", "content_view", Some("/content")),
            ("event_name", "playback_ping", Some("/content")),
            ("event_name", "upload_step", Some("/content")),
            ("event_name", "vip_opened", Some("/commerce")),
            ("event_name", "gift_sent", Some("/commerce")),
            ("event_name", "vip_page_viewed", None),
            ("event_name", "creator_level_changed", Some("/creator")),
            ("event_name", "contentment", None),
            ("event_name", "upload_steps", None),
        ];
        for (field, value, missing) in cases {
            let expected = missing.map(|pointer| (Code::MissingField, pointer));
            check(with(&[(field, json!(value))]), &[expected]);
        }
        let content = ("content/id", json!("c1"));
        refused(Code::MissingField, "/playback", &[("event_name", json!("playback_ping")), content.clone()]);
        refused(Code::MissingField, "/upload", &[("event_name", json!("upload_step")), content]);
        let order = [("event_name", json!("gift_sent")), ("commerce/gift_id", json!("g"))];
        refused(Code::MissingField, "/commerce/order_id", &order);
        for platform in ["ios", "android", "pc"] {
            refused(
                Code::MissingField,
                "/app_version",
                &[("platform", json!(platform)), ("app_version", Value::Null)],
            );
        }
        accepted(&[
            ("platform", json!("server")),
            ("app_version", Value::Null),
            ("anonymous_id", Value::Null),
        ]);
    }

    #[test]
    fn an_object_that_is_sent_needs_its_own_required_fields() {
        for object in ["page", "content", "playback", "upload", "creator"] {
            let first = if object == "page" { "url" } else { "id" };
            refused(Code::MissingField, &format!("/{object}/{first}"), &[(&format!("{object}/x"), json!(1))]);
        }
        refused(Code::MissingField, "/upload/step", &[("upload/id", json!("u"))]);
        for object in ["device", "screen", "campaign", "commerce", "properties", "experiments"] {
            accepted(&[(object, json!({}))]);
            refused(Code::InvalidType, &format!("/{object}"), &[(object, json!([]))]);
        }
    }

    #[test]
    fn lengths_count_characters() {
        let limits: &[(&str, usize)] = &[
            ("app_version", 32),
            ("anonymous_id", 128),
            ("user_id", 128),
            ("session_id", 64),
            ("user_agent", 1024),
            ("click_id", 256),
            ("click_id_type", 256),
            ("install_source", 64),
        ];
        for &(field, most) in limits {
            for character in ["x", "活", "😀"] {
                accepted(&[(field, json!(character.repeat(most)))]);
                refused(
                    Code::InvalidValue,
                    &format!("/{field}"),
                    &[(field, json!(character.repeat(most + 1)))],
                );
            }
            let escaped = with(&[(field, json!("@"))]).replace('@', &"\\u6d3b".repeat(most));
            check(escaped, &[None]);
        }
    }

    #[test]
    fn values_outside_the_contract_are_refused_where_they_stand() {
        let cases: &[(&str, Value)] = &[
            ("schema_version", json!("1-0")),
            ("schema_version", json!("01-0-0")),
            ("event_id", json!("00000000-0000-0000-0000-000000000000")),
            ("event_id", json!("01957b6e5a3c7d219c403f6a1b2c4d5e")),
            ("event_id", json!("{01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e}")),
            ("event_name", json!("")),
            ("event_name", json!("Search")),
            ("event_name", json!("_search")),
            ("event_name", json!("a".repeat(65))),
            ("app_id", json!("Web")),
            ("app_id", json!("")),
            ("platform", json!("tv")),
            ("event_index", json!(-1)),
            ("activity_event_id", json!("a_b_c")),
            ("activity_event_id", json!("a")),
            ("activity_event_id", json!("")),
            ("activity_event_id", json!(format!("{}_b", "a".repeat(41)))),
            ("device/screen_width", json!(-1)),
            ("commerce/quantity", json!(-1)),
        ];
        for (field, value) in cases {
            refused(Code::InvalidValue, &format!("/{field}"), &[(field, value.clone())]);
        }
        refused(
            Code::InvalidValue,
            "/content/source",
            &[("content/id", json!("c")), ("content/source", json!("x"))],
        );
        accepted(&[("commerce/revenue_minor", json!(-2500)), ("activity_event_id", json!("a-1_B2"))]);
        refused(
            Code::UnsupportedSchema,
            "/schema_version",
            &[("schema_version", json!("2-0-0")), ("app_id", json!(1))],
        );
        accepted(&[("schema_version", json!("1-7-3")), ("of_the_future", json!([1]))]);
        accepted(&[("ip", json!("not an address"))]);
    }

    #[test]
    fn numbers_are_judged_as_they_are_written() {
        let count = |digits: &str| with(&[("event_index", json!("@"))]).replace("\"@\"", digits);
        for (digits, expected) in [
            ("0", None),
            ("18446744073709551615", None),
            ("18446744073709551616", Some(Code::InvalidValue)),
            ("99999999999999999999999999999999999999999999999999", Some(Code::InvalidValue)),
            ("-1", Some(Code::InvalidValue)),
            ("1.0", Some(Code::InvalidType)),
            ("1e3", Some(Code::InvalidType)),
            ("1e999", Some(Code::InvalidType)),
            ("\"1\"", Some(Code::InvalidType)),
            ("true", Some(Code::InvalidType)),
        ] {
            check(count(digits), &[expected.map(|code| (code, "/event_index"))]);
        }
        let time = |digits: &str| with(&[("original_timestamp", json!("@"))]).replace("\"@\"", digits);
        for (digits, expected) in [
            ("1772452799999", None),
            ("1772452799999.0", None),
            ("1772452799999.9", None),
            ("1.772452799999e12", None),
            ("1e999", Some(Code::InvalidTimestamp)),
            ("9223372036854775808", Some(Code::InvalidTimestamp)),
            ("\"1772452799999\"", Some(Code::InvalidTimestamp)),
            ("0", Some(Code::TooOld)),
            ("-1", Some(Code::TooOld)),
            ("1772452799", Some(Code::TooOld)),
        ] {
            check(time(digits), &[expected.map(|code| (code, "/original_timestamp"))]);
        }
        let properties = with(&[("properties", json!("@"))])
            .replace("\"@\"", r#"{"huge":1e999,"long":0.1234567890123456789}"#);
        check(properties, &[None]);
    }

    #[test]
    fn age_is_counted_after_the_clock_was_corrected() {
        let week = 7 * 86_400_000;
        accepted(&[("original_timestamp", json!(RECEIVED_AT - week))]);
        refused(
            Code::TooOld,
            "/original_timestamp",
            &[("original_timestamp", json!(RECEIVED_AT - week - 1))],
        );
        let last_year = RECEIVED_AT - 50 * week;
        accepted(&[("original_timestamp", json!(last_year)), ("sent_at", json!(last_year + 1000))]);
        let kept_long = [("original_timestamp", json!(last_year)), ("sent_at", json!(RECEIVED_AT))];
        refused(Code::TooOld, "/original_timestamp", &kept_long);
        refused(Code::InvalidTimestamp, "/sent_at", &[("sent_at", json!("yesterday"))]);
    }

    #[test]
    fn placeholders_are_no_identity() {
        for id in [
            "null",
            " NULL ",
            "undefined",
            "0",
            "guest",
            "Gue-st",
            "unknown",
            "0000",
            "00000000-0000-0000-0000-000000000000",
        ] {
            refused(Code::ForbiddenId, "/anonymous_id", &[("anonymous_id", json!(id))]);
        }
        for id in ["guest-1", "nullable", "00001", "-", " ", "g", "undefinedundefined"] {
            accepted(&[("anonymous_id", json!(id))]);
        }
    }

    #[test]
    fn apps_and_names_are_the_operators_choice() {
        refused(Code::UnknownApp, "/app_id", &[("app_id", json!("other"))]);
        let open = Rules::new([], true, Duration::from_secs(86_400));
        let unlisted = with(&[("app_id", json!("other")), ("event_name", json!("unlisted"))]);
        assert_eq!(verdicts(unlisted.as_bytes(), &open), [Err((Code::UnknownEvent, "/event_name".into()))]);
        assert_eq!(verdicts(with(&[("app_id", json!("other"))]).as_bytes(), &open), [Ok(())]);
    }

    #[test]
    fn limits_of_lists_and_maps() {
        let map = |count: usize| {
            (0..count).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>()
        };
        accepted(&[("experiments", map(32).into()), ("properties", map(128).into())]);
        refused(Code::InvalidValue, "/experiments", &[("experiments", map(33).into())]);
        refused(Code::InvalidValue, "/properties", &[("properties", map(129).into())]);
        refused(Code::InvalidType, "/experiments/a~1b", &[("experiments", json!({"a/b": 1}))]);
        let tags = |count: usize| [("content/id", json!("c")), ("content/tags", json!(vec!["t"; count]))];
        accepted(&tags(20));
        refused(Code::InvalidValue, "/content/tags", &tags(21));
        refused(
            Code::InvalidType,
            "/content/tags/1",
            &[("content/id", json!("c")), ("content/tags", json!(["a", null]))],
        );
        let fill = |bytes: usize| [("properties", json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())}))];
        accepted(&fill(Limits::PROPERTIES_BYTES));
        refused(Code::InvalidValue, "/properties", &fill(Limits::PROPERTIES_BYTES + 1));
    }

    fn nested(depth: usize) -> String {
        with(&[("properties", json!("@"))])
            .replace("\"@\"", &format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)))
    }

    #[test]
    fn eight_deep_is_deep_enough() {
        check(nested(8), &[None]);
        check(nested(9), &[Some((Code::TooDeep, "/properties"))]);
        check(nested(20_000), &[Some((Code::TooDeep, "/properties"))]);
        check(nested(20_000).replace("1}", "1"), &[Some((Code::MalformedJson, ""))]);
        let brackets_in_text = with(&[("properties", json!({"a": "[[[[[[[[[[{{{{{{{{{{"}))]);
        check(brackets_in_text, &[None]);
    }

    #[test]
    fn size_is_decided_first_and_encoding_second() {
        let mut exact = with(&[]).into_bytes();
        exact.resize(Limits::EVENT_BYTES, b' ');
        check(&exact, &[None]);
        exact.push(0xff);
        check(&exact, &[Some((Code::TooLarge, ""))]);
        check(b"{\"a\":\xff[[[", &[Some((Code::NotUtf8, ""))]);
        check([b"[".as_slice(), with(&[]).as_bytes(), b",\xff]"].concat(), &[Some((Code::NotUtf8, ""))]);
    }

    #[test]
    fn what_holds_no_event_is_malformed() {
        for record in [
            "",
            " ",
            "null",
            "5",
            "\"x\"",
            "[]",
            "[ ]",
            "{",
            "{}x",
            "{}{}",
            "\u{feff}{}",
            "[{},]",
            "[{}",
            "[{}]]",
            "[{a}]",
        ] {
            check(record, &[Some((Code::MalformedJson, ""))]);
        }
        let mut decided = 0;
        let Ok(()) = decide(None, RECEIVED_AT, &rules(), &mut KeyOrder::default(), |decision| {
            assert!(matches!(&decision.verdict, Verdict::Reject(r) if r.code == Code::MalformedJson));
            decided += 1;
            Ok::<_, Infallible>(())
        });
        assert_eq!(decided, 1);
    }

    #[test]
    fn a_key_counts_twice_at_the_top_only() {
        let twice = |key: &str, json: &str| with(&[]).replacen('{', &format!("{{\"{key}\":{json},"), 1);
        check(twice("platform", "\"ios\""), &[Some((Code::DuplicateKey, "/platform"))]);
        check(twice("p\\u006catform", "1"), &[Some((Code::DuplicateKey, "/platform"))]);
        check(twice("x", "1,\"x\":2"), &[Some((Code::DuplicateKey, "/x"))]);
        check(twice("page", r#"{"url":1,"url":"u"}"#), &[None]);
        check(twice("experiments", r#"{"a":1,"a":"x"}"#), &[None]);
    }

    #[test]
    fn one_bad_element_never_spoils_its_neighbours() {
        let (good, old) = (with(&[]), with(&[("original_timestamp", json!(5))]));
        let large = with(&[("x", json!("x".repeat(Limits::EVENT_BYTES)))]);
        let lone = with(&[("user_id", json!("@"))]).replace('@', "\\ud800");
        let record = format!("[{good}, {old} ,{large},{},5,{lone},[{good}],{good}]", nested(9));
        check(
            record,
            &[
                None,
                Some((Code::TooOld, "/original_timestamp")),
                Some((Code::TooLarge, "")),
                Some((Code::TooDeep, "/properties")),
                Some((Code::MalformedJson, "")),
                Some((Code::MalformedJson, "")),
                Some((Code::MalformedJson, "")),
                None,
            ],
        );
        check(format!("[{good},{{\"a\":}},{good}]"), &[Some((Code::MalformedJson, ""))]);
        let events = |count| format!("[{}]", vec![good.as_str(); count].join(","));
        check(events(500), &[None; 500]);
        check(events(501), &[Some((Code::InvalidValue, ""))]);
    }

    #[test]
    fn refused_bytes_and_readable_labels_are_kept() {
        let bad = with(&[
            ("event_id", json!("x")),
            ("app_id", json!("b".repeat(100))),
            ("library/name", json!("j\u{e9}")),
        ]);
        let record = format!(" [ {bad} , 7 ] ");
        let mut kept = Vec::new();
        let Ok(()) =
            decide(Some(record.as_bytes()), RECEIVED_AT, &rules(), &mut KeyOrder::default(), |decision| {
                let event = decision.event;
                kept.push((decision.bytes, event.app_id(), event.platform(), event.library()));
                Ok::<_, Infallible>(())
            });
        assert_eq!(kept[0], (bad.as_bytes(), "b".repeat(64).into(), "ios".into(), "jé".into()));
        assert_eq!(kept[1], (b"7".as_slice(), "".into(), "".into(), "".into()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), opening in "[\\[{ ]?") {
            bytes.splice(0..0, opening.bytes());
            prop_assert!(!verdicts(&bytes, &rules()).is_empty());
        }

        #[test]
        fn a_damaged_event_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = with(&[("page/url", json!("u")), ("experiments", json!({"a": "b"}))]).into_bytes();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            prop_assert_eq!(verdicts(&bytes, &rules()).len(), 1);
        }

        #[test]
        fn json_like_text_never_panics(text in r#"(\[|\{|\]|\}|"[a-z]{0,3}"|:|,|\\u[d0][89c]00|1|\-|null| ){0,60}"#) {
            prop_assert!(!verdicts(text.as_bytes(), &rules()).is_empty());
        }
    }
}
