//! Which value of which field is rejected, with which code and at which pointer.
use super::*;

#[test]
fn a_missing_required_field_is_named() {
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
        rejected(Code::MissingField, &format!("/{field}"), &[(field, Value::Null)]);
        let null = with(&[]).replacen(&format!("\"{field}\":"), &format!("\"{field}\":null,\"x\":"), 1);
        check(null, &[Some((Code::MissingField, &format!("/{field}")))]);
    }
    rejected(Code::MissingField, "/library/name", &[("library/name", Value::Null)]);
    rejected(Code::MissingField, "/library/version", &[("library/version", Value::Null)]);
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
    rejected(Code::MissingField, "/playback", &[("event_name", json!("playback_ping")), content.clone()]);
    rejected(Code::MissingField, "/upload", &[("event_name", json!("upload_step")), content]);
    let order = [("event_name", json!("gift_sent")), ("commerce/gift_id", json!("g"))];
    rejected(Code::MissingField, "/commerce/order_id", &order);
    for platform in ["ios", "android", "pc"] {
        rejected(
            Code::MissingField,
            "/app_version",
            &[("platform", json!(platform)), ("app_version", Value::Null)],
        );
    }
    accepted(&[("platform", json!("server")), ("app_version", Value::Null), ("anonymous_id", Value::Null)]);
}

#[test]
fn an_object_needs_its_own_required_fields() {
    for object in ["page", "content", "playback", "upload", "creator"] {
        let first = if object == "page" { "url" } else { "id" };
        rejected(Code::MissingField, &format!("/{object}/{first}"), &[(&format!("{object}/x"), json!(1))]);
    }
    rejected(Code::MissingField, "/upload/step", &[("upload/id", json!("u"))]);
    for object in ["device", "screen", "campaign", "commerce", "properties", "experiments"] {
        accepted(&[(object, json!({}))]);
        rejected(Code::InvalidType, &format!("/{object}"), &[(object, json!([]))]);
    }
}

#[test]
fn every_listed_field_has_its_limit_on_both_sides() {
    let with_limit = |pointer: &str, value: Value| {
        let path = pointer.trim_start_matches('/');
        let mut fields = vec![("content/id", json!("c"))];
        for (object, required) in [
            ("page", ("page/url", json!("u"))),
            ("playback", ("playback/id", json!("p"))),
            ("upload", ("upload/id", json!("u"))),
            ("creator", ("creator/id", json!("c"))),
        ] {
            if path.starts_with(object) {
                fields.push(required);
            }
        }
        if path.starts_with("upload") {
            fields.push(("upload/step", json!("edit")));
        }
        fields.push((path, value));
        with(&fields)
    };
    for &(pointer, limit) in event::FIELD_LIMITS {
        let allowed = |value: Value| check(with_limit(pointer, value), &[None]);
        let too_much =
            |value: Value| check(with_limit(pointer, value), &[Some((Code::InvalidValue, pointer))]);
        match limit {
            FieldLimit::Characters(most) => {
                for character in ["x", "活", "😀"] {
                    allowed(json!(character.repeat(most)));
                    too_much(json!(character.repeat(most + 1)));
                }
            }
            FieldLimit::CutCharacters(most) => {
                allowed(json!("x".repeat(most)));
                allowed(json!("x".repeat(most + 1)));
            }
            FieldLimit::WholeNumber(least, most) => {
                for (number, beyond) in [(least, least - 1), (most, most + 1)] {
                    allowed(json!(number));
                    too_much(json!(beyond));
                }
                too_much(json!(i64::MAX));
            }
        }
    }
}

