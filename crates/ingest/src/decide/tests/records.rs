//! Records as a whole: size, encoding, JSON, nesting, repeated keys, arrays, and bytes that are no event.
use super::*;

#[test]
fn earlier_records_do_not_change_a_verdict() {
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
        let Ok(()) = decide(Some(record.as_bytes()), RECEIVED_AT, &policy(), order, |decision| {
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
fn events_may_nest_eight_deep() {
    check(nested(8), &[None]);
    check(nested(9), &[Some((Code::TooDeep, "/properties"))]);
    check(nested(20_000), &[Some((Code::TooDeep, "/properties"))]);
    check(nested(20_000).replace("1}", "1"), &[Some((Code::MalformedJson, ""))]);
    let brackets_in_text = with(&[("properties", json!({"a": "[[[[[[[[[[{{{{{{{{{{"}))]);
    check(brackets_in_text, &[None]);
}

#[test]
fn size_is_checked_first_and_encoding_second() {
    let mut exact = with(&[]).into_bytes();
    exact.resize(Limits::EVENT_BYTES, b' ');
    check(&exact, &[None]);
    exact.push(0xff);
    check(&exact, &[Some((Code::TooLarge, ""))]);
    check(b"{\"a\":\xff[[[", &[Some((Code::NotUtf8, ""))]);
    check([b"[".as_slice(), with(&[]).as_bytes(), b",\xff]"].concat(), &[Some((Code::NotUtf8, ""))]);
}

#[test]
fn an_array_has_its_own_limit() {
    let array = |bytes: usize| {
        let mut array = format!("[{}", with(&[])).into_bytes();
        array.resize(bytes - 1, b' ');
        array.push(b']');
        array
    };
    check(array(Limits::ARRAY_BYTES), &[None]);
    check(array(Limits::ARRAY_BYTES + 1), &[Some((Code::TooLarge, ""))]);
}

#[test]
fn a_record_without_an_event_is_malformed() {
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
    let Ok(()) = decide(None, RECEIVED_AT, &policy(), &mut KeyOrder::default(), |decision| {
        assert!(matches!(&decision.verdict, Verdict::Reject(r) if r.code == Code::MalformedJson));
        decided += 1;
        Ok::<_, Infallible>(())
    });
    assert_eq!(decided, 1);
}

#[test]
fn a_repeated_key_is_rejected_at_the_top_level_only() {
    let twice = |key: &str, json: &str| with(&[]).replacen('{', &format!("{{\"{key}\":{json},"), 1);
    check(twice("platform", "\"ios\""), &[Some((Code::DuplicateKey, "/platform"))]);
    check(twice("p\\u006catform", "1"), &[Some((Code::DuplicateKey, "/platform"))]);
    check(twice("x", "1,\"x\":2"), &[Some((Code::DuplicateKey, "/x"))]);
    check(twice("page", r#"{"url":1,"url":"u"}"#), &[None]);
    check(twice("experiments", r#"{"a":1,"a":"x"}"#), &[None]);
}

#[test]
fn a_bad_element_does_not_affect_its_neighbours() {
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
fn a_rejected_event_keeps_its_bytes_and_readable_labels() {
    let bad = with(&[
        ("event_id", json!("x")),
        ("app_id", json!("b".repeat(100))),
        ("library/name", json!("j\u{e9}")),
    ]);
    let record = format!(" [ {bad} , 7 ] ");
    let mut kept = Vec::new();
    let Ok(()) =
        decide(Some(record.as_bytes()), RECEIVED_AT, &policy(), &mut KeyOrder::default(), |decision| {
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
        prop_assert!(!verdicts(&bytes, &policy()).is_empty());
    }

    #[test]
    fn a_damaged_event_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = with(&[("page/url", json!("u")), ("experiments", json!({"a": "b"}))]).into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        prop_assert_eq!(verdicts(&bytes, &policy()).len(), 1);
    }

    #[test]
    fn json_like_text_never_panics(text in r#"(\[|\{|\]|\}|"[a-z]{0,3}"|:|,|\\u[d0][89c]00|1|\-|null| ){0,60}"#) {
        prop_assert!(!verdicts(text.as_bytes(), &policy()).is_empty());
    }
}
