//! The same for TLS, SASL and the options of librdkafka: what does not work is found before a connection.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::LazyLock};

use system_tests::certificates::Authority;
use tempfile::TempDir;

use crate::{check_refused, file, run};

const STAGES: [&str; 3] = ["ingest", "enrich", "aggregate"];

/// Certificates and other files, each of which is named `@{file}` in the cases below.
static FILES: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let authority = Authority::new(path, "ca").unwrap();
    authority.sign("client", &[]).unwrap();
    authority.sign("other", &[]).unwrap();
    private(path, "password", "canary-word");
    private(path, "two-lines", "canary-word\ncanary-word\n");
    private(path, "encrypted.pem", include_str!("encrypted.pem"));
    private(path, "encrypted.key", include_str!("encrypted.key"));
    private(path, "broken.pem", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
    let key = fs::read_to_string(path.join("client.key")).unwrap();
    let both = fs::read_to_string(path.join("client.pem")).unwrap() + &key;
    for (name, text) in [("open.key", &key), ("open-both.pem", &both)] {
        fs::set_permissions(file(path, name, text), fs::Permissions::from_mode(0o644)).unwrap();
    }
    directory
});

fn private(directory: &Path, name: &str, text: &str) {
    fs::set_permissions(file(directory, name, text), fs::Permissions::from_mode(0o600)).unwrap();
}

/// `@ca.pem` becomes the path of that file.
fn value(written: &str) -> String {
    match written.strip_prefix('@') {
        Some(name) => FILES.path().join(name).display().to_string(),
        None => written.to_owned(),
    }
}

/// `KEY=value` for each variable, and what the error says.
type Case = (&'static [&'static str], &'static [&'static str]);

fn variables(settings: &[&str]) -> Vec<(String, String)> {
    let split = settings.iter().map(|setting| setting.split_once('=').unwrap());
    split.map(|(key, written)| (format!("MILLRACE__{key}"), value(written))).collect()
}

fn check_all_refused(cases: &[Case]) {
    for (nth, (settings, words)) in cases.iter().enumerate() {
        let variables = variables(settings);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(key, value)| (&**key, &**value)).collect();
        check_refused(STAGES[nth % 3], &[], &variables, words);
    }
}