#[test]
fn a_text_that_clients_do_not_choose_is_cut_at_a_character() {
    let cut = |text: &str| {
        let record = with(&[("user_agent", json!("@")), ("page/url", json!("u"))])
            .replace("\"@\"", &format!("\"{text}\""));
        let mut cut = None;
        let Ok(()) =
            decide(Some(record.as_bytes()), RECEIVED_AT, &policy(), &mut KeyOrder::default(), |decision| {
                assert!(matches!(decision.verdict, Verdict::Emit(_)), "{text}");
                let place = (0..crate::contract::PLACES)
                    .find(|&place| crate::contract::CONTRACT_FIELDS[place].pointer == "/user_agent")
                    .unwrap();
                assert!(decision.event.cut_texts() == 0 || decision.event.cut_texts() == 1 << place);
                cut =
                    Some((decision.event.cut_texts() != 0, decision.event.text(place).unwrap().into_owned()));
                Ok::<_, Infallible>(())
            });
        cut.unwrap()
    };
    for (character, meaning) in [
        ("x", "x"),
        ("活", "活"),
        ("😀", "😀"),
        ("\\u6d3b", "活"),
        ("\\ud83d\\ude00", "😀"),
        ("\\n", "\n"),
        ("\\\\", "\\"),
    ] {
        assert_eq!(cut(&character.repeat(1024)), (false, meaning.repeat(1024)), "{character}");
        assert_eq!(cut(&character.repeat(1025)), (true, meaning.repeat(1024)), "{character}");
        let shifted = format!("a{}", character.repeat(3000));
        assert_eq!(cut(&shifted), (true, format!("a{}", meaning.repeat(1023))), "{character}");
    }
}

#[test]
fn the_last_of_two_values_of_a_key_inside_an_object_has_to_keep_its_limit() {
    let twice = |first: usize, second: usize| {
        let (first, second) = ("x".repeat(first), "y".repeat(second));
        with(&[("device/id", json!("@"))])
            .replace("\"id\":\"@\"", &format!("\"id\":\"{first}\",\"id\":\"{second}\""))
    };
    check(twice(1, 129), &[Some((Code::InvalidValue, "/device/id"))]);
    check(twice(129, 1), &[None]);
}

#[test]
fn lengths_count_characters() {
    let limits: &[(&str, usize)] = &[
        ("app_version", 32),
        ("anonymous_id", 128),
        ("user_id", 128),
        ("session_id", 64),
        ("click_id", 256),
        ("click_id_type", 256),
        ("install_source", 64),
    ];
    for &(field, most) in limits {
        for character in ["x", "活", "😀"] {
            accepted(&[(field, json!(character.repeat(most)))]);
            rejected(Code::InvalidValue, &format!("/{field}"), &[(field, json!(character.repeat(most + 1)))]);
        }
        let escaped = with(&[(field, json!("@"))]).replace('@', &"\\u6d3b".repeat(most));
        check(escaped, &[None]);
    }
}

#[test]
fn an_invalid_value_is_rejected_with_its_pointer() {
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
        rejected(Code::InvalidValue, &format!("/{field}"), &[(field, value.clone())]);
    }
    rejected(
        Code::InvalidValue,
        "/content/source",
        &[("content/id", json!("c")), ("content/source", json!("x"))],
    );
    accepted(&[("commerce/revenue_minor", json!(-2500)), ("activity_event_id", json!("a-1_B2"))]);
    rejected(
        Code::UnsupportedSchema,
        "/schema_version",
        &[("schema_version", json!("2-0-0")), ("app_id", json!(1))],
    );
    accepted(&[("schema_version", json!("1-7-3")), ("of_the_future", json!([1]))]);
    accepted(&[("ip", json!("not an address"))]);
}

