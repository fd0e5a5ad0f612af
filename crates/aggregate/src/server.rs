//! What ClickHouse says: which errors pass by themselves, which need a person, and whether the tables are ready.
use std::time::{Duration, Instant};

use clickhouse::{Client, Compression, Row, error::Error as Answer};
use runtime::config::Settings;
use serde::Deserialize;

use crate::Error;
use crate::table::{TableSpec, quoted};

const ASK_EVERY: Duration = Duration::from_millis(500);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What to do about an answer that is not OK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes by itself: ask again.
    Retry(String),
    /// It needs a person, who is told what to do.
    Stop(String),
}

/// A client for the configured server, without a database.
pub fn client(settings: &Settings) -> Client {
    Client::default()
        .with_url(&settings.clickhouse.url)
        .with_user(&settings.clickhouse.user)
        .with_password(settings.clickhouse.password.expose())
        .with_compression(Compression::Lz4)
        .with_product_info("millrace", env!("CARGO_PKG_VERSION"))
}

/// Judges an answer. `table` is what was asked about, for the advice.
pub fn judge(settings: &Settings, table: &str, answer: &Answer) -> Verdict {
    let (url, user, database) =
        (&settings.clickhouse.url, &settings.clickhouse.user, &settings.clickhouse.database);
    match answer {
        Answer::InvalidParams(problem) | Answer::Other(problem) => {
            return Verdict::Stop(format!("clickhouse.url {url}: {problem}"));
        }
        Answer::Unsupported(problem) => return Verdict::Stop(format!("clickhouse.url {url}: {problem}")),
        Answer::BadResponse(_) => (),
        other => return Verdict::Retry(described(other)),
    }
    let said = first_line(&answer.to_string());
    let advice = match exception_code(&said) {
        Some(516 | 192 | 193 | 194) => {
            format!(
                "clickhouse at {url} refuses user `{user}`: check clickhouse.user and clickhouse.password \
                 (MILLRACE__CLICKHOUSE__PASSWORD)"
            )
        }
        Some(497 | 291 | 164) => format!("clickhouse user `{user}` may not do this: {said}"),
        Some(81) => format!("clickhouse database `{database}` is missing: run `millrace migrate`"),
        Some(60) => format!("table {database}.{table} is missing: run `millrace migrate`"),
        // NO_SUCH_COLUMN_IN_TABLE, NOT_FOUND_COLUMN_IN_BLOCK, UNKNOWN_IDENTIFIER, THERE_IS_NO_COLUMN
        Some(16 | 10 | 47 | 8) => {
            format!("table {database}.{table} does not fit this program: run `millrace migrate` ({said})")
        }
        // Types, syntax and settings: the same statement fails for ever.
        Some(6 | 20 | 27 | 36 | 43 | 44 | 46 | 48 | 50 | 53 | 62 | 70 | 115 | 117 | 122 | 349 | 452) => {
            format!("clickhouse refuses the statement for table {table}: {said}")
        }
        _ => return Verdict::Retry(said),
    };
    Verdict::Stop(advice)
}

