//! The built-in metrics read columns that exist, and never add up values that do not add up.
use std::collections::BTreeSet;

use aggregate::{Cubes, cube};

use super::{
    catalogue::{Definition, Metric, MetricCatalogue, MetricKind},
    period::{BusinessCalendar, LookBack, RangeEnd, TimeStep},
    query::{self, MetricQuery},
    views::{CubeView, views},
};

/// SQL keywords that no bracket follows.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ALL",
    "AS",
    "AND",
    "OR",
    "IN",
    "WITH",
    "OVER",
    "PARTITION",
    "ORDER",
    "ROWS",
    "BETWEEN",
    "UNBOUNDED",
    "PRECEDING",
    "FOLLOWING",
    "CURRENT",
    "ROW",
    "NOT",
    "NULL",
    "WINDOW",
];

fn catalogue() -> MetricCatalogue {
    MetricCatalogue::built_in().unwrap()
}

fn built_in_views() -> std::collections::BTreeMap<String, CubeView> {
    views(&Cubes::parse(cube::BUILT_IN).unwrap())
}

fn calendar() -> BusinessCalendar {
    BusinessCalendar::new("Asia/Shanghai", "2026-03-11T02:34:56Z".parse().unwrap()).unwrap()
}

fn for_each_definition(mut check: impl FnMut(&Metric, &Definition, &CubeView, &str)) {
    let (catalogue, views) = (catalogue(), built_in_views());
    for metric in &catalogue.metrics {
        for definition in &metric.definitions {
            let name = format!("{} ({})", metric.name, definition.name);
            let view =
                views.get(&definition.cube).unwrap_or_else(|| panic!("{name}: no cube {}", definition.cube));
            check(metric, definition, view, &name);
        }
    }
}

/// The SQL without its texts and placeholders.
fn bare(sql: &str) -> String {
    let without_texts: Vec<&str> = sql.split('\'').step_by(2).collect();
    let mut bare = String::new();
    for (nth, part) in without_texts.join(" ").split(['{', '}']).enumerate() {
        bare.push_str(if nth % 2 == 0 { part } else { " " });
    }
    bare
}

/// The names in SQL, each with the character after it.
fn names(sql: &str) -> Vec<(&str, char)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    let mut rest = sql;
    while let Some(start) = rest.find(is_part) {
        let tail = &rest[start..];
        let end = tail.find(|c| !is_part(c)).unwrap_or(tail.len());
        let behind = tail[end..].chars().next().unwrap_or(' ');
        if !tail.starts_with(|c: char| c.is_ascii_digit()) {
            names.push((&tail[..end], behind));
        }
        rest = &tail[end..];
    }
    names
}

#[test]
fn every_definition_reads_columns_that_its_cube_has() {
    for_each_definition(|_, definition, view, name| {
        let sql = bare(&definition.sql);
        let words = names(&sql);
        let mut known: BTreeSet<&str> = KEYWORDS.iter().copied().collect();
        known.extend(["bucket", "pane", "received_max", "time", "value", definition.cube.as_str()]);
        known.extend(view.dimensions.iter().chain(&view.measures).chain(&view.sketches).map(String::as_str));
        // What the SQL itself names: `… AS name`, and the window `name AS (`.
        for pair in words.windows(2) {
            if pair[0].0 == "AS" {
                known.insert(pair[1].0);
            }
            if pair[0].0 == "WINDOW" {
                known.insert(pair[1].0);
            }
        }
        for &(word, behind) in &words {
            assert!(
                behind == '(' || known.contains(word),
                "{name}: `{word}` is no column of {}",
                definition.cube
            );
        }
        for computed in definition.computed.values() {
            for (word, behind) in names(&bare(computed)) {
                assert!(behind == '(' || known.contains(word), "{name}: `{word}` in {computed}");
            }
        }
        for column in &definition.without {
            assert!(
                view.dimensions.contains(column),
                "{name}: without = {column}, which the cube does not have"
            );
        }
        for placeholder in ["{time}", "{by}", "{range}"] {
            assert!(definition.sql.contains(placeholder), "{name}: no {placeholder}");
        }
        assert!(definition.sql.contains(&format!("FROM {} ", definition.cube)), "{name}");
    });
}

