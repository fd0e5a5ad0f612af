//! A refused connection is one line that says what to mend.

use std::{
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use devstack::{Profile, build_binaries};
use system_tests::{
    certificates::{Authority, Files},
    stack, tls_proxy,
};

use crate::{shared, variables};

/// A certificate problem is found at once, far sooner than a server that does not answer.
const SOON: Duration = Duration::from_secs(30);

fn run(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Output {
    let directory = build_binaries(Profile::of_this_build()).unwrap();
    let mut command = Command::new(directory.join(program));
    command
        .args(arguments)
        .env("MILLRACE__HTTP__LISTEN", "127.0.0.1:0")
        .env("MILLRACE__ENRICH__IDENTITY_SECRET", "a secret of more than 16 characters")
        .env("MILLRACE__STARTUP_TIMEOUT", "60s")
        .envs(variables.iter().map(|(key, value)| (key, value)));
    command.output().unwrap()
}

/// A case: who connects where, what is changed, and words of the error.
struct Case {
    listener: &'static str,
    changed: Vec<(&'static str, String)>,
    words: Vec<&'static str>,
}

fn case(listener: &'static str, changed: &[(&'static str, &str)], words: &[&'static str]) -> Case {
    let changed = changed.iter().map(|&(key, value)| (key, value.to_owned())).collect();
    Case { listener, changed, words: words.to_vec() }
}

/// Runs a command for each case. All at once: they wait for the network.
fn check(arguments: &[&str], cases: &[Case]) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || {
                let mut variables = variables(case.listener, "millrace");
                for (key, value) in &case.changed {
                    let key = format!("MILLRACE__{key}");
                    variables.push((key, value.clone()));
                }
                let started = Instant::now();
                let output = run("millrace", arguments, &variables);
                let errors = String::from_utf8_lossy(&output.stderr);
                let what = format!("{} {:?}: {errors}", case.listener, case.changed);
                assert!(!output.status.success(), "{what}");
                assert!(started.elapsed() < SOON, "{what}");
                let line = errors.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
                for word in &case.words {
                    assert!(line.contains(word), "no {word:?} in {what}");
                }
            });
        }
    });
}