const WRONG_SECURITY: &[Case] = &[
    (&["KAFKA__SECURITY_PROTOCOL=tls"], &["one of plaintext, ssl, sasl_ssl, sasl_plaintext"]),
    (&["KAFKA__SECURITY_PROTOCOL="], &["one of plaintext, ssl"]),
    (&["KAFKA__SASL__MECHANISM=SCRAM-SHA-1"], &["one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"]),
    (&["KAFKA__SASL__MECHANISM=OAUTHBEARER"], &["kafka.sasl.mechanism", "one of SCRAM-SHA-512"]),
    (&["KAFKA__SSL__VERIFY_HOSTNAME=maybe"], &["kafka.ssl.verify_hostname", "boolean"]),
    (
        &["KAFKA__SECURITY_PROTOCOL=sasl_plaintext", "KAFKA__SASL__PASSWORD=canary-word"],
        &["kafka.sasl.username", "a user"],
    ),
    (
        &["KAFKA__SECURITY_PROTOCOL=SASL_SSL", "KAFKA__SSL__CA_FILE=@ca.pem", "KAFKA__SASL__USERNAME=me"],
        &["kafka.sasl.password", "set kafka.sasl.password_file"],
    ),
    (&["KAFKA__SASL__PASSWORD=canary-word"], &["MILLRACE__KAFKA__SASL__PASSWORD", "sasl_ssl", "***"]),
    (&["KAFKA__SASL__USERNAME=me"], &["kafka.sasl.username", "kafka.security_protocol = \"plaintext\""]),
    (
        &["KAFKA__SASL__PASSWORD=canary-word", "KAFKA__SASL__PASSWORD_FILE=@password"],
        &["kafka.sasl.password and kafka.sasl.password_file are both set"],
    ),
    (&["KAFKA__SASL__PASSWORD_FILE=@open.key"], &["kafka.sasl.password_file", "chmod 0640"]),
    (&["KAFKA__SSL__CA_FILE=@ca.pem"], &["kafka.ssl.ca_file", "set that to ssl or sasl_ssl"]),
    (
        &["KAFKA__SECURITY_PROTOCOL=ssl", "KAFKA__SSL__CA_FILE=/no/such/ca.pem"],
        &["MILLRACE__KAFKA__SSL__CA_FILE", "kafka.ssl.ca_file = \"/no/such/ca.pem\"", "can be read"],
    ),
    (
        &["KAFKA__SECURITY_PROTOCOL=ssl", "KAFKA__SSL__CA_FILE=@client.key"],
        &["kafka.ssl.ca_file", "BEGIN CERTIFICATE"],
    ),
    (
        &["KAFKA__SECURITY_PROTOCOL=ssl", "KAFKA__SSL__CA_FILE=@broken.pem"],
        &["kafka.ssl.ca_file", "PEM file with certificates"],
    ),
    (
        &["KAFKA__SECURITY_PROTOCOL=ssl", "KAFKA__SSL__CA=canary-word"],
        &["kafka.ssl.ca = \"***\"", "BEGIN CERTIFICATE"],
    ),
    (
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@client.pem",
        ],
        &["kafka.ssl.certificate_file", "set kafka.ssl.key_file too"],
    ),
    (
        &["KAFKA__SECURITY_PROTOCOL=ssl", "KAFKA__SSL__CA_FILE=@ca.pem", "KAFKA__SSL__KEY_FILE=@client.key"],
        &["kafka.ssl.key_file", "set kafka.ssl.certificate_file too"],
    ),
    (
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@client.pem",
            "KAFKA__SSL__KEY_FILE=@other.key",
        ],
        &["kafka.ssl.key_file", "the key of the certificate in kafka.ssl.certificate_file"],
    ),
    (
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@client.pem",
            "KAFKA__SSL__KEY_FILE=@open.key",
        ],
        &["kafka.ssl.key_file", "chmod 0640"],
    ),
    // Only librdkafka reads an encrypted key.
    (
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@encrypted.pem",
            "KAFKA__SSL__KEY_FILE=@encrypted.key",
            "KAFKA__SSL__KEY_PASSWORD=canary-word",
        ],
        &["librdkafka", "ssl.key.location", "kafka.ssl"],
    ),
    (&["CLICKHOUSE__CA_FILE=@ca.pem"], &["clickhouse.ca_file", "https://"]),
    (
        &["CLICKHOUSE__URL=https://clickhouse:8443", "CLICKHOUSE__CA_FILE=/no/such/ca.pem"],
        &["MILLRACE__CLICKHOUSE__CA_FILE", "clickhouse.ca_file = \"/no/such/ca.pem\"", "can be read"],
    ),
    (
        &["CLICKHOUSE__URL=https://clickhouse:8443", "CLICKHOUSE__CA_FILE=@password"],
        &["clickhouse.ca_file", "BEGIN CERTIFICATE"],
    ),
    (
        &[
            "CLICKHOUSE__URL=https://clickhouse:8443",
            "CLICKHOUSE__CA_FILE=@ca.pem",
            "CLICKHOUSE__KEY_FILE=@client.key",
        ],
        &["clickhouse.key_file", "set clickhouse.certificate_file too"],
    ),
    (
        &[
            "CLICKHOUSE__URL=https://clickhouse:8443",
            "CLICKHOUSE__CA_FILE=@ca.pem",
            "CLICKHOUSE__CERTIFICATE_FILE=@client.pem",
            "CLICKHOUSE__KEY_FILE=@open.key",
        ],
        &["clickhouse.key_file", "chmod 0640"],
    ),
    (
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@open-both.pem",
            "KAFKA__SSL__KEY_FILE=@client.key",
        ],
        &["kafka.ssl.certificate_file", "chmod 0640"],
    ),
    (&["CLICKHOUSE__PASSWORD_FILE=canary-word"], &["clickhouse.password_file", "can be read"]),
    (&["CLICKHOUSE__PASSWORD_FILE=@two-lines"], &["clickhouse.password_file", "on one line"]),
    (&["CLICKHOUSE__USER_FILE=/no/such/file"], &["clickhouse.user_file", "can be read"]),
    (
        &["CLICKHOUSE__USER=me", "CLICKHOUSE__USER_FILE=@password"],
        &["clickhouse.user and clickhouse.user_file are both set"],
    ),
];

