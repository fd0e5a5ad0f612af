//! Every configuration that cannot work is refused by `--check-config` and by a start alike: exit code 78 and one line that
//! names the key and what is allowed. No server is needed, because nothing is touched before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod security;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use devstack::{Profile, build_binaries};

const SECRET: &str = "a secret of more than 16 characters";

fn run(stage: &str, args: &[&str], variables: &[(&str, &str)]) -> Output {
    static BINARIES: LazyLock<PathBuf> = LazyLock::new(|| build_binaries(Profile::of_this_build()).unwrap());
    let mut command = Command::new(BINARIES.join(stage));
    command.args(args).env("MILLRACE__ENRICH__IDENTITY_SECRET", SECRET).envs(variables.iter().copied());
    command.output().unwrap()
}

#[track_caller]
fn check_refused(stage: &str, args: &[&str], variables: &[(&str, &str)], words: &[&str]) {
    let checked = run(stage, &[args, &["--check-config"]].concat(), variables);
    let started = run(stage, args, variables);
    let errors = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(78), "{stage} {args:?} {variables:?} passes the check: {errors}");
    assert_eq!(started.status.code(), Some(78), "{stage} {args:?} {variables:?}: {started:?}");
    assert_eq!(errors, String::from_utf8(started.stderr).unwrap(), "the check and the start say the same");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(!errors.contains("canary-word"), "a secret is shown: {errors}");
    for word in words {
        assert!(errors.contains(word), "{variables:?} does not say {word:?}: {errors}");
    }
}