#[test]
fn a_sketch_is_merged_and_never_added_up() {
    for_each_definition(|metric, definition, view, name| {
        for sketch in &view.sketches {
            for (place, _) in definition.sql.match_indices(sketch.as_str()) {
                let before = &definition.sql[..place];
                let behind = definition.sql[place + sketch.len()..].chars().next().unwrap_or(' ');
                if before.ends_with("FROM ")
                    || before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                    || behind.is_ascii_alphanumeric()
                    || behind == '_'
                {
                    continue;
                }
                assert!(before.ends_with("(14)("), "{name}: {sketch} is not merged");
                assert!(!before.contains("sum(uniq"), "{name}");
            }
        }
        let merges = definition.sql.contains("uniqCombined64Merge");
        let adds = definition.sql.contains("sum(") || definition.sql.contains("sumIf(");
        match metric.kind {
            MetricKind::Uniq => assert!(merges && !adds, "{name}"),
            MetricKind::Sum | MetricKind::Distinct => assert!(adds && !merges, "{name}"),
            MetricKind::Ratio | MetricKind::Gauge => (),
        }
        // The devices of two days overlap, so a range of several days has no sum.
        if metric.kind == MetricKind::Distinct {
            assert_eq!(definition.steps.len(), 1, "{name}");
            assert_ne!(definition.steps[0], TimeStep::Total, "{name}");
        }
    });
}

#[test]
fn nothing_is_divided_by_what_may_be_zero() {
    for_each_definition(|metric, definition, _, name| {
        for (place, _) in definition.sql.match_indices('/') {
            let divisor = definition.sql[place + 1..].trim_start();
            let safe = divisor.starts_with("nullIf(")
                || divisor.starts_with(|c: char| ('1'..='9').contains(&c))
                // Days of a month, at least one.
                || divisor.starts_with("greatest(dateDiff(");
            assert!(safe, "{name}: divides by {}", divisor.lines().next().unwrap_or_default());
        }
        if metric.kind == MetricKind::Ratio {
            assert!(definition.sql.contains("nullIf("), "{name}");
        }
    });
}

#[test]
fn every_metric_has_chinese_and_english_texts() {
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    for_each_definition(|metric, definition, _, name| {
        for words in [&metric.title, &definition.words] {
            let named = words.zh.is_ascii() && words == &metric.title;
            assert!(is_chinese(&words.zh) || named, "{name}: {}", words.zh);
            assert!(!is_chinese(&words.en) && !words.en.is_empty(), "{name}: {}", words.en);
        }
        for plain in [&metric.name, &definition.name] {
            assert!(
                plain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
        }
    });
}

#[test]
fn every_definition_has_a_query_for_each_of_its_dimensions() {
    let views = built_in_views();
    for_each_definition(|metric, definition, view, name| {
        let step = query::step(metric, definition, None).unwrap();
        let whole = query::whole(definition, step);
        let range = calendar().range(None, None, definition.last, whole).unwrap();
        let mut query = MetricQuery { metric, definition, by: Vec::new(), step, range, app: None };
        for by in query::dimensions(definition, view) {
            query.by = vec![by.clone()];
            query.app = Some("web-main".into());
            let statement = query.statement(&views, &calendar()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!statement.sql.contains("{time}") && !statement.sql.contains("{by}"), "{name}");
            assert!(statement.sql.contains(&format!("`{by}`")) || by == "hour", "{name}: {}", statement.sql);
            assert!(statement.dimensions.contains(&by), "{name}");
        }
    });
}

fn query_of<'a>(catalogue: &'a MetricCatalogue, name: &str, by: &[&str], step: TimeStep) -> MetricQuery<'a> {
    let metric = catalogue.metric(name).unwrap();
    let definition = &metric.definitions[0];
    let range = calendar().range(None, None, definition.last, query::whole(definition, step)).unwrap();
    MetricQuery {
        metric,
        definition,
        by: by.iter().map(|&by| by.to_owned()).collect(),
        step,
        range,
        app: None,
    }
}