#[test]
fn security_that_does_not_work_is_refused_by_the_check_and_by_the_start() {
    check_all_refused(WRONG_SECURITY);
}

#[test]
fn security_that_works_passes_the_check_and_shows_no_secret() {
    for settings in [
        &[
            "KAFKA__SECURITY_PROTOCOL=SASL_SSL",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SASL__MECHANISM=SCRAM-SHA-256",
            "KAFKA__SASL__USERNAME=me",
            "KAFKA__SASL__PASSWORD_FILE=@password",
            "CLICKHOUSE__URL=https://clickhouse:8443",
            "CLICKHOUSE__CA_FILE=@ca.pem",
            "CLICKHOUSE__CERTIFICATE_FILE=@client.pem",
            "CLICKHOUSE__KEY_FILE=@client.key",
        ][..],
        &[
            "KAFKA__SECURITY_PROTOCOL=ssl",
            "KAFKA__SSL__CA_FILE=@ca.pem",
            "KAFKA__SSL__CERTIFICATE_FILE=@encrypted.pem",
            "KAFKA__SSL__KEY_FILE=@encrypted.key",
            "KAFKA__SSL__KEY_PASSWORD=right-word",
        ],
        &[
            "KAFKA__SECURITY_PROTOCOL=sasl_plaintext",
            "KAFKA__SASL__MECHANISM=PLAIN",
            "KAFKA__SASL__USERNAME=me",
            "KAFKA__SASL__PASSWORD=canary-word",
        ],
    ] {
        let variables = variables(settings);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(key, value)| (&**key, &**value)).collect();
        for stage in STAGES {
            let output = run(stage, &["--check-config"], &variables);
            let shown = String::from_utf8_lossy(&[&*output.stdout, &output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{stage} {settings:?}: {shown}");
            assert!(!shown.contains("canary-word") && !shown.contains("right-word"), "{shown}");
        }
    }
}

/// An option of librdkafka, its value, and what the error says. The name of its variable has `_` instead of `.`.
const WRONG_OPTIONS: &[(&str, &str, &str)] = &[
    ("acks", "1", "exactly-once"),
    ("enable.auto.commit", "true", "exactly-once"),
    ("enable.idempotence", "false", "exactly-once"),
    ("isolation.level", "read_uncommitted", "aborted transactions"),
    ("auto.offset.reset", "earliest", "kafka.start"),
    ("check.crcs", "false", "damaged batch"),
    ("transactional.id", "x", "pipeline and instance"),
    ("group.instance.id", "x", "pipeline and instance"),
    ("group.protocol", "consumer", "range assignor"),
    ("bootstrap.servers", "kafka:9092", "kafka.brokers"),
    ("session.timeout.ms", "6000", "kafka.session_timeout"),
    ("fetch.max.bytes", "1000000000", "memory_limit"),
    ("statistics.interval.ms", "0", "statistics"),
    ("plugin.library.paths", "/tmp/x.so", "loads code"),
    ("security.protocol", "ssl", "kafka.security_protocol"),
    ("ssl.ca.location", "/ca.pem", "kafka.ssl.ca_file"),
    ("enable.ssl.certificate.verification", "false", "kafka.ssl.ca_file"),
    ("ssl.endpoint.identification.algorithm", "none", "kafka.ssl.verify_hostname"),
    ("sasl.password", "canary-word", "kafka.sasl.password_file"),
    // librdkafka ignores the prefix.
    ("topic.acks", "0", "exactly-once"),
    ("topic.auto.offset.reset", "latest", "kafka.start"),
    ("topic.message.timeout.ms", "1", "exactly-once"),
    ("offset.store.method", "file", "exactly-once"),
    ("ssl.providers", "canary-word", "loads code"),
    ("ssl.engine.location", "/tmp/x.so", "loads code"),
    ("internal.termination.signal", "29", "signal"),
    // Only librdkafka knows these.
    ("socket.keepalive", "true", "does not work: No such configuration property"),
    ("socket.keepalive.enable", "perhaps", "does not work: "),
    ("linger.ms", "-5", "does not work: "),
    ("compression.codec", "brotli", "does not work: "),
    ("sasl.jaas.config", "canary-word", "does not work: "),
    // The misspelled name of a secret.
    ("sasl.passwd", "canary-word", "does not work: No such configuration property"),
    ("ssl.keystore.key", "canary-word", "does not work: No such configuration property"),
    ("socket.kepalive", "canary-word", "does not work: No such configuration property"),
];

#[test]
fn an_option_that_cannot_be_set_is_refused_by_the_check_and_by_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (nth, (option, value, words)) in WRONG_OPTIONS.iter().enumerate() {
        let key = format!("kafka.options.{option} ");
        let variable = format!("MILLRACE__KAFKA__OPTIONS__{}", option.replace('.', "_").to_uppercase());
        check_refused(STAGES[nth % 3], &[], &[(&variable, value)], &[&variable, &key, words]);
        let command = run("millrace", &["topics", "check"], &[(&variable, value)]);
        let error = String::from_utf8_lossy(&command.stderr).into_owned();
        assert_eq!(command.status.code(), Some(78), "{error}");
        assert!(error.contains(&key) && error.contains(words) && !error.contains("canary-word"), "{error}");
        // TOML reads a name without quotation marks as tables within tables.
        let name = if nth % 2 == 0 { format!("{option:?}") } else { (*option).to_owned() };
        let path = file(directory.path(), "millrace.toml", &format!("[kafka.options]\n{name} = {value:?}\n"));
        let arguments = ["--config", path.to_str().unwrap()];
        check_refused(STAGES[(nth + 1) % 3], &arguments, &[], &["line 2", &key, words]);
    }
}

