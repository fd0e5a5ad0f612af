//! Conditions as written, as displayed, and on events.
use super::*;
use crate::{batch::Batch, field::Field};

fn read(text: &str) -> Result<Vec<Condition>, String> {
    let where_: Where = toml::from_str(text).unwrap();
    parse(&where_)
}

#[test]
fn a_where_holds_when_every_operator_holds() {
    for (text, value, expected) in [
        (r#"kind = "event""#, "event", true),
        (r#"kind = "event""#, "test", false),
        (r#"platform = ["ios", "android"]"#, "android", true),
        (r#"platform = ["ios", "android"]"#, "web", false),
        (r#"page_path = { prefix = "/vip/" }"#, "/vip/landing", true),
        (r#"page_path = { prefix = "/vip/" }"#, "/home", false),
        (r#"event_name = { not = "page_view" }"#, "login", true),
        (r#"event_name = { not = ["page_view", "login"] }"#, "login", false),
        (r#"event_name = { not = { prefix = "play" } }"#, "playback_ping", false),
        (r#"event_name = { prefix = "play", not = "playback_ping" }"#, "playback_ping", false),
        (r#"event_name = { prefix = "play", not = "playback_ping" }"#, "playback_started", true),
        (r#"activity_id = { exists = true }"#, "", false),
        (r#"activity_id = { exists = false }"#, "", true),
    ] {
        assert_eq!(read(text).unwrap()[0].test.text(value), expected, "{text} on {value:?}");
    }
}

#[test]
fn bounds_of_numbers_include_or_exclude_their_end() {
    for (text, value, expected) in [
        ("lateness_ms = { gt = 600000 }", 600_000, false),
        ("lateness_ms = { gt = 600000 }", 600_001, true),
        ("lateness_ms = { gte = 5, lt = 7 }", 5, true),
        ("lateness_ms = { gte = 5, lt = 7 }", 7, false),
        ("lateness_ms = { lte = -1 }", -1, true),
        ("quantity = [1, 2]", 3, false),
        ("quantity = { not = 0 }", 3, true),
        ("user_key = { exists = true }", 0, false),
    ] {
        assert_eq!(read(text).unwrap()[0].test.number(value), expected, "{text} on {value}");
    }
}

#[test]
fn a_condition_is_displayed_as_written() {
    for text in [
        r#"kind = "event""#,
        r#"platform = ["ios", "android"]"#,
        r#"page_path = { prefix = "/vip/" }"#,
        r#"event_name = { not = ["page_view", "login"] }"#,
        r#"event_name = { not = { prefix = "play" } }"#,
        r#"event_name = { not = "playback_ping", prefix = "play" }"#,
        "activity_id = { exists = true }",
        "lateness_ms = { gte = 600001 }",
        "quantity = [1, 2]",
        "quantity = { gte = 1, lte = 5 }",
        r#""properties.level" = "gold""#,
    ] {
        assert_eq!(read(text).unwrap()[0].to_string(), text);
    }
}

#[test]
fn a_property_is_tested_by_its_path_as_text_or_number() {
    for (text, json, expected) in [
        (r#""properties.level" = "gold""#, r#"{"level":"gold"}"#, true),
        (r#""properties.level" = ["gold", "silver"]"#, r#"{"level":"iron"}"#, false),
        (r#""properties.a.b" = { prefix = "x" }"#, r#"{"a":{"b":"xy"}}"#, true),
        (r#""properties.score" = 10"#, r#"{"score":10.2}"#, true),
        (r#""properties.score" = { gte = 10 }"#, r#"{"score":10}"#, true),
        (r#""properties.score" = { gte = 10 }"#, r#"{"score":"10"}"#, false),
        (r#""properties.score" = { gte = 10 }"#, "{}", false),
        (r#""properties.score" = { not = 10 }"#, "{}", true),
        (r#""properties.vip" = true"#, r#"{"vip":true}"#, true),
        (r#""properties.vip" = { exists = true }"#, r#"{"vip":false}"#, true),
        (r#""properties.vip" = { exists = true }"#, r#"{"vip":""}"#, false),
    ] {
        let mut builder = crate::batch::BatchBuilder::default();
        builder.unique_text(Field::Properties, json);
        builder.end_row();
        let batch = Batch::decode(&builder.finish()).unwrap();
        let conditions = read(text).unwrap();
        for reader in [PropertyReader::default(), properties_of(&conditions)] {
            let event = EventValues::new(&batch, 0, &reader);
            assert_eq!(conditions[0].holds(&event), expected, "{text} on {json}");
        }
    }
}

#[test]
fn an_error_names_the_problem_and_what_is_possible() {
    for (text, expected) in [
        (r#""properties.a" = [1, "x"]"#, "mixes texts and whole numbers"),
        (r#""properties..a" = 1"#, "empty part"),
        ("plattform = 'web'", "there is no field `plattform`, the nearest is `platform`"),
        ("kind = 3", "3 is not a text"),
        ("kind = []", "the list is empty"),
        ("kind = { gt = 3 }", "`gt` is not possible for a text"),
        ("kind = { like = 'x' }", "`like` is not known"),
        ("quantity = 'x'", "is not a whole number"),
        ("tags = 'x'", "the field is a list"),
        ("kind = true", "neither a value"),
    ] {
        let problem = read(text).unwrap_err();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