#[test]
fn the_widest_pane_that_fits_is_read() {
    let (catalogue, views) = (catalogue(), built_in_views());
    for (name, by, step, pane) in [
        ("plays", &[][..], TimeStep::Total, "1d"),
        ("plays", &[], TimeStep::Week, "1d"),
        ("plays", &["hour"], TimeStep::Total, "1h"),
        ("plays", &[], TimeStep::Hour, "1h"),
        ("plays", &[], TimeStep::Minute, "60s"),
        ("completeness", &[], TimeStep::Day, "60s"),
        ("retention_day_1", &[], TimeStep::Day, "1d"),
    ] {
        let statement = query_of(&catalogue, name, by, step).statement(&views, &calendar()).unwrap();
        let read = statement.parameters.iter().find(|(name, _)| *name == "pane").unwrap();
        assert_eq!(read.1, pane, "{name} {by:?} {step:?}");
    }
    let mut narrow = query_of(&catalogue, "tag_uses", &[], TimeStep::Total);
    let half_an_hour: RangeEnd = "30m".parse().unwrap();
    narrow.range = calendar().range(Some(half_an_hour), None, LookBack::days(1), TimeStep::Total).unwrap();
    let problem = narrow.statement(&views, &calendar()).unwrap_err();
    assert!(problem.contains("the cube `tags` has only the panes 1d, 1h"), "{problem}");
}

#[test]
fn an_impossible_query_is_rejected_with_the_possible_values() {
    let (catalogue, views) = (catalogue(), built_in_views());
    let rejected = |name: &str, by: &str, expected: &str| {
        let query = query_of(&catalogue, name, &[by], TimeStep::Total);
        let problem = query.statement(&views, &calendar()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    };
    rejected("plays", "platfrom", "the nearest is `platform`; it has app_id, platform, producer_type");
    rejected("pgc_share_of_plays", "producer_type", "has no dimension `producer_type`");
    rejected(
        "new_devices",
        "platform) FROM system.users --",
        "has no dimension `platform) FROM system.users --`",
    );
    let daily = catalogue.metric("active_devices_day").unwrap();
    let problem = query::step(daily, &daily.definitions[0], Some(TimeStep::Total)).unwrap_err();
    assert!(problem.contains("only day"), "{problem}");
    let problem = daily.definition(Some("loggin")).unwrap_err();
    assert!(problem.contains("it has any, login, core_flow"), "{problem}");
    let problem = catalogue.metric("activ_devices_day").unwrap_err();
    assert!(problem.contains("the nearest is `active_devices_day`"), "{problem}");
}

#[test]
fn values_are_parameters_and_never_in_the_sql() {
    let (catalogue, views) = (catalogue(), built_in_views());
    let mut query = query_of(&catalogue, "plays", &["platform"], TimeStep::Total);
    query.app = Some("x' OR 1=1 --".into());
    let statement = query.statement(&views, &calendar()).unwrap();
    assert!(!statement.sql.contains("OR 1=1"), "{}", statement.sql);
    assert!(statement.parameters.contains(&("app", "x' OR 1=1 --".into())));
}

#[test]
fn an_invalid_file_of_metrics_is_rejected() {
    const GOOD: &str = r#"
[[metric]]
name = "plays"
version = 1
title = { zh = "播放", en = "Plays" }
unit = "times"
kind = "sum"
cube = "playback"
sql = "SELECT 1"
[[metric.definition]]
name = "any"
words = { zh = "播放", en = "Plays" }
"#;
    assert!(MetricCatalogue::parse(GOOD).is_ok());
    for (from, to, expected) in [
        ("version = 1", "version = 0", "the first version is 1"),
        ("cube = \"playback\"\n", "", "definition `any` has no cube"),
        ("sql = \"SELECT 1\"\n", "", "definition `any` has no sql"),
        ("unit = \"times\"", "unit = \"bananas\"", "bananas"),
        ("version = 1", "version = 1\nsteps = []", "has an empty list of steps"),
        ("version = 1", "version = 1\nlast = \"1d12h\"", "not a duration in one unit"),
        ("version = 1", "verzion = 1", "verzion"),
    ] {
        let problem = MetricCatalogue::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
    let twice = MetricCatalogue::parse(&format!("{GOOD}{GOOD}")).unwrap_err();
    assert!(twice.contains("metric `plays` is defined twice"), "{twice}");
}
