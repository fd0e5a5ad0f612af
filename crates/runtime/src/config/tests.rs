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

/// What the mistakes of a file say, line by line, without the name of its directory.
fn mistakes_of(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millrace.toml");
    std::fs::write(&path, text).unwrap();
    let error = load_from(Some(&path), variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())));
    let directory = format!("{}/", dir.path().display());
    error.unwrap_err().to_string().replace(&directory, "").lines().map(str::to_owned).collect()
}

#[test]
fn one_run_shows_every_mistake_with_its_line_or_variable() {
    let file = "\
workers = \"many\"
[kafka]
start = \"middle\"
brokres = \"k:1\"

[ingest]
max_event_age = \"1h\"
apps = [\"web-main\", \"Web_Main\"]
";
    let mistakes = mistakes_of(file, &[("MILLRACE__INGEST__UNKNOWN_EVENTS", "ignore")]);
    for (index, expected) in [
        "millrace.toml line 1: workers = \"many\" is not a whole number from 1 to 256",
        "millrace.toml line 3: kafka.start = \"middle\" is not one of earliest, latest",
        "millrace.toml line 4: unknown key kafka.brokres: did you mean kafka.brokers (MILLRACE__KAFKA__BROKERS)?",
        "millrace.toml line 8: ingest.apps = \"Web_Main\" is not an app_id that an event can have",
        "environment variable MILLRACE__INGEST__UNKNOWN_EVENTS: ingest.unknown_events = \"ignore\" is not one of accept, \
         reject",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(mistakes[index].starts_with(expected), "{expected}\n{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
}

#[test]
fn every_error_of_the_toml_is_shown_with_its_line() {
    let mistakes = mistakes_of("workers = \n\n[kafka\nbrokers = \"k:1\"\n", &[]);
    assert!(mistakes.len() >= 2 && mistakes[0].starts_with("millrace.toml line 1: "), "{mistakes:#?}");
}

#[test]
fn a_variable_with_the_wrong_underscores_is_warned_of() {
    for (variable, expected) in [
        ("MILLRACE_KAFKA__BROKERS", Some("MILLRACE__KAFKA__BROKERS")),
        ("MILLRACE_HTTP_LISTEN", Some("MILLRACE__HTTP__LISTEN")),
        ("millrace__workers", Some("MILLRACE__WORKERS")),
        ("MILLRACE_CONFIG", None),
        ("MILLRACE_TEST_KAFKA", None),
        ("PATH", None),
    ] {
        let warnings = load_with(&[(variable, "k:1")]).unwrap().warnings;
        match expected {
            Some(name) => {
                assert!(warnings[0].contains(variable) && warnings[0].contains(name), "{warnings:?}")
            }
            None => assert!(warnings.is_empty(), "{warnings:?}"),
        }
    }
}

#[test]
fn a_guessable_identity_secret_needs_insecure_demo() {
    for (secret, is_accepted) in
        [("", false), ("millrace", false), ("fifteen letters", false), ("sixteen letters!", true)]
    {
        let variable = ("MILLRACE__ENRICH__IDENTITY_SECRET", secret);
        assert_eq!(load_with(&[variable]).unwrap().identity_secret().is_ok(), is_accepted, "{secret}");
        let demo = load_with(&[variable, ("MILLRACE__INSECURE_DEMO", "true")]).unwrap();
        assert_eq!(demo.identity_secret().unwrap().expose(), secret);
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_a_mistake_unless_it_is_a_demonstration() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    for (mode, is_accepted) in [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o660, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let variable = ("MILLRACE__CLICKHOUSE__PASSWORD_FILE", path.to_str().unwrap());
        match load_with(&[variable]) {
            Ok(_) => assert!(is_accepted, "{mode:o}"),
            Err(error) => {
                assert!(!is_accepted && error.to_string().contains("chmod 0640"), "{mode:o}: {error}")
            }
        }
        let demo = load_with(&[variable, ("MILLRACE__INSECURE_DEMO", "true")]).unwrap();
        assert_eq!(demo.warnings.is_empty(), is_accepted, "{mode:o}");
    }
}

#[test]
fn a_password_in_a_url_or_of_the_wrong_type_is_not_shown() {
    let url = ("MILLRACE__CLICKHOUSE__URL", "http://millrace:s3cret@clickhouse:8123");
    let error = load_with(&[url]).unwrap_err().to_string();
    assert!(
        error.contains("http://***@clickhouse:8123") && error.contains("clickhouse.password_file"),
        "{error}"
    );
    for file in ["password = [\"s3cret\"]", "password = { a = \"s3cret\" }"] {
        let mistakes = mistakes_of(&format!("[clickhouse]\n{file}\n"), &[]).concat();
        assert!(mistakes.contains("clickhouse.password"), "{mistakes}");
        assert!(!mistakes.contains("s3cret"), "{mistakes}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap();
    let settings = load_with(&[("MILLRACE__CLICKHOUSE__PASSWORD_FILE", path)]).unwrap();
    assert_eq!(settings.clickhouse.password.expose(), "s3cret");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let variable = ("MILLRACE__CLICKHOUSE__PASSWORD".to_owned(), "s3cret".to_owned());
    let shown = Written::read_from(None, [variable]).unwrap().masked();
    assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn options_of_librdkafka_have_their_own_names_and_those_that_correctness_depends_on_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millrace.toml");
    let text =
        "[kafka.options]\n\"socket.keepalive.enable\" = true\nlinger.ms = 5\n\"client.rack\" = \"r1\"\n";
    std::fs::write(&path, text).unwrap();
    let variable = ("MILLRACE__KAFKA__OPTIONS__CLIENT_RACK".to_owned(), "r2".to_owned());
    let settings = load_from(Some(&path), [variable]).unwrap();
    let options: Vec<(&str, &str)> = settings.kafka.options.iter().collect();
    assert_eq!(options, [("client.rack", "r2"), ("linger.ms", "5"), ("socket.keepalive.enable", "true")]);
    for (variable, value, words) in [
        ("ENABLE_AUTO_COMMIT", "true", ["enable.auto.commit", "exactly-once"]),
        ("GROUP_ID", "x", ["group.id", "pipeline"]),
        ("SSL_CA_LOCATION", "/x", ["ssl.ca.location", "kafka.ssl.ca_file"]),
        ("ENABLE_SSL_CERTIFICATE_VERIFICATION", "false", ["verification", "kafka.ssl.ca_file"]),
        ("SASL_PASSWORD", "s3cret", ["sasl.password", "kafka.sasl.password_file"]),
        // librdkafka ignores the prefix.
        ("TOPIC_ACKS", "0", ["topic.acks", "exactly-once"]),
        ("TOPIC_AUTO_OFFSET_RESET", "latest", ["topic.auto.offset.reset", "kafka.start"]),
        ("TOPIC_MESSAGE_TIMEOUT_MS", "1", ["topic.message.timeout.ms", "exactly-once"]),
        ("OFFSET_STORE_METHOD", "file", ["offset.store.method", "exactly-once"]),
        ("SSL_PROVIDERS", "x", ["ssl.providers", "loads code"]),
        ("SSL_ENGINE_LOCATION", "/x.so", ["ssl.engine.location", "loads code"]),
        ("INTERNAL_TERMINATION_SIGNAL", "29", ["internal.termination.signal", "signal"]),
    ] {
        let variable = format!("MILLRACE__KAFKA__OPTIONS__{variable}");
        let error = load_with(&[(&variable, value)]).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)) && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn the_value_of_an_option_that_may_be_a_secret_is_not_shown() {
    for (name, value, is_shown) in [
        ("SOCKET_TIMEOUT_MS", "s3cret", true),
        ("TOPIC_METADATA_REFRESH_INTERVAL_MS", "s3cret", true),
        ("SASL_PASSWD", "s3cret", false),
        ("SSL_KEYSTORE_KEY", "s3cret", false),
        ("SSL_PRIVATE_KEY", "s3cret", false),
        ("CLIENT_RACK", "-----BEGIN PRIVATE KEY-----s3cret", false),
    ] {
        let variable = format!("MILLRACE__KAFKA__OPTIONS__{name}");
        let settings = load_with(&[(&variable, value)]).unwrap();
        assert_eq!(format!("{settings:?}").contains("s3cret"), is_shown, "{name}");
        let written = Written::read_from(None, [(variable, value.to_owned())]).unwrap();
        assert_eq!(written.masked().contains("s3cret"), is_shown, "{name}");
        let options = settings.kafka.options;
        let (name, _) = options.iter().next().unwrap();
        let error = options.problem(name, "No such configuration property").unwrap().to_string();
        assert_eq!(error, format!("kafka.options.{name} does not work: No such configuration property"));
    }
}

#[test]
fn weak_security_is_warned_of() {
    for (variables, words) in [
        (&[("SECURITY_PROTOCOL", "sasl_plaintext"), ("SASL__MECHANISM", "PLAIN")][..], Some("unencrypted")),
        (&[("SECURITY_PROTOCOL", "sasl_plaintext")], None),
        #[cfg(feature = "tls")]
        (&[("SECURITY_PROTOCOL", "sasl_ssl"), ("SASL__MECHANISM", "PLAIN")], None),
        #[cfg(feature = "tls")]
        (&[("SECURITY_PROTOCOL", "sasl_ssl"), ("SSL__VERIFY_HOSTNAME", "false")], Some("verify_hostname")),
    ] {
        let user = [("SASL__USERNAME", "u"), ("SASL__PASSWORD", "p")];
        let variables = variables.iter().chain(&user);
        let variables =
            variables.map(|(key, value)| (format!("MILLRACE__KAFKA__{key}"), (*value).to_owned()));
        let warnings = load_from(None, variables).unwrap().warnings;
        match words {
            Some(words) => assert!(warnings.len() == 1 && warnings[0].contains(words), "{warnings:?}"),
            None => assert!(warnings.is_empty(), "{warnings:?}"),
        }
    }
}

#[test]
fn a_url_of_clickhouse_gets_the_form_that_every_reader_understands() {
    for (written, url) in [
        ("http://clickhouse:8123", "http://clickhouse:8123"),
        ("HTTP://ClickHouse:8123/", "http://clickhouse:8123"),
        (" http://clickhouse:8123/proxy/", "http://clickhouse:8123/proxy/"),
    ] {
        let settings = load_with(&[("MILLRACE__CLICKHOUSE__URL", written)]).unwrap();
        assert_eq!(settings.clickhouse.url, url);
        assert!(settings.clickhouse.tls.is_none());
    }
    let error = load_with(&[
        ("MILLRACE__CLICKHOUSE__URL", "HTTPS://clickhouse:8443"),
        ("MILLRACE__CLICKHOUSE__CA_FILE", "/nowhere.pem"),
    ]);
    let error = error.unwrap_err().to_string();
    assert!(!error.contains("does not begin with https://"), "{error}");
}

#[test]
fn a_secret_in_the_place_of_another_value_is_not_shown() {
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n";
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (lines, tab) = (file("lines", "s3cret\ns3cret\n"), file("tab", "a\ts3cret"));
    for (key, value, words) in [
        ("CLICKHOUSE__URL", "http://ch:8123/?user=u&password=s3cret", "http://ch:8123/?***"),
        ("CLICKHOUSE__URL", "http://ch:8123/?user=a@b&password=s3cret", "http://***"),
        ("CLICKHOUSE__URL", "http://me:s3cret?s3cret@ch:8123", "http://***"),
        ("CLICKHOUSE__URL", "http://me:s3cret@ch:8123/#s3cret", "http://***@ch:8123/#***"),
        ("KAFKA__BROKERS", "me:s3cret@host:9092", "***@host:9092"),
        ("KAFKA__BROKERS", "a:1,me:s3cret@host:9092", "***@host:9092"),
        ("HTTP__PROCESSES", "me:s3cret@host://x", "***@host://x"),
        ("CLICKHOUSE__PASSWORD_FILE", "s3cret", "can be read"),
        ("KAFKA__SSL__KEY_FILE", KEY, "used with kafka.security_protocol"),
        ("CLICKHOUSE__PASSWORD_FILE", KEY, "can be read"),
        ("CLICKHOUSE__PASSWORD_FILE", &lines, "clickhouse.password_file"),
        ("CLICKHOUSE__USER_FILE", &tab, "control characters"),
        ("ENRICH__IDENTITY_SECRET_FILE", &lines, "on one line"),
    ] {
        let error = load_with(&[(&format!("MILLRACE__{key}"), value)]).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("s3cret"), "{key}: {error}");
    }
    let certificate = ("MILLRACE__KAFKA__SSL__CERTIFICATE".to_owned(), KEY.to_owned());
    let shown = Written::read_from(None, [certificate]).unwrap().masked();
    assert!(shown.contains("certificate = \"***\"") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_file_with_a_certificate_and_its_key_is_a_file_of_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.pem");
    let variable = ("MILLRACE__KAFKA__SSL__CERTIFICATE_FILE", path.to_str().unwrap());
    for (text, is_secret) in [
        ("-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n", true),
        ("-----BEGIN CERTIFICATE-----\n", false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let error = load_with(&[variable]).unwrap_err().to_string();
        assert_eq!(error.contains("chmod 0640"), is_secret, "{error}");
    }
}

#[test]
fn security_that_does_not_fit_together_is_an_error() {
    let protocol = "MILLRACE__KAFKA__SECURITY_PROTOCOL";
    for (variables, words) in [
        (&[(protocol, "tls")][..], ["security_protocol", "tls"]),
        (&[(protocol, "sasl_ssl")], ["kafka.sasl.username", "a user"]),
        (
            &[(protocol, "sasl_ssl"), ("MILLRACE__KAFKA__SASL__USERNAME", "u")],
            ["kafka.sasl.password", "password_file"],
        ),
        (&[("MILLRACE__KAFKA__SASL__PASSWORD", "s3cret")], ["kafka.sasl.password", "sasl_ssl"]),
        (&[("MILLRACE__KAFKA__SSL__CA_FILE", "/ca.pem")], ["kafka.ssl.ca_file", "security_protocol"]),
        (
            &[(protocol, "ssl"), ("MILLRACE__KAFKA__SSL__CA_FILE", "/nowhere.pem")],
            ["kafka.ssl.ca_file", "/nowhere.pem"],
        ),
        (&[(protocol, "ssl"), ("MILLRACE__KAFKA__SSL__CA", "no PEM")], ["kafka.ssl.ca", "BEGIN CERTIFICATE"]),
        (
            &[(protocol, "ssl"), ("MILLRACE__KAFKA__SSL__KEY_FILE", "/k.pem")],
            ["kafka.ssl.key_file", "kafka.ssl.certificate_file"],
        ),
        (&[("MILLRACE__CLICKHOUSE__CA_FILE", "/ca.pem")], ["clickhouse.ca_file", "https://"]),
        (
            &[
                ("MILLRACE__CLICKHOUSE__URL", "https://c:8443"),
                ("MILLRACE__CLICKHOUSE__CA_FILE", "/nowhere.pem"),
            ],
            ["clickhouse.ca_file", "/nowhere.pem"],
        ),
    ] {
        let error = load_with(variables).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{variables:?}: {error}");
        assert!(!error.contains("s3cret") && !error.contains("no PEM"), "{error}");
    }
}
