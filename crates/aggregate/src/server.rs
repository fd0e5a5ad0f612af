//! The ClickHouse server: which of its errors are transient, and whether its tables are ready.
mod https;

use std::time::{Duration, Instant};

pub use clickhouse::Client;
use clickhouse::{Compression, Row, error::Error as ClientError};
use runtime::config::Settings;
use serde::Deserialize;

use crate::Error;
use crate::table::{TableSpec, quoted};

const RETRY_EVERY: Duration = Duration::from_millis(500);
const LOG_EVERY: Duration = Duration::from_secs(5);

/// What to do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// It ends by itself: retry soon.
    Transient(String),
    /// It needs an operator. The text says what to do.
    Permanent(String),
}

/// A client for the configured server, without a database.
pub fn client(settings: &Settings) -> Client {
    https::http_client(&settings.clickhouse)
        .with_url(&settings.clickhouse.url)
        .with_user(&settings.clickhouse.user)
        .with_password(settings.clickhouse.password.expose())
        .with_compression(Compression::Lz4)
        .with_product_info("millrace", env!("CARGO_PKG_VERSION"))
}

/// Classifies an error. `table` is the table of the request, for the advice.
pub fn classify(settings: &Settings, table: &str, error: &ClientError) -> ErrorClass {
    let (url, user, database) =
        (&settings.clickhouse.url, &settings.clickhouse.user, &settings.clickhouse.database);
    match error {
        ClientError::InvalidParams(problem) | ClientError::Other(problem) => {
            return ErrorClass::Permanent(format!("clickhouse.url {url}: {problem}"));
        }
        ClientError::Unsupported(problem) => {
            return ErrorClass::Permanent(format!("clickhouse.url {url}: {problem}"));
        }
        ClientError::BadResponse(_) => (),
        other => {
            return ErrorClass::Transient(
                https::certificate_problem(other).unwrap_or_else(|| described(other)),
            );
        }
    }
    let message = first_line(&error.to_string());
    let advice = match exception_code(&message) {
        Some(516 | 192 | 193 | 194) => {
            format!(
                "clickhouse at {url} does not accept user `{user}`: check clickhouse.user and clickhouse.password \
                 (MILLRACE__CLICKHOUSE__PASSWORD)"
            )
        }
        Some(495 | 514) => format!(
            "clickhouse at {url} keeps its users and roles in files: write them with `millrace access render --xml`"
        ),
        Some(497 | 291 | 164) => format!("clickhouse user `{user}` may not do this: {message}"),
        Some(81) => format!("clickhouse database `{database}` is missing: run `millrace migrate`"),
        Some(60) => format!("table {database}.{table} is missing: run `millrace migrate`"),
        // NO_SUCH_COLUMN_IN_TABLE, NOT_FOUND_COLUMN_IN_BLOCK, UNKNOWN_IDENTIFIER, THERE_IS_NO_COLUMN
        Some(16 | 10 | 47 | 8) => {
            format!("table {database}.{table} does not fit this program: run `millrace migrate` ({message})")
        }
        // Types, syntax and settings: the same statement fails every time.
        Some(6 | 20 | 27 | 36 | 43 | 44 | 46 | 48 | 50 | 53 | 62 | 70 | 115 | 117 | 122 | 349 | 452) => {
            format!("clickhouse returns an error for the statement for table {table}: {message}")
        }
        _ => return ErrorClass::Transient(message),
    };
    ErrorClass::Permanent(advice)
}

/// The number behind `Code:`.
fn exception_code(message: &str) -> Option<u32> {
    let digits = message.split("Code: ").nth(1)?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(400).collect()
}

/// The error with its sources: hyper puts the reason there.
fn described(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    first_line(&text)
}

/// Waits until the server replies, for at most `startup_timeout`, and returns its version.
///
/// # Errors
/// It returned a permanent error, or no reply in time, or `stopped` returns true.
pub async fn wait_until_up(
    client: &Client,
    settings: &Settings,
    stopped: impl Fn() -> bool,
) -> Result<String, Error> {
    let version = async || {
        let reply = client.query("SELECT version()").fetch_one::<String>().await;
        reply.map_err(|error| failed(settings, "", &error))
    };
    until_replied(settings, stopped, version).await
}

