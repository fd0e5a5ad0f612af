//! Secrets that processes read from files appear nowhere: in no log at the most detailed level, no page, no argument or
//! variable of a process, no error and no panic.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use simulator::Config;
use system_tests::{
    CLICKHOUSE_PASSWORD, CLICKHOUSE_USER, WAIT, compare, eventually, get, http_address, logs, pipeline, send,
    settle, simulator, start, start_stages,
};

const IDENTITY_SECRET: &str = "canary-identity-7c1d0b96e2";

fn secret_file(directory: &Path, name: &str, secret: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn check(place: &str, text: &str) {
    for secret in [CLICKHOUSE_PASSWORD, IDENTITY_SECRET] {
        assert!(!text.contains(secret), "{place} shows a secret");
    }
}

#[test]
fn no_secret_appears_in_logs_pages_arguments_errors_and_panics() {
    let directory = tempfile::tempdir().unwrap();
    let password = secret_file(directory.path(), "password", CLICKHOUSE_PASSWORD);
    let identity = secret_file(directory.path(), "identity", IDENTITY_SECRET);
    let mut pipeline = pipeline("secrets");
    for (key, value) in [
        ("MILLRACE__CLICKHOUSE__USER", CLICKHOUSE_USER),
        ("MILLRACE__CLICKHOUSE__PASSWORD_FILE", &password),
        ("MILLRACE__ENRICH__IDENTITY_SECRET", ""),
        ("MILLRACE__ENRICH__IDENTITY_SECRET_FILE", &identity),
        ("MILLRACE__LOG__LEVEL", "trace"),
    ] {
        pipeline.set(key, value);
    }
    let mut simulator = simulator(&pipeline, Config { seed: 97, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 500, None);

    let mut seen = 0;
    for process in &stages {
        let address = http_address(process).unwrap();
        for page in ["/status", "/metrics", "/livez", "/readyz"] {
            check(page, &get(&address, page).1);
        }
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(
                file == "cmdline" || text.contains(&identity),
                "{file} is not that of {}",
                process.name()
            );
            check(file, &text);
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
    check(
        "millrace status",
        &pipeline.millrace(&["status", "--json"]).unwrap_or_else(|error| error.to_string()),
    );

    let place = stages.iter().position(|process| process.name().starts_with("aggregate")).unwrap();
    stages[place].terminate(WAIT).unwrap();
    let wrong = secret_file(directory.path(), "wrong", &format!("{CLICKHOUSE_PASSWORD}-wrong"));
    let variables = [("MILLRACE__CLICKHOUSE__PASSWORD_FILE", &*wrong)];
    let mut refused = pipeline.start("aggregate", "0", &[], &variables).unwrap();
    eventually("refused", WAIT, || refused.exit_status().unwrap());
    assert!(refused.log_tail(5).contains("clickhouse.password"), "{}", refused.log_tail(5));
    if cfg!(debug_assertions) {
        let variables = [("MILLRACE_FAILPOINT", "panic:insert@1")];
        let mut panicking = pipeline.start("aggregate", "0", &[], &variables).unwrap();
        eventually("panicked", WAIT, || {
            send(&pipeline, &mut simulator, 50, None);
            panicking.exit_status().unwrap()
        });
        assert!(panicking.log_tail(50).contains("panicked, the process aborts"));
    }
    stages[place] = start(&pipeline, "aggregate", "0");
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, stages);
    // All starts of a process append to one log.
    for stage in ["ingest", "enrich", "aggregate"] {
        let log = logs(&pipeline).join(format!("{stage}-0.log"));
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("\"level\":\"TRACE\""), "{} is not detailed", log.display());
        check(&log.display().to_string(), &text);
    }
    compare::assert_equal_to_truth(&pipeline, &truth);
}