#[test]
fn options_that_do_not_fit_together_are_refused_by_the_check_and_by_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let list = file(directory.path(), "millrace.toml", "[kafka.options]\n\"client.rack\" = [\"r1\"]\n");
    check_refused(
        "enrich",
        &["--config", list.to_str().unwrap()],
        &[],
        &["line 2: kafka.options.client.rack", "expected a text"],
    );
    check_all_refused(&[
        (
            &["KAFKA__OPTIONS__MAX_POLL_INTERVAL_MS=5000"],
            &["librdkafka", "max.poll.interval.ms", "kafka.options"],
        ),
        (&["KAFKA__OPTIONS__RECONNECT_BACKOFF_MS=60000"], &["librdkafka", "reconnect.backoff.max.ms"]),
    ]);
}

#[test]
fn an_option_of_the_environment_has_dots_and_overrides_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[kafka.options]\nsocket.keepalive.enable = false\n\"client.rack\" = \"r1\"\nlinger.ms = 7\n";
    let path = file(directory.path(), "millrace.toml", text);
    let variables = [
        ("MILLRACE__KAFKA__OPTIONS__SOCKET_KEEPALIVE_ENABLE", "true"),
        ("MILLRACE__KAFKA__OPTIONS__CLIENT_RACK", "r2"),
    ];
    for stage in STAGES {
        let output = run(stage, &["--check-config", "--config", path.to_str().unwrap()], &variables);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{stage}: {output:?}");
        let (_, options) = shown.split_once("[kafka.options]\n").unwrap();
        let options: Vec<&str> = options.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(
            options,
            ["\"client.rack\" = \"r2\"", "\"linger.ms\" = \"7\"", "\"socket.keepalive.enable\" = \"true\""]
        );
    }
}