/// Section, key, value, and what the error says about it. Each process refuses each of them.
const WRONG_VALUES: &[(&str, &str, &str)] = &[
    ("pipeline", "", "a name"),
    ("pipeline", "my pipeline", "a name"),
    ("instance", "a/b", "a name"),
    ("startup_timeout", "0s", "from 1s to 1d"),
    ("startup_timeout", "2", "from 1s to 1d"),
    ("workers", "0", "from 1 to 256"),
    ("workers", "-1", "from 1 to 256"),
    ("workers", "1000000", "from 1 to 256"),
    ("workers", "two", "from 1 to 256"),
    ("memory_limit", "64MiB", "from 256"),
    ("memory_limit", "1 potato", "such as 1GiB"),
    ("memory_limit", "9999PiB", "from 256"),
    ("insecure_demo", "maybe", "boolean"),
    ("business_timezone", "Asia/Atlantis", "IANA time zone"),
    ("business_timezone", "", "IANA time zone"),
    ("kafka.brokers", "", "host:port"),
    ("kafka.brokers", "kafka", "host:port"),
    ("kafka.brokers", "kafka:0", "host:port"),
    ("kafka.brokers", "kafka:99999", "host:port"),
    ("kafka.brokers", "http://kafka:9092", "host:port"),
    ("kafka.brokers", "kafka-1:9092,", "host:port"),
    ("kafka.topic_prefix", "eu events", "letters, digits"),
    ("kafka.start", "middle", "one of earliest, latest"),
    ("kafka.partitions", "0", "from 1 to 10000"),
    ("kafka.partitions", "4294967296", "from 1 to 10000"),
    ("kafka.replication", "0", "from 1 to 32"),
    ("kafka.batch_interval", "0ms", "from 1ms to 10s"),
    ("kafka.batch_interval", "-5ms", "from 1ms to 10s"),
    ("kafka.batch_interval", "1h", "from 1ms to 10s"),
    ("kafka.batch_interval", "fast", "from 1ms to 10s"),
    ("kafka.batch_records", "0", "from 1 to 1000000"),
    ("kafka.transaction_timeout", "500ms", "from 1s to 15m"),
    ("kafka.transaction_timeout", "20m", "from 1s to 15m"),
    ("kafka.session_timeout", "1s", "from 6s to 5m"),
    ("kafka.session_timeout", "10m", "from 6s to 5m"),
    ("kafka.allow_create_time", "perhaps", "boolean"),
    ("clickhouse.url", "", "a URL"),
    ("clickhouse.url", "clickhouse:8123", "a URL"),
    ("clickhouse.url", "tcp://clickhouse:9000", "a URL"),
    ("clickhouse.url", "http://", "a URL"),
    ("clickhouse.url", "http://clickhouse:8123/?user=me&password=canary-word", "http://clickhouse:8123/?***"),
    ("kafka.brokers", "me:canary-word@kafka:9092", "***@kafka:9092"),
    ("clickhouse.url", "http://me:s3cret@clickhouse:8123", "http://***@clickhouse:8123"),
    ("clickhouse.database", "", "a name"),
    ("clickhouse.database", "mill;race", "a name"),
    ("clickhouse.user", "", "the name of a user"),
    ("clickhouse.password_file", "/no/such/file", "can be read"),
    ("clickhouse.password_file", "/", "a file with one secret"),
    ("clickhouse.engine", "MergeTree", "AggregatingMergeTree"),
    ("clickhouse.engine", "AggregatingMergeTree ORDER BY x", "AggregatingMergeTree"),
    ("http.listen", "everywhere", "address and port"),
    ("http.listen", "0.0.0.0", "address and port"),
    ("http.listen", "localhost:9464", "address and port"),
    ("http.processes", "ingest", "host:port"),
    ("http.processes", "http://ingest:9464", "host:port"),
    ("log.level", "verbose", "error, warn, info"),
    ("log.level", "a=b=c", "error, warn, info"),
    ("log.format", "xml", "one of auto, json, text"),
    ("ingest.apps", "Web-Main", "app_id"),
    ("ingest.apps", "web-main,app main", "app_id"),
    ("ingest.apps", "*", "app_id"),
    ("ingest.unknown_events", "ignore", "one of accept, reject"),
    ("ingest.max_event_age", "0s", "from 1m to 3650d"),
    ("ingest.max_event_age", "11years", "from 1m to 3650d"),
    ("ingest.undecodable", "skip", "one of dead_letter, halt"),
    ("enrich.dedupe_window", "0s", "from 1s to 30d"),
    ("enrich.dedupe_window", "1year", "from 1s to 30d"),
    ("enrich.dedupe_max_entries", "0", "from 1 to"),
    ("enrich.device_ttl", "1h", "from 1d to 3650d"),
    ("enrich.max_devices", "0", "from 1 to"),
    ("enrich.identity_secret_file", "/no/such/file", "both set"),
    ("enrich.own_hosts", "https://www.example.tv", "host name"),
    ("enrich.own_hosts", "*.example.tv", "host name"),
    ("enrich.own_hosts", "www.example.tv:443", "host name"),
    ("enrich.own_hosts", "example.tv/shop", "host name"),
    ("enrich.own_hosts", ".example.tv", "host name"),
    ("enrich.conversion_events", "VIP opened", "event_name"),
    ("aggregate.lanes", "lvie", "one of live, report"),
    ("aggregate.lanes", "live,live", "twice"),
    ("aggregate.lanes", "", "at least one lane"),
    ("aggregate.live_flush_interval", "0s", "from 10ms to 10m"),
    ("aggregate.report_flush_interval", "1d", "from 10ms to 10m"),
    ("aggregate.events_retention", "1h", "from 1d to 3650d"),
    ("aggregate.max_inserts_per_second", "0", "from 1 to 10000"),
    ("aggregate.max_groups", "0", "from 1 to"),
    ("aggregate.epoch", "0", "from 1 to"),
    ("aggregate.epoch", "-1", "from 1 to"),
    ("aggregate.longest_insert", "0s", "from 1s to 1d"),
    ("aggregate.retry_halted", "0s", "from 1s to 1d"),
];

fn variable(key: &str) -> String {
    format!("MILLRACE__{}", key.replace('.', "__").to_uppercase())
}

#[test]
fn a_wrong_value_is_refused_by_the_check_and_by_the_start() {
    for (case, (key, value, words)) in WRONG_VALUES.iter().enumerate() {
        let stage = ["ingest", "enrich", "aggregate"][case % 3];
        let variable = variable(key);
        check_refused(stage, &[], &[(&variable, value)], &[&variable, key, words]);
    }
}

