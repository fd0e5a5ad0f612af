//! Files of cubes: how they are read, and how mistakes are reported.
use event::{Field, predicate::Test};

use super::*;

const GOOD: &str = r#"
    [[cube]]
    name = "traffic"
    panes = ["10s", "60s"]
    dimensions = ["app_id", "platform"]
    measures = [{ name = "events", count = true }, { sum = "revenue_minor" }, { name = "devices", uniq = "device_key" }]
    retention_days = { live = 7 }
"#;

#[test]
fn the_built_in_cubes_are_those_of_the_contract() {
    let cubes = Cubes::parse(BUILT_IN).unwrap();
    let named: Vec<String> = cubes
        .cubes
        .iter()
        .map(|cube| {
            let panes: Vec<&str> = cube.panes.iter().map(|pane| pane.as_str()).collect();
            let dimensions: Vec<&str> = cube.dimensions.iter().map(|one| one.name.as_str()).collect();
            let measure = |one: &Measure| format!("{}{}", one.name, if one.is_uniq() { "~" } else { "" });
            let measures: Vec<String> = cube.measures.iter().map(measure).collect();
            assert!(!cube.meaning.is_empty(), "{}", cube.name);
            format!("{}: {} | {} | {}", cube.name, panes.join(" "), dimensions.join(" "), measures.join(" "))
        })
        .collect();
    assert_eq!(
        named,
        [
            "traffic: 10s 60s 1h 1d | app_id platform event_name channel_group | events sessions new_devices devices~",
            "activity: 10s 60s 1h 1d | app_id activity_id activity_event_key activity_type activity_status platform \
             channel_group | events participants new_devices devices~ users~",
            "conversions: 10s 60s 1h 1d | app_id attributed_activity_id event_name platform channel_group | events \
             revenue_minor devices~",
            "playback: 10s 60s 1h 1d | app_id platform producer_type category playback_state | events plays \
             effective_plays completed_plays replays played_ms rebuffer_ms viewers~",
            "revenue: 10s 60s 1h 1d | app_id platform entry_point matched_entry_point product_type currency \
             channel_group attributed_activity_id | page_visits orders quantity revenue_minor payers~",
            "audience: 1h 1d | app_id platform channel_group first_channel_group install_source app_version \
             device_brand device_model os_name os_version active_definition | new_devices active_day_devices \
             active_week_devices active_month_devices sessions",
            "retention: 1d | app_id platform first_channel_group cohort_day active_definition | active_devices",
            "content: 1h 1d | app_id platform content_source producer_type category publish_day | published featured \
             content_views",
            "upload: 10s 60s 1h 1d | app_id platform content_source upload_step error_code | events bytes uploads~",
            "tags: 1h 1d | app_id tag platform event_name | uses devices~",
            "versions: 1h 1d | app_id platform app_version install_source | events devices~ updates",
            "experiments: 1h 1d | app_id experiment variant event_name | exposures events devices~ revenue_minor",
            "creators: 1d | app_id creator_level previous_level | level_changes published creators~",
            "quality: 10s 60s | app_id platform library library_version time_source kind | events lost_events \
             late_events",
        ]
    );
    let quality = cubes.get("quality").unwrap();
    assert_eq!((quality.time, quality.retention_of(CubeLane::Live)), (Field::ReceivedAt, 90));
    let traffic = cubes.get("traffic").unwrap();
    assert_eq!(CubeLane::ALL.iter().map(|&lane| traffic.retention_of(lane)).collect::<Vec<_>>(), [7, 1096]);
}

#[test]
fn a_measure_without_a_name_has_the_name_of_its_field() {
    let cubes = Cubes::parse(GOOD).unwrap();
    let cube = &cubes.cubes[0];
    let names: Vec<&str> = cube.measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!(names, ["events", "revenue_minor", "devices"]);
    assert_eq!(cube.time, Field::EventTime);
    assert_eq!(cube.lanes().collect::<Vec<_>>(), [CubeLane::Live]);
}

#[test]
fn only_kind_event_counts_in_a_cube_that_does_not_name_kind() {
    let kinds = |text: &str| Cubes::parse(text).unwrap().cubes[0].filter.event.clone();
    assert_eq!(kinds(GOOD).len(), 1);
    assert_eq!((kinds(GOOD)[0].field, kinds(GOOD)[0].test.text("test")), (Field::Kind, false));
    let named = GOOD.replace("dimensions =", "where = { kind = \"test\" }\ndimensions =");
    assert!(kinds(&named).len() == 1 && kinds(&named)[0].test.text("test"));
}