/// The number behind `Code:`.
fn exception_code(said: &str) -> Option<u32> {
    let digits = said.split("Code: ").nth(1)?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn first_line(said: &str) -> String {
    said.lines().next().unwrap_or_default().chars().take(400).collect()
}

/// The error with what is behind it: hyper hides the reason in its source.
fn described(answer: &Answer) -> String {
    let mut text = answer.to_string();
    let mut source = std::error::Error::source(answer);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    first_line(&text)
}

/// Waits until the server answers, for at most `startup_timeout`, and returns its version.
///
/// # Errors
/// It refuses us, or did not answer in time, or `stopped` says that nobody waits any more.
pub async fn wait_until_up(
    client: &Client,
    settings: &Settings,
    stopped: impl Fn() -> bool,
) -> Result<String, Error> {
    let version = async || {
        let answer = client.query("SELECT version()").fetch_one::<String>().await;
        answer.map_err(|answer| stop(settings, "", &answer))
    };
    until_answered(settings, stopped, version).await
}

/// Asks until there is an answer, for at most `startup_timeout`: a start must survive what passes by itself, such as
/// a server that restarts between two questions. To ask twice must do no harm.
///
/// # Errors
/// The answer needs a person, or none came in time, or `stopped` says that nobody waits any more.
pub async fn until_answered<T>(
    settings: &Settings,
    stopped: impl Fn() -> bool,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let cause = match ask().await {
            Err(Error::Passing { cause, .. }) => cause,
            decided => return decided,
        };
        let url = &settings.clickhouse.url;
        if started.elapsed() >= settings.startup_timeout {
            return Err(Error::ClickHouse(format!(
                "clickhouse does not answer at {url} after {} s: {cause}; check clickhouse.url \
                 (MILLRACE__CLICKHOUSE__URL)",
                started.elapsed().as_secs()
            )));
        }
        if stopped() {
            return Err(Error::Stopped("stopped while waiting for clickhouse".into()));
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            tracing::warn!(url, cause, "waiting for clickhouse; check clickhouse.url");
            said = Some(Instant::now());
        }
        tokio::time::sleep(ASK_EVERY).await;
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
/// The server refused or did not answer.
pub async fn columns(client: &Client, settings: &Settings, table: &str) -> Result<Vec<FoundColumn>, Error> {
    client
        .query("SELECT name, type, is_in_sorting_key FROM system.columns WHERE database = ? AND table = ?")
        .bind(&settings.clickhouse.database)
        .bind(table)
        .fetch_all::<FoundColumn>()
        .await
        .map_err(|answer| stop(settings, table, &answer))
}

/// A table or view, if it is there.
///
/// # Errors
/// The server refused or did not answer.
pub async fn table(client: &Client, settings: &Settings, name: &str) -> Result<Option<FoundTable>, Error> {
    client
        .query("SELECT name, engine_full, sorting_key, comment FROM system.tables WHERE database = ? AND name = ?")
        .bind(&settings.clickhouse.database)
        .bind(name)
        .fetch_optional::<FoundTable>()
        .await
        .map_err(|answer| stop(settings, name, &answer))
}

/// An answer as the error of whoever asked.
pub fn stop(settings: &Settings, table: &str, answer: &Answer) -> Error {
    failed(settings, judge(settings, table, answer))
}

/// A verdict as the error of whoever asked.
pub(crate) fn failed(settings: &Settings, verdict: Verdict) -> Error {
    match verdict {
        Verdict::Stop(advice) => Error::ClickHouse(advice),
        Verdict::Retry(cause) => Error::Passing { url: settings.clickhouse.url.clone(), cause },
    }
}

/// Returns a table after refusing one that would not keep the promise: missing, without a column, or without memory for tokens.
///
/// # Errors
/// One line with the way out.
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

/// Whether a table of this engine keeps a token and its rows in one write.
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

/// How many inserts the table remembers, by what the engine's text says; nothing when the server's default holds.
fn window(engine: &str) -> Option<u64> {
    let setting = window_setting(engine);
    let written = engine.split(['\n', ' ', ',']).collect::<Vec<_>>();
    let place = written.iter().position(|word| *word == setting);
    let value = place.and_then(|place| written.get(place + 2)).and_then(|value| value.parse().ok());
    // Plain tables remember nothing unless told; replicated ones remember by default.
    value.or(if setting.starts_with("non_") { Some(0) } else { None })
}

/// Settings that the server knows among those that may be sent; to send an unknown one is an error.
///
/// # Errors
/// The server refused or did not answer.
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
        .map_err(|answer| stop(settings, "system.settings", &answer))
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
    fn answers_that_pass_are_told_from_those_that_need_a_person() {
        let settings = runtime::config::load(None).unwrap();
        let bad = |text: &str| judge(&settings, "live_local", &Answer::BadResponse(text.into()));
        for text in [
            "Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)",
            "Code: 241. DB::Exception: Memory limit exceeded",
            "Code: 159. DB::Exception: Timeout exceeded",
            "502 Bad Gateway",
            "Code: 242. DB::Exception: Table is in readonly mode",
        ] {
            assert!(matches!(bad(text), Verdict::Retry(_)), "{text}");
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
            let Verdict::Stop(said) = bad(text) else { panic!("{text} is no reason to wait") };
            assert!(said.contains(advice), "{said}");
        }
        assert!(matches!(judge(&settings, "t", &Answer::TimedOut), Verdict::Retry(_)));
    }

    fn asked_until_answered(
        startup_timeout: Duration,
        answers: &mut dyn Iterator<Item = Result<u32, Error>>,
    ) -> String {
        let mut settings = runtime::config::load(None).unwrap();
        settings.startup_timeout = startup_timeout;
        let asked = until_answered(&settings, || false, async || answers.next().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        match runtime.block_on(asked) {
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_and_a_refusal_ends_the_start_at_once() {
        let lost = || Err(Error::Passing { url: "http://c".into(), cause: "connection closed".into() });
        let refused = || Err(Error::ClickHouse("run `millrace migrate`".into()));
        let minute = Duration::from_secs(60);
        for (answers, expected, left) in [
            (vec![lost(), Ok(7), Ok(8)], "7", 1),
            (vec![lost(), refused(), Ok(8)], "run `millrace migrate`", 1),
            (vec![refused(), Ok(7), Ok(8)], "run `millrace migrate`", 2),
        ] {
            let mut answers = answers.into_iter();
            assert_eq!(asked_until_answered(minute, &mut answers), expected);
            assert_eq!(answers.len(), left);
        }
        let given_up = asked_until_answered(Duration::ZERO, &mut std::iter::repeat_with(lost));
        assert!(given_up.contains("connection closed; check clickhouse.url"), "{given_up}");
    }
}