/// Repeats a request until it has a reply, for at most `startup_timeout`: a start must survive transient errors, such
/// as a server that restarts between two requests. The request must be idempotent.
///
/// # Errors
/// The server returned a permanent error, or no reply in time, or `stopped` returns true.
pub async fn until_replied<T>(
    settings: &Settings,
    stopped: impl Fn() -> bool,
    mut request: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut logged: Option<Instant> = None;
    loop {
        let cause = match request().await {
            Err(Error::Transient { cause, .. }) => cause,
            decided => return decided,
        };
        let url = &settings.clickhouse.url;
        if started.elapsed() >= settings.startup_timeout {
            return Err(Error::ClickHouse(format!(
                "clickhouse does not reply at {url} after {} s: {cause}; check clickhouse.url \
                 (MILLRACE__CLICKHOUSE__URL)",
                started.elapsed().as_secs()
            )));
        }
        if stopped() {
            return Err(Error::Stopped("stopped while waiting for clickhouse".into()));
        }
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            tracing::warn!(url, cause, "waiting for clickhouse; check clickhouse.url");
            logged = Some(Instant::now());
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

/// A column as the server has it.
#[derive(Debug, Clone, Row, Deserialize)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// 1 when it is part of the sorting key.
    pub is_in_sorting_key: u8,
}

/// A table as the server has it.
#[derive(Debug, Clone, Row, Deserialize)]
pub struct FoundTable {
    /// Its name.
    pub name: String,
    /// Engine, partitions, keys and settings.
    pub engine_full: String,
    /// The sorting key.
    pub sorting_key: String,
    /// Its comment.
    pub comment: String,
}

/// The columns of a table, none when it is not there.
///
/// # Errors
/// The server returned an error or no reply.
pub async fn columns(client: &Client, settings: &Settings, table: &str) -> Result<Vec<FoundColumn>, Error> {
    client
        .query("SELECT name, type, is_in_sorting_key FROM system.columns WHERE database = ? AND table = ?")
        .bind(&settings.clickhouse.database)
        .bind(table)
        .fetch_all::<FoundColumn>()
        .await
        .map_err(|error| failed(settings, table, &error))
}

/// A table or view, if it is there.
///
/// # Errors
/// The server returned an error or no reply.
pub async fn table(client: &Client, settings: &Settings, name: &str) -> Result<Option<FoundTable>, Error> {
    client
        .query("SELECT name, engine_full, sorting_key, comment FROM system.tables WHERE database = ? AND name = ?")
        .bind(&settings.clickhouse.database)
        .bind(name)
        .fetch_optional::<FoundTable>()
        .await
        .map_err(|error| failed(settings, name, &error))
}

/// A client's error as an error of this crate.
pub fn failed(settings: &Settings, table: &str, error: &ClientError) -> Error {
    if let Some(cause) = https::certificate_problem(error) {
        return Error::Certificate { url: settings.clickhouse.url.clone(), cause };
    }
    to_error(settings, table, classify(settings, table, error))
}

/// A classified error as an error of this crate.
pub(crate) fn to_error(settings: &Settings, table: &str, error: ErrorClass) -> Error {
    match error {
        ErrorClass::Permanent(advice) => Error::ClickHouse(advice),
        ErrorClass::Transient(cause) => {
            let cause = if table.is_empty() { cause } else { format!("table {table}: {cause}") };
            Error::Transient { url: settings.clickhouse.url.clone(), cause }
        }
    }
}

/// Returns a table, after checking what exactly-once needs: that it exists, has its columns, and remembers tokens.
///
/// # Errors
/// One line that says what to do.
pub async fn check_table(
    client: &Client,
    settings: &Settings,
    spec: &TableSpec,
) -> Result<FoundTable, Error> {
    let name = format!("{}.{}", settings.clickhouse.database, spec.name);
    let Some(found) = table(client, settings, &spec.name).await? else {
        return Err(Error::ClickHouse(format!("table {name} is missing: run `millrace migrate`")));
    };
    let present = columns(client, settings, &spec.name).await?;
    for column in &spec.columns {
        let Some(found) = present.iter().find(|found| found.name == column.name) else {
            let problem = format!("table {name} has no column `{}`: run `millrace migrate`", column.name);
            return Err(Error::ClickHouse(problem));
        };
        if spec.order.contains(&column.name) && found.is_in_sorting_key == 0 {
            return Err(Error::ClickHouse(format!(
                "column `{}` of table {name} is not in its sorting key, so rows would be added up across its \
                 values: drop the column and run `millrace migrate`",
                column.name
            )));
        }
    }
    match window(&found.engine_full) {
        Some(0) => Err(Error::ClickHouse(format!(
            "table {name} does not remember inserts, so a repeated one would count twice: \
             ALTER TABLE {} MODIFY SETTING {} = 100000",
            quoted(&settings.clickhouse.database) + "." + &quoted(&spec.name),
            window_setting(&found.engine_full),
        ))),
        _ => Ok(found),
    }
}

/// Whether a table of this engine stores a token and its rows in one atomic write.
pub fn is_replicated(engine: &str) -> bool {
    engine.starts_with("Replicated") || engine.starts_with("Shared")
}

fn window_setting(engine: &str) -> &'static str {
    if is_replicated(engine) {
        "replicated_deduplication_window"
    } else {
        "non_replicated_deduplication_window"
    }
}

