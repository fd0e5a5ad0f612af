//! Where values come from, what is accepted, and what an error says.
use event::Lane;
use std::time::Duration;

use super::*;

fn load_with(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    load_from(None, variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())))
}

#[test]
fn the_defaults_are_complete_and_valid() {
    let settings = load_with(&[]).unwrap();
    assert_eq!(settings.kafka.brokers, "localhost:9092");
    assert_eq!(settings.ingest.max_event_age, Duration::from_secs(7 * 24 * 3600));
}

#[test]
fn the_environment_overrides_and_splits_lists_at_commas() {
    let settings = load_with(&[
        ("MILLRACE__KAFKA__BROKERS", "k:1"),
        ("MILLRACE__INGEST__APPS", "web-main, app-main"),
        ("MILLRACE__WORKERS", "3"),
        ("MILLRACE__CLICKHOUSE__PASSWORD", "007"),
        ("MILLRACE_TEST_KAFKA", "not ours"),
    ])
    .unwrap();
    assert_eq!(settings.kafka.brokers, "k:1");
    assert_eq!(settings.ingest.apps, ["web-main", "app-main"]);
    assert_eq!(settings.workers, 3);
    assert_eq!(settings.aggregate.lanes, [Lane::Live, Lane::Report, Lane::DeadLetters]);
    assert_eq!(settings.clickhouse.password.expose(), "007");
}

#[test]
fn definitions_of_active_may_have_any_name_and_join_the_default_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millrace.toml");
    std::fs::write(&path, "[enrich.active]\nviewer = [{ event_name = \"content_view\" }]\n").unwrap();
    let active = load_from(Some(&path), []).unwrap().enrich.active;
    let steps: Vec<(&str, usize)> = active.iter().map(|(name, steps)| (name.as_str(), steps.len())).collect();
    assert_eq!(steps, [("any", 0), ("core_flow", 3), ("login", 1), ("viewer", 1)]);
}

#[test]
fn the_memory_limit_has_a_unit_or_is_a_number_of_bytes() {
    for (written, bytes) in [("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("1073741824", 1 << 30)] {
        assert_eq!(
            load_with(&[("MILLRACE__MEMORY_LIMIT", written)]).unwrap().memory_limit,
            bytes,
            "{written}"
        );
    }
}

#[test]
fn an_unknown_key_names_its_origin_and_the_nearest_key() {
    let error = load_with(&[("MILLRACE__KAFKA__BROKER", "k:1")]).unwrap_err().to_string();
    assert!(error.contains("MILLRACE__KAFKA__BROKER") && error.contains("kafka.brokers"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millrace.toml");
    std::fs::write(&path, "[ingest]\nmax_event_aeg = \"3d\"\n").unwrap();
    let error = load_from(Some(&path), []).unwrap_err().to_string();
    assert!(error.contains("millrace.toml") && error.contains("ingest.max_event_age"), "{error}");
}

#[test]
fn a_wrong_value_names_its_key() {
    for (variable, value, expected) in [
        ("MILLRACE__WORKERS", "many", "workers"),
        ("MILLRACE__WORKERS", "0", "workers"),
        ("MILLRACE__MEMORY_LIMIT", "1 potato", "memory_limit"),
        ("MILLRACE__MEMORY_LIMIT", "64MiB", "memory_limit"),
        ("MILLRACE__KAFKA__BATCH_INTERVAL", "fast", "batch_interval"),
        ("MILLRACE__KAFKA__START", "middle", "start"),
        ("MILLRACE__INGEST__MAX_EVENT_AGE", "11y", "ingest.max_event_age"),
        ("MILLRACE__PIPELINE", "a b", "pipeline"),
        ("MILLRACE__CLICKHOUSE__PASSWORD_FILE", "/nowhere", "password_file"),
        ("MILLRACE__LOG__LEVEL", "a=b=c", "log.level"),
        ("MILLRACE__BUSINESS_TIMEZONE", "Asia/Atlantis", "business_timezone"),
        ("MILLRACE__HTTP__LISTEN", "everywhere", "http.listen"),
        ("MILLRACE__AGGREGATE__LANES", "live,reports", "aggregate.lanes"),
    ] {
        let error = load_with(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{variable}={value}: {error}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    let path = path.to_str().unwrap();
    let settings = load_with(&[("MILLRACE__CLICKHOUSE__PASSWORD_FILE", path)]).unwrap();
    assert_eq!(settings.clickhouse.password.expose(), "s3cret");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let variable = ("MILLRACE__CLICKHOUSE__PASSWORD".to_owned(), "s3cret".to_owned());
    let shown = Written::read_from(None, [variable]).unwrap().masked();
    assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
}
