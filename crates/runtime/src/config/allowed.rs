//! What each key allows beyond its type: ranges, names, addresses. A value outside is a mistake before a process starts.
//! `default.toml` documents every range.
use config::{Value, ValueKind};
use event::{Lane, is_app_id, is_event_name};
use jiff::tz::TimeZone;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::Url;

use super::error::ConfigError;

/// What a key allows.
enum Allowed {
    Number(u64, u64),
    Duration(Duration, Duration),
    Bytes(u64, u64),
    OneOf(&'static [&'static str]),
    /// A text, or each text of a list, with the words for what is right.
    Text(fn(&str) -> bool, &'static str),
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const MIB: u64 = 1 << 20;
const NAME: Allowed =
    Allowed::Text(is_name, "a name of 1 to 100 letters, digits, dots, dashes or underscores");
const FLUSH_INTERVAL: Allowed = Allowed::Duration(Duration::from_millis(10), Duration::from_secs(600));
const HOST_AND_PORT: &str = "host:port, such as 127.0.0.1:9464";

/// The last four are the names in Kafka's own documentation.
const SECURITY_PROTOCOLS: &[&str] =
    &["plaintext", "ssl", "sasl_ssl", "sasl_plaintext", "PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"];

const KEYS: &[(&str, Allowed)] = {
    use Allowed::{Bytes, Duration as Time, Number, OneOf, Text};
    &[
        ("pipeline", NAME),
        ("instance", NAME),
        ("startup_timeout", Time(SECOND, DAY)),
        ("workers", Number(1, 256)),
        // The least is what one batch and its output need in every stage.
        ("memory_limit", Bytes(256 * MIB, 4 << 40)),
        ("business_timezone", Text(is_time_zone, "an IANA time zone such as Asia/Shanghai")),
        (
            "kafka.brokers",
            Text(are_brokers, "a list of host:port with commas, such as kafka-1:9092,kafka-2:9092"),
        ),
        (
            "kafka.topic_prefix",
            Text(is_empty_or_name, "empty or up to 100 letters, digits, dots, dashes or underscores"),
        ),
        ("kafka.start", OneOf(&["earliest", "latest"])),
        ("kafka.partitions", Number(1, 10_000)),
        ("kafka.replication", Number(1, 32)),
        ("kafka.batch_interval", Time(Duration::from_millis(1), Duration::from_secs(10))),
        ("kafka.batch_records", Number(1, 1_000_000)),
        // The brokers' transaction.max.timeout.ms is 15 minutes unless it is changed.
        ("kafka.transaction_timeout", Time(SECOND, Duration::from_secs(900))),
        // The brokers' group.min.session.timeout.ms, and librdkafka's max.poll.interval.ms.
        ("kafka.session_timeout", Time(Duration::from_secs(6), Duration::from_secs(300))),
        ("kafka.security_protocol", OneOf(SECURITY_PROTOCOLS)),
        ("kafka.sasl.mechanism", OneOf(&["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])),
        (
            "clickhouse.url",
            Text(
                is_url,
                "a URL such as http://clickhouse:8123 without user, password and parameters: set clickhouse.user and \
                 clickhouse.password_file",
            ),
        ),
        ("clickhouse.database", NAME),
        ("clickhouse.user", Text(is_user, "the name of a user")),
        (
            "clickhouse.engine",
            Text(is_engine, "AggregatingMergeTree or ReplicatedAggregatingMergeTree, arguments allowed"),
        ),
        ("http.listen", Text(is_empty_or_address, "an address and port such as 0.0.0.0:9464")),
        ("http.processes", Text(is_host_and_port, HOST_AND_PORT)),
        (
            "log.level",
            Text(is_log_filter, "error, warn, info, debug, trace or a filter such as info,runtime=debug"),
        ),
        ("log.format", OneOf(&["auto", "json", "text"])),
        ("ingest.apps", Text(is_app_id, "an app_id that an event can have: 1 to 64 of a-z, 0-9 and -")),
        ("ingest.unknown_events", OneOf(&["accept", "reject"])),
        (
            "ingest.forbidden_ids",
            Text(is_anonymous_id, "an anonymous_id that an event can have: 1 to 128 characters"),
        ),
        // enrich keeps a bit for each day and device.
        ("ingest.max_event_age", Time(MINUTE, Duration::from_secs(3650 * 86_400))),
        ("ingest.undecodable", OneOf(&["dead_letter", "halt"])),
        ("enrich.dedupe_window", Time(SECOND, Duration::from_secs(30 * 86_400))),
        ("enrich.dedupe_max_entries", Number(1, 1_000_000_000)),
        ("enrich.device_ttl", Time(DAY, Duration::from_secs(3650 * 86_400))),
        ("enrich.max_devices", Number(1, 1_000_000_000)),
        (
            "enrich.own_hosts",
            Text(
                is_host,
                "a host name such as www.example.tv, without scheme, port, path and `*`: subdomains are included",
            ),
        ),
        (
            "enrich.conversion_events",
            Text(
                is_event_name,
                "an event_name that an event can have: a lowercase letter, then at most 63 of a-z, 0-9 and _",
            ),
        ),
        ("aggregate.lanes", Text(is_lane, "one of live, report, dead_letters, events")),
        ("aggregate.live_flush_interval", FLUSH_INTERVAL),
        ("aggregate.report_flush_interval", FLUSH_INTERVAL),
        ("aggregate.dead_letters_flush_interval", FLUSH_INTERVAL),
        ("aggregate.events_flush_interval", FLUSH_INTERVAL),
        ("aggregate.events_retention", Time(DAY, Duration::from_secs(3650 * 86_400))),
        ("aggregate.max_inserts_per_second", Number(1, 10_000)),
        ("aggregate.max_groups", Number(1, 10_000_000)),
        ("aggregate.epoch", Number(1, u32::MAX as u64)),
        ("aggregate.longest_insert", Time(SECOND, DAY)),
        ("aggregate.retry_halted", Time(SECOND, DAY)),
    ]
};

/// Checks a value by what its key allows.
pub(super) fn check(key: &str, value: &Value) -> Result<(), ConfigError> {
    let Some((_, allowed)) = KEYS.iter().find(|(known, _)| *known == key) else { return Ok(()) };
    let items = match (&value.kind, allowed) {
        (ValueKind::Array(items), Allowed::Text(..)) => items.as_slice(),
        _ => std::slice::from_ref(value),
    };
    match items.iter().find(|item| !allowed.contains(item)) {
        Some(wrong) => Err(ConfigError::value(key, shown(wrong), allowed)),
        None => Ok(()),
    }
}

fn shown(value: &Value) -> String {
    text_of(value).unwrap_or_else(|| "a list or table".to_owned())
}

/// A number as its digits: `instance = 0` is as clear as `instance = "0"`.
fn text_of(value: &Value) -> Option<String> {
    value.clone().into_string().ok()
}

impl Allowed {
    fn contains(&self, value: &Value) -> bool {
        let Some(text) = text_of(value) else { return false };
        match self {
            Self::Number(least, most) => {
                text.trim().parse().is_ok_and(|number: u64| (*least..=*most).contains(&number))
            }
            Self::Duration(least, most) => {
                let parsed = humantime_serde::re::humantime::parse_duration(&text);
                parsed.is_ok_and(|duration| (*least..=*most).contains(&duration))
            }
            Self::Bytes(least, most) => {
                let parsed = text.parse::<bytesize::ByteSize>();
                parsed.is_ok_and(|bytes| (*least..=*most).contains(&bytes.as_u64()))
            }
            Self::OneOf(names) => names.contains(&text.as_str()),
            Self::Text(is_right, _) => is_right(&text),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Duration(least, most) => write!(f, "a duration from {} to {}", short(*least), short(*most)),
            Self::Bytes(least, most) => {
                write!(f, "a size from {}MiB to {}MiB, such as 1GiB", least / MIB, most / MIB)
            }
            Self::OneOf(names) => write!(f, "one of {}", names.join(", ")),
            Self::Text(_, words) => f.write_str(words),
        }
    }
}

/// In the largest unit that leaves a whole number.
fn short(duration: Duration) -> String {
    let (seconds, ms) = (duration.as_secs(), duration.as_millis());
    match seconds {
        0 => format!("{ms}ms"),
        _ if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=100).contains(&text.len()) && text.chars().all(is_allowed)
}

fn is_empty_or_name(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_time_zone(text: &str) -> bool {
    TimeZone::get(text).is_ok()
}

fn are_brokers(text: &str) -> bool {
    text.split(',').all(|broker| is_host_and_port(broker.trim()))
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (is_host(host) || host.parse::<IpAddr>().is_ok()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A host name as in DNS; underscores too, which container engines allow.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn is_user(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_engine(text: &str) -> bool {
    let (engine, arguments) = text.split_at(text.find('(').unwrap_or(text.len()));
    let kind = ["Replicated", "Shared"].into_iter().find_map(|kind| engine.strip_prefix(kind));
    kind.unwrap_or(engine) == "AggregatingMergeTree" && (arguments.is_empty() || arguments.ends_with(')'))
}

fn is_empty_or_address(text: &str) -> bool {
    text.is_empty() || text.parse::<SocketAddr>().is_ok()
}

/// A single word is a level: the library takes a misspelled one for the name of a module, and logs nothing.
fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let level_of = |directive| str::rsplit_once(directive, '=').map_or(directive, |(_, level)| level);
    text.split(',').all(|directive| is_level(level_of(directive).trim())) && EnvFilter::try_new(text).is_ok()
}

fn is_anonymous_id(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && !text.trim().is_empty()
}

fn is_lane(text: &str) -> bool {
    Lane::from_name(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::known_keys;

    const DEFAULTS: &str = include_str!("../default.toml");

    fn defaults() -> config::Config {
        let source = config::File::from_str(DEFAULTS, config::FileFormat::Toml);
        config::Config::builder().add_source(source).build().unwrap()
    }

    /// The comment above a key of `default.toml`, as one line.
    fn comment(key: &str) -> String {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let from = if section.is_empty() { 0 } else { DEFAULTS.find(&format!("\n[{section}]\n")).unwrap() };
        let text = &DEFAULTS[from..];
        let above = &text[..text.find(&format!("\n{name} = ")).unwrap()];
        // Keys that stand together have one comment.
        let of_others = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let lines = above.lines().rev().skip_while(of_others);
        let mut lines: Vec<&str> = lines.take_while(|line| line.starts_with('#')).collect();
        lines.reverse();
        lines.iter().map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_range_is_documented_and_contains_the_default() {
        let defaults = defaults();
        for (key, allowed) in KEYS {
            let value = defaults.get(key).unwrap();
            assert_eq!(check(key, &value), Ok(()), "{key}");
            let words = match allowed {
                Allowed::Number(least, most) => format!("From {least} to {most}"),
                Allowed::Duration(least, most) => format!("From {} to {}", short(*least), short(*most)),
                Allowed::Bytes(..) | Allowed::OneOf(_) | Allowed::Text(..) => continue,
            };
            assert!(comment(key).contains(&words), "default.toml does not say {words:?} about {key}");
        }
    }

    #[test]
    fn every_number_and_duration_has_a_range() {
        let defaults = defaults();
        for key in known_keys().unwrap() {
            let value: Value = defaults.get(&key).unwrap();
            let is_number = matches!(value.kind, ValueKind::I64(_));
            let is_duration = text_of(&value)
                .is_some_and(|text| humantime_serde::re::humantime::parse_duration(&text).is_ok());
            if is_number || (is_duration && key != "instance") {
                assert!(KEYS.iter().any(|(known, _)| *known == key), "{key} has no range");
            }
        }
    }
}
