//! The reader against single cases and against `serde_json`.
use super::{plain_text::end_of_plain_text, *};
use proptest::prelude::*;

fn read(text: &str) -> Result<JsonValue<'_>, SyntaxError> {
    let mut reader = JsonReader::new(text);
    let value = reader.value(0)?;
    reader.end()?;
    Ok(value)
}

#[test]
fn values_stay_as_sent() {
    assert_eq!(read(" 1.0 "), Ok(JsonValue::Number("1.0")));
    assert_eq!(read("-1e999"), Ok(JsonValue::Number("-1e999")));
    assert_eq!(read("[1, [2,3]] "), Ok(JsonValue::Array { json: "[1, [2,3]]", entries: 2 }));
    assert_eq!(read(r#"{"a":{},"b":[]}"#), Ok(JsonValue::Object { json: r#"{"a":{},"b":[]}"#, entries: 2 }));
    assert_eq!(read("[[],{}]"), Ok(JsonValue::Array { json: "[[],{}]", entries: 2 }));
    let Ok(JsonValue::Text(text)) = read(r#""a\u00e9\ud83d\ude00\n""#) else { panic!("a text") };
    assert_eq!(text.read(), "aé😀\n");
}

#[test]
fn text_that_is_not_json_is_an_error() {
    for text in [
        "",
        " ",
        "nul",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "\"",
        "\"\\x\"",
        "\"\t\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "[}",
        "{]",
        "[[]",
        "{\"a\":[}]",
        "1 2",
        "\u{feff}1",
        "'a'",
        "\"\\u12g4\"",
        "NaN",
        "{\"a\":1 \"b\":2}",
        "[1]]",
        "\u{0}",
        "tru e",
    ] {
        assert!(read(text).is_err(), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_is_noticed_in_any_key_or_text() {
    for (text, lone) in [
        (r#""\ud83d\ude00""#, false),
        (r#""\ud83d""#, true),
        (r#"{"a":["\ude00"]}"#, true),
        (r#"{"\ud83dx":1}"#, true),
        (r#""\ud83d\ud83d\ude00""#, true),
        (r#""\ud83d\u0041""#, true),
        (r#""\\ud83d""#, false),
    ] {
        let mut reader = JsonReader::new(text);
        reader.value(0).unwrap();
        assert_eq!(reader.lone_surrogate(), lone, "{text}");
    }
}

#[test]
fn depth_is_counted_without_recursion() {
    for depth in [1, 2, 63, 64, 65, 128, 129, 200_000] {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let mut reader = JsonReader::new(&text);
        reader.value(1).unwrap();
        assert_eq!(reader.deepest(), depth);
        assert!(read(&text[..text.len() - 1]).is_err());
    }
    let mixed = format!("{}1{}", r#"{"a":["#.repeat(100), "]}".repeat(100));
    assert!(read(&mixed).is_ok());
    assert!(read(&mixed.replace("1]}", "1}]")).is_err());
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (-1e300..1e300).prop_map(|n: f64| format!("{n:e}")),
        ".{0,20}".prop_map(|s| serde_json::Value::from(s).to_string()),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(" , "))),
            prop::collection::vec((".{0,9}", inner), 0..5).prop_map(|v| {
                let members = v.iter().map(|(k, v)| format!("{}: {v}", serde_json::Value::from(k.as_str())));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_what_is_json(text in json(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        prop_assert!(read(&text).is_ok());
        let mut bytes = text.into_bytes();
        let at = cut.index(bytes.len());
        bytes[at] = byte;
        if let Ok(damaged) = std::str::from_utf8(&bytes) {
            let mut reader = JsonReader::new(damaged);
            let ours = reader.value(0).and_then(|_| reader.end()).is_ok() && !reader.lone_surrogate();
            let theirs = serde_json::from_str::<serde_json::Value>(damaged);
            // serde_json rejects numbers beyond the range of a double; the grammar allows them.
            let too_big = theirs.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
            prop_assert!(too_big || ours == theirs.is_ok(), "{damaged}");
        }
    }

    #[test]
    fn plain_text_ends_where_a_byte_by_byte_search_ends(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let simple = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(bytes.len());
        prop_assert_eq!(end_of_plain_text(&bytes, 0), simple);
    }
}