#[test]
fn every_mistake_is_explained() {
    for (from, to, expected) in [
        (r#""platform""#, r#""plattform""#, "the nearest is `platform`"),
        (r#""platform""#, r#""app_id""#, "dimension `app_id` is listed twice"),
        (r#""platform""#, r#""event_time""#, "dimension `event_time` is a number, dimensions are texts"),
        (r#""platform""#, r#""tags""#, "dimension `tags` is a list, dimensions are texts; `explode` counts"),
        (r#""platform""#, r#"{ name = "os" }"#, "is neither the name of a field nor"),
        (r#""platform""#, r#""properties.a-b""#, "write { name = \"column\", field = \"properties.a-b\" }"),
        (r#"sum = "revenue_minor""#, r#"sum = "currency""#, "`currency` is a text, `sum` takes a number"),
        (r#"uniq = "device_key""#, r#"uniq = "quantity""#, "`uniq` takes a key or a text"),
        (r#"uniq = "device_key""#, r#"uniq = "tags""#, "`tags` is a list, `uniq` takes a key or a text"),
        (r#"name = "devices", uniq"#, "uniq", "it needs a `name`"),
        (
            r#"name = "devices", uniq"#,
            r#"name = "devices", avg"#,
            "`avg` cannot be added up over rows: write the sum and the count",
        ),
        (
            r#"name = "devices", uniq"#,
            r#"name = "devices", p95"#,
            "`p95` cannot be added up over rows: count the events of each range",
        ),
        (r#"name = "devices", uniq"#, r#"name = "devices", max"#, "`max` is not a sum"),
        (r#"name = "devices", uniq"#, r#"name = "devices", unique"#, "write uniq = \"field\""),
        (
            r#"name = "devices", uniq"#,
            r#"name = "devices", summ"#,
            "there is no key `summ`, the nearest is `sum`",
        ),
        (r#"name = "devices""#, r#"name = "events""#, "two columns are called `events`"),
        (r#"name = "devices""#, r#"name = "src""#, "is reserved for the tables"),
        (r#"name = "devices""#, r#"name = "Devices""#, "must be of a-z"),
        ("count = true", "count = false", "exactly one of"),
        (r#""60s""#, r#""5s""#, "there is no pane `5s`"),
        (r#""10s", "60s""#, r#""60s", "10s""#, "after a wider one"),
        ("live = 7", "life = 7", "there is no lane `life`"),
        ("live = 7", "report = 7", "the cube has no pane in lane report"),
        ("live = 7", "live = 0", "nothing would be kept"),
        ("retention_days", "retention", "unknown field `retention`"),
        (r#"name = "traffic""#, r#"name = "dead_letters""#, "another view of this name"),
        ("dimensions", "explode = { field = \"platform\", as = [\"x\"] }\ndimensions", "only lists and maps"),
        ("dimensions", "explode = { field = \"experiments\", as = [\"x\"] }\ndimensions", "two names"),
        (
            "dimensions",
            "explode = { field = \"tags\", as = [\"tag\"] }\ndimensions",
            "`tag` is exploded and not a dimension",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let problem = Cubes::parse(&text).unwrap_err().to_string();
        assert!(problem.contains(expected), "{from} -> {to}: {problem}");
    }
}

#[test]
fn a_condition_can_apply_to_the_entry_of_an_exploded_field() {
    let text = |where_: &str| {
        format!(
            r#"
            [[cube]]
            name = "x"
            panes = ["1d"]
            explode = {{ field = "active_definition", as = ["active_definition"] }}
            dimensions = ["active_definition"]
            measures = [{{ name = "n", count = true, where = {where_} }}]
            "#
        )
    };
    let entry = |where_: &str| {
        Cubes::parse(&text(where_)).map(|cubes| cubes.cubes[0].measures[0].filter.entry.clone())
    };
    assert_eq!(
        entry(r#"{ active_definition = { in = "active_day" } }"#).unwrap(),
        [EntryCondition::IsIn(Half::First, Field::ActiveDay)]
    );
    assert_eq!(
        entry(r#"{ active_definition = "any" }"#).unwrap(),
        [EntryCondition::Is(Half::First, Test::TextIn(vec!["any".into()]))]
    );
    let cubes =
        Cubes::parse(&text(r#"{ active_definition = { in = "active_day" }, platform = "ios" }"#)).unwrap();
    let cube = &cubes.cubes[0];
    let shown = ["platform = \"ios\"", "active_definition = { in = \"active_day\" }"];
    assert_eq!(cube.shown(&cube.measures[0].filter), shown);
    for (where_, expected) in [
        (r#"{ active_definition = { in = "platform" } }"#, "`platform` is a text, `in` takes a list"),
        (r#"{ active_definition = { in = "active_dya" } }"#, "the nearest is `active_day`"),
        (r#"{ active_definition = { in = "tags", not = "x" } }"#, "`in` allows no other key"),
        (r#"{ active_definition = 3 }"#, "measure `n`: `where` for active_definition: 3 is not a text"),
    ] {
        let problem = entry(where_).unwrap_err().to_string();
        assert!(problem.contains(expected), "{where_}: {problem}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let bad = r#"
        [[cube]]
        name = "one"
        panes = ["10s", "2h"]
        dimensions = ["plattform", "evnt_name"]
        measures = [{ name = "a", avg = "quantity" }, { name = "b", sum = "currency" }]
        [[cube]]
        name = "two"
        panes = ["1d"]
        dimension = ["platform"]
        measures = []
        [[cube]]
        name = "three"
        panes = ["1h"]
        dimensions = ["platform"]
        measures = [{ name = "events", uniq = "user_key" }]
    "#;
    let problems = Cubes::parse(&format!("{GOOD}{bad}")).unwrap_err().problems;
    let of = |cube: &str| problems.iter().filter(|problem| problem.cube == cube).count();
    assert_eq!([of("one"), of("two"), of("three"), of("traffic")], [5, 1, 1, 0], "{problems:#?}");
}

#[test]
fn too_many_columns_are_an_error() {
    let names: Vec<String> = (0..33).map(|nth| format!("{{ name = \"m{nth}\", count = true }}")).collect();
    let text = GOOD.replace("{ name = \"events\", count = true }", &names.join(", "));
    let problem = Cubes::parse(&text).unwrap_err().to_string();
    assert!(problem.contains("too many columns: 35 measures are more than 32"), "{problem}");
    let dimensions: Vec<String> = (0..17).map(|nth| format!("\"properties.p{nth}\"")).collect();
    let text = GOOD.replace("\"platform\"", &dimensions.join(", "));
    let problem = Cubes::parse(&text).unwrap_err().to_string();
    assert!(problem.contains("too many columns: 18 dimensions are more than 16"), "{problem}");
    let cubes: Vec<String> = (0..20)
        .map(|cube| {
            let dimensions =
                dimensions[..14].join(", ").replace("properties.p", &format!("properties.p{cube}_"));
            GOOD.replace("traffic", &format!("cube_{cube}")).replace("\"platform\"", &dimensions)
        })
        .collect();
    let problem = Cubes::parse(&cubes.join("\n")).unwrap_err().to_string();
    assert!(
        problem.contains("cube `cube_17`: too many columns: with this cube the table of lane live has 256"),
        "{problem}"
    );
}

#[test]
fn a_column_has_one_meaning_in_all_cubes_of_a_lane() {
    let other = GOOD
        .replace("traffic", "other")
        .replace(r#"name = "events", count = true"#, r#"name = "events", uniq = "user_key""#);
    let problem = Cubes::parse(&format!("{GOOD}{other}")).unwrap_err().to_string();
    assert_eq!(
        problem,
        "cube `other`: `events` is a uniq here and a sum in cube `traffic`: one of them needs another name"
    );
    let problem = Cubes::parse(&format!("{GOOD}{GOOD}")).unwrap_err().to_string();
    assert!(problem.contains("another view of this name"), "{problem}");
}

#[test]
fn a_file_adds_cubes_to_the_built_in_ones_or_replaces_them() {
    let custom = GOOD.replace("traffic", "custom_orders");
    let cubes = Cubes::built_in_with(&custom).unwrap();
    assert_eq!(cubes.cubes.len(), Cubes::parse(BUILT_IN).unwrap().cubes.len() + 1);
    assert_eq!(cubes.get("custom_orders").unwrap().dimensions.len(), 2);
    let cubes = Cubes::built_in_with(GOOD).unwrap();
    assert_eq!((cubes.cubes.len(), cubes.get("traffic").unwrap().dimensions.len()), (14, 2));
    let problem = Cubes::built_in_with(&GOOD.replace("traffic", "orders")).unwrap_err().to_string();
    assert_eq!(
        problem,
        "cube `orders`: there is no built-in cube of this name: call your own `custom_orders`"
    );
    assert!(Cubes::built_in_with(&format!("{GOOD}{GOOD}")).is_err());
    assert!(Cubes::built_in_with("").is_ok());
}