#[test]
fn a_refused_connection_to_kafka_says_what_to_mend() {
    let secure = &shared().secure;
    let path = |name: &str| secure.file(name).display().to_string();
    Authority::new(&secure.file(""), "other-ca").unwrap().sign("stranger", &[]).unwrap();

    let files = ["other-ca.pem", "stranger.pem", "stranger.key"].map(path);
    let [other, stranger, stranger_key] = files.each_ref().map(String::as_str);
    let no_sasl =
        [("KAFKA__SECURITY_PROTOCOL", "ssl"), ("KAFKA__SASL__USERNAME", ""), ("KAFKA__SASL__PASSWORD", "")];
    let with = |more: &[(&'static str, &str)], words: &[&'static str]| {
        let changed: Vec<(&str, &str)> = no_sasl.iter().chain(more).copied().collect();
        case("CERTIFICATE", &changed, words)
    };
    check(
        &["topics", "check"],
        &[
            case("SASL", &[("KAFKA__SSL__CA_FILE", other)], &["no trusted CA", "kafka.ssl.ca_file"]),
            case("EXPIRED", &[], &["has expired at 2021-01-01", "renew"]),
            case("ELSEWHERE", &[], &["kafka.example", "not for 127.0.0.1", "kafka.brokers"]),
            case(
                "SASL",
                &[("KAFKA__SASL__PASSWORD", "wrong")],
                &["user millrace", "kafka.sasl.password_file"],
            ),
            // The password is wrong, whatever the certificate of the listener says about its host.
            case(
                "ELSEWHERE",
                &[("KAFKA__SSL__VERIFY_HOSTNAME", "false"), ("KAFKA__SASL__PASSWORD", "wrong")],
                &["user millrace", "kafka.sasl.password_file"],
            ),
            case("SASL", &[("KAFKA__SASL__USERNAME", "nobody")], &["user nobody", "kafka.sasl.username"]),
            case(
                "SASL",
                &[("KAFKA__SASL__MECHANISM", "SCRAM-SHA-256")],
                &["kafka.sasl.mechanism SCRAM-SHA-256", "SCRAM-SHA-512"],
            ),
            case(
                "SASL",
                &[("KAFKA__SECURITY_PROTOCOL", "sasl_plaintext"), ("KAFKA__SSL__CA_FILE", "")],
                &["kafka.security_protocol, which is sasl_plaintext"],
            ),
            case("SASL", &[("KAFKA__BROKERS", stack().brokers())], &["does not speak TLS"]),
            with(&[], &["requires a certificate of the client", "kafka.ssl.certificate_file"]),
            with(
                &[("KAFKA__SSL__CERTIFICATE_FILE", stranger), ("KAFKA__SSL__KEY_FILE", stranger_key)],
                &["does not accept the certificate of the client", "kafka.ssl.certificate_file"],
            ),
            case("SASL", &[], &["does not allow user millrace", "millrace topics acls"]),
        ],
    );
}

#[test]
fn a_refused_connection_to_clickhouse_says_what_to_mend() {
    let secure = &shared().secure;
    let path = |name: &str| secure.file(name).display().to_string();
    Authority::new(&secure.file(""), "another-ca").unwrap().sign("unknown", &[]).unwrap();
    let target = stack().clickhouse_url().trim_start_matches("http://");
    let https = |files: &Files, client_ca: Option<&Path>| {
        format!("https://{}", tls_proxy::start(target, files, client_ca).unwrap())
    };
    let authority = &secure.authority;
    let expired = https(&authority.sign_until("old-clickhouse", &["127.0.0.1"], 2022).unwrap(), None);
    let elsewhere = https(&authority.sign("moved-clickhouse", &["clickhouse.example"]).unwrap(), None);
    let asks = https(&secure.server, Some(&secure.file("ca.pem")));
    let plain = format!("https://{target}");
    let files = ["another-ca.pem", "unknown.pem", "unknown.key"].map(path);
    let [other, unknown, unknown_key] = files.each_ref().map(String::as_str);
    check(
        &["migrate"],
        &[
            case("SASL", &[("CLICKHOUSE__CA_FILE", other)], &["no trusted CA", "clickhouse.ca_file"]),
            case("SASL", &[("CLICKHOUSE__URL", &*expired)], &["has expired at 2022-01-01", "renew"]),
            case(
                "SASL",
                &[("CLICKHOUSE__URL", &*elsewhere)],
                &["clickhouse.example", "not for 127.0.0.1", "clickhouse.url"],
            ),
            case("SASL", &[("CLICKHOUSE__URL", &*plain)], &["does not speak TLS", "clickhouse.url"]),
            case(
                "SASL",
                &[("CLICKHOUSE__URL", &*asks)],
                &["requires a certificate", "clickhouse.certificate_file"],
            ),
            case(
                "SASL",
                &[
                    ("CLICKHOUSE__URL", &*asks),
                    ("CLICKHOUSE__CERTIFICATE_FILE", unknown),
                    ("CLICKHOUSE__KEY_FILE", unknown_key),
                ],
                &["does not accept the certificate of the client", "clickhouse.certificate_file"],
            ),
            case(
                "SASL",
                &[("CLICKHOUSE__PASSWORD", "wrong")],
                &["does not accept user `default`", "clickhouse.password"],
            ),
        ],
    );
}

#[test]
fn a_certificate_of_the_client_and_an_unchecked_host_name_are_accepted() {
    let secure = &shared().secure;
    let client = secure.authority.sign("nobody", &[]).unwrap();
    let mut certified = variables("CERTIFICATE", "millrace");
    certified.retain(|(key, _)| !key.contains("SASL"));
    certified.extend(
        [
            ("KAFKA__SECURITY_PROTOCOL", "ssl".to_owned()),
            ("KAFKA__SSL__CERTIFICATE_FILE", client.certificate.display().to_string()),
            ("KAFKA__SSL__KEY_FILE", client.key.display().to_string()),
        ]
        .map(|(key, value)| (format!("MILLRACE__{key}"), value)),
    );
    let mut unchecked = variables("ELSEWHERE", "millrace");
    unchecked.push(("MILLRACE__KAFKA__SSL__VERIFY_HOSTNAME".to_owned(), "false".to_owned()));
    for variables in [certified, unchecked] {
        let output = run("millrace", &["activity", "list"], &variables);
        let errors = String::from_utf8_lossy(&output.stderr);
        // The connection works; only the topic is not allowed.
        assert!(errors.contains("kafka does not allow"), "{variables:?}: {errors}");
    }
}

#[test]
fn a_stage_that_kafka_refuses_ends_with_one_line() {
    let mut variables = variables("SASL", "ingest");
    variables.push(("MILLRACE__KAFKA__SASL__PASSWORD".to_owned(), "canary-word".to_owned()));
    variables.push(("MILLRACE__LOG__FORMAT".to_owned(), "text".to_owned()));
    variables.push(("MILLRACE__LOG__LEVEL".to_owned(), "trace".to_owned()));
    for stage in ["ingest", "enrich", "aggregate"] {
        let output = run(stage, &[], &variables);
        let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let error = log.lines().find(|line| line.contains("stage failed")).unwrap_or_default();
        assert!(error.contains("does not accept user ingest with SCRAM-SHA-512"), "{stage}: {log}");
        assert!(log.contains("TRACE"), "{stage} does not log every detail");
        assert!(!log.contains("canary-word"), "{stage} logs the password: {log}");
    }
}