#[test]
fn the_way_a_number_is_written_decides() {
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
fn the_age_is_measured_after_the_clock_correction() {
    let week = 7 * 86_400_000;
    accepted(&[("original_timestamp", json!(RECEIVED_AT - week))]);
    rejected(Code::TooOld, "/original_timestamp", &[("original_timestamp", json!(RECEIVED_AT - week - 1))]);
    let last_year = RECEIVED_AT - 50 * week;
    accepted(&[("original_timestamp", json!(last_year)), ("sent_at", json!(last_year + 1000))]);
    let kept_long = [("original_timestamp", json!(last_year)), ("sent_at", json!(RECEIVED_AT))];
    rejected(Code::TooOld, "/original_timestamp", &kept_long);
    rejected(Code::InvalidTimestamp, "/sent_at", &[("sent_at", json!("yesterday"))]);
    for year in ["0008", "2569", "1969", "9999"] {
        let clock = [
            ("original_timestamp", json!(format!("{year}-03-02T11:59:58Z"))),
            ("sent_at", json!(format!("{year}-03-02T12:00:00Z"))),
        ];
        accepted(&clock);
        let kept = [("original_timestamp", json!(format!("{year}-02-20T11:59:58Z"))), clock[1].clone()];
        rejected(Code::TooOld, "/original_timestamp", &kept);
    }
    for original in
        [json!(0), json!(-1), json!(i64::MIN), json!("0008-03-02T11:59:58Z"), json!("1969-12-31T23:59:59Z")]
    {
        rejected(Code::TooOld, "/original_timestamp", &[("original_timestamp", original.clone())]);
        accepted(&[("original_timestamp", original.clone()), ("sent_at", original)]);
    }
}

#[test]
fn a_placeholder_as_anonymous_id_is_rejected() {
    for id in [
        "null",
        " NULL ",
        "undefined",
        "0",
        "guest",
        "Gue-st",
        "unknown",
        "000000000",
        "00000000-0000-0000-0000-000000000000",
    ] {
        rejected(Code::ForbiddenId, "/anonymous_id", &[("anonymous_id", json!(id))]);
    }
    for id in ["guest-1", "nullable", "00001", "g", "undefinedundefined"] {
        accepted(&[("anonymous_id", json!(id))]);
    }
    let strict = policy().forbidding_ids(["TV-Box".to_owned()]);
    let expected = Err((Code::ForbiddenId, "/anonymous_id".to_owned()));
    assert_eq!(verdicts(with(&[("anonymous_id", json!("tvbox"))]).as_bytes(), &strict), [expected]);
}

#[test]
fn the_operator_decides_about_apps_and_names() {
    rejected(Code::UnknownApp, "/app_id", &[("app_id", json!("other"))]);
    let open = EventPolicy::new([], true, Duration::from_secs(86_400));
    let unlisted = with(&[("app_id", json!("other")), ("event_name", json!("unlisted"))]);
    assert_eq!(verdicts(unlisted.as_bytes(), &open), [Err((Code::UnknownEvent, "/event_name".into()))]);
    assert_eq!(verdicts(with(&[("app_id", json!("other"))]).as_bytes(), &open), [Ok(())]);
}

#[test]
fn limits_of_lists_and_maps() {
    let map =
        |count: usize| (0..count).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    accepted(&[("experiments", map(32).into()), ("properties", map(128).into())]);
    rejected(Code::InvalidValue, "/experiments", &[("experiments", map(33).into())]);
    rejected(Code::InvalidValue, "/properties", &[("properties", map(129).into())]);
    rejected(Code::InvalidType, "/experiments/a~1b", &[("experiments", json!({"a/b": 1}))]);
    let tags = |count: usize| [("content/id", json!("c")), ("content/tags", json!(vec!["t"; count]))];
    accepted(&tags(20));
    rejected(Code::InvalidValue, "/content/tags", &tags(21));
    rejected(
        Code::InvalidType,
        "/content/tags/1",
        &[("content/id", json!("c")), ("content/tags", json!(["a", null]))],
    );
    let tagged = |characters: usize| {
        [("content/id", json!("c")), ("content/tags", json!(["a", "活".repeat(characters)]))]
    };
    accepted(&tagged(64));
    rejected(Code::InvalidValue, "/content/tags/1", &tagged(65));
    let variant = |name: usize, characters: usize| {
        [("experiments", json!({"n".repeat(name): "活".repeat(characters)}))]
    };
    accepted(&variant(256, 256));
    rejected(Code::InvalidValue, "/experiments/n", &variant(1, 257));
    rejected(Code::InvalidValue, &format!("/experiments/{}", "n".repeat(64)), &variant(257, 1));
    let fill = |bytes: usize| [("properties", json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())}))];
    accepted(&fill(Limits::PROPERTIES_BYTES));
    rejected(Code::InvalidValue, "/properties", &fill(Limits::PROPERTIES_BYTES + 1));
}