/// How many tokens the table remembers, from the text of its engine; `None` for the server's default.
fn window(engine: &str) -> Option<u64> {
    let setting = window_setting(engine);
    let written = engine.split(['\n', ' ', ',']).collect::<Vec<_>>();
    let place = written.iter().position(|word| *word == setting);
    let value = place.and_then(|place| written.get(place + 2)).and_then(|value| value.parse().ok());
    // By default tables without replication remember no token, replicated ones do.
    value.or(if setting.starts_with("non_") { Some(0) } else { None })
}

/// Which of these settings the server knows; an unknown setting in a request is an error.
///
/// # Errors
/// The server returned an error or no reply.
pub async fn known_settings(
    client: &Client,
    settings: &Settings,
    names: &[&str],
) -> Result<Vec<String>, Error> {
    client
        .query("SELECT name FROM system.settings WHERE has(?, name)")
        .bind(names)
        .fetch_all::<String>()
        .await
        .map_err(|error| failed(settings, "system.settings", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_read_from_the_engine() {
        for (engine, expected) in [
            ("AggregatingMergeTree ORDER BY x SETTINGS index_granularity = 8192", Some(0)),
            (
                "AggregatingMergeTree SETTINGS non_replicated_deduplication_window = 100000, a = 1",
                Some(100_000),
            ),
            ("AggregatingMergeTree SETTINGS non_replicated_deduplication_window = 0, a = 1", Some(0)),
            ("ReplicatedAggregatingMergeTree('/a', 'r') SETTINGS index_granularity = 8192", None),
            ("ReplicatedAggregatingMergeTree SETTINGS replicated_deduplication_window = 0", Some(0)),
        ] {
            assert_eq!(window(engine), expected, "{engine}");
        }
    }

    #[test]
    fn transient_errors_are_told_from_permanent_ones() {
        let settings = runtime::config::load(None).unwrap();
        let bad = |text: &str| classify(&settings, "live_local", &ClientError::BadResponse(text.into()));
        for text in [
            "Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)",
            "Code: 241. DB::Exception: Memory limit exceeded",
            "Code: 159. DB::Exception: Timeout exceeded",
            "502 Bad Gateway",
            "Code: 242. DB::Exception: Table is in readonly mode",
        ] {
            assert!(matches!(bad(text), ErrorClass::Transient(_)), "{text}");
        }
        for (text, advice) in [
            (
                "Code: 60. DB::Exception: Table x does not exist",
                "table millrace.live_local is missing: run `millrace migrate`",
            ),
            ("Code: 81. DB::Exception: Database millrace does not exist", "run `millrace migrate`"),
            (
                "Code: 516. DB::Exception: default: Authentication failed",
                "check clickhouse.user and clickhouse.password",
            ),
            ("Code: 16. DB::Exception: No such column y", "run `millrace migrate`"),
            ("Code: 53. DB::Exception: Type mismatch", "Type mismatch"),
        ] {
            let ErrorClass::Permanent(message) = bad(text) else { panic!("{text} is permanent") };
            assert!(message.contains(advice), "{message}");
        }
        assert!(matches!(classify(&settings, "t", &ClientError::TimedOut), ErrorClass::Transient(_)));
    }

    fn asked_until_replied(
        startup_timeout: Duration,
        answers: &mut dyn Iterator<Item = Result<u32, Error>>,
    ) -> String {
        let mut settings = runtime::config::load(None).unwrap();
        settings.startup_timeout = startup_timeout;
        let asked = until_replied(&settings, || false, async || answers.next().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        match runtime.block_on(asked) {
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_and_a_refusal_ends_the_start_at_once() {
        let lost = || Err(Error::Transient { url: "http://c".into(), cause: "connection closed".into() });
        let refused = || Err(Error::ClickHouse("run `millrace migrate`".into()));
        let minute = Duration::from_secs(60);
        for (answers, expected, left) in [
            (vec![lost(), Ok(7), Ok(8)], "7", 1),
            (vec![lost(), refused(), Ok(8)], "run `millrace migrate`", 1),
            (vec![refused(), Ok(7), Ok(8)], "run `millrace migrate`", 2),
        ] {
            let mut answers = answers.into_iter();
            assert_eq!(asked_until_replied(minute, &mut answers), expected);
            assert_eq!(answers.len(), left);
        }
        let given_up = asked_until_replied(Duration::ZERO, &mut std::iter::repeat_with(lost));
        assert!(given_up.contains("connection closed; check clickhouse.url"), "{given_up}");
    }
}