#[test]
fn an_unknown_key_and_values_that_do_not_fit_each_other_are_refused() {
    for (variables, words) in [
        (
            &[("MILLRACE__KAFKA__BROKER", "kafka:9092")][..],
            &["unknown key kafka.broker", "MILLRACE__KAFKA__BROKERS"][..],
        ),
        (&[("MILLRACE__KAFKA", "kafka:9092")], &["kafka is a section"]),
        (
            &[("MILLRACE__KAFKA__BATCH_INTERVAL", "10s"), ("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "11s")],
            &["kafka.transaction_timeout", "twice kafka.batch_interval"],
        ),
    ] {
        check_refused("aggregate", &[], variables, words);
    }
}

/// A file with this text in the directory.
fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_file_that_a_stage_cannot_use_is_refused_by_the_check_and_by_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let open = file(directory.path(), "open", SECRET);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let empty = file(directory.path(), "empty", "\n");
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
    let broken = file(directory.path(), "broken.toml", "version = [");
    let other = file(directory.path(), "other.toml", "[[cube]]\nname = \"x\"\n");
    let [open, empty, broken, other] = [&open, &empty, &broken, &other].map(|path| path.to_str().unwrap());
    for (stage, key, path, words) in [
        ("ingest", "clickhouse.password_file", open, "chmod 0640"),
        ("aggregate", "clickhouse.password_file", empty, "it is empty"),
        ("enrich", "enrich.channels_file", "/no/such/rules.toml", "can be read"),
        ("enrich", "enrich.channels_file", broken, "valid channel rules"),
        ("enrich", "enrich.channels_file", other, "valid channel rules"),
        ("aggregate", "aggregate.cubes_file", "/no/such/cubes.toml", "cannot be read"),
        ("aggregate", "aggregate.cubes_file", broken, "valid cubes"),
        ("aggregate", "aggregate.cubes_file", other, "valid cubes"),
    ] {
        let variable = variable(key);
        check_refused(stage, &[], &[(&variable, path)], &[&variable, key, path, words]);
    }
    for (text, words) in [
        ("workers = \"many\"\n", &["line 1", "workers", "from 1 to 256"][..]),
        ("\n[ingest]\nmax_event_aeg = \"3d\"\n", &["line 3", "did you mean ingest.max_event_age"]),
        ("[kafka\n", &["line 1"]),
        ("[enrich.active]\nviewer = []\n", &["line 2", "enrich.active.viewer", "same as `any`"]),
        ("[enrich.active]\nviewer = 5\n", &["line 2", "enrich.active.viewer"]),
        ("[enrich.active]\nviewer = [{ no_such_field = \"x\" }]\n", &["line 2", "no_such_field"]),
    ] {
        let path = file(directory.path(), "millrace.toml", text);
        check_refused("enrich", &["--config", path.to_str().unwrap()], &[], words);
    }
    check_refused("ingest", &["--config", "/no/such/millrace.toml"], &[], &["/no/such/millrace.toml"]);
}

#[test]
fn enrich_alone_needs_an_identity_secret_and_insecure_demo_accepts_none() {
    for secret in ["", "millrace"] {
        let variables = [("MILLRACE__ENRICH__IDENTITY_SECRET", secret)];
        check_refused(
            "enrich",
            &[],
            &variables,
            &["enrich.identity_secret", "openssl rand", "--insecure-demo"],
        );
        for (stage, args) in [
            ("enrich", &["--check-config", "--insecure-demo"][..]),
            ("ingest", &["--check-config"]),
            ("aggregate", &["--check-config"]),
        ] {
            let output = run(stage, args, &variables);
            assert!(output.status.success(), "{stage}: {output:?}");
        }
    }
}

#[test]
fn a_variable_that_has_no_effect_is_warned_of() {
    let output = run("ingest", &["--check-config"], &[("MILLRACE_KAFKA__BROKERS", "kafka:9092")]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.starts_with("warning: "), "{errors}");
    assert!(
        errors.contains("MILLRACE_KAFKA__BROKERS") && errors.contains("MILLRACE__KAFKA__BROKERS"),
        "{errors}"
    );
}
