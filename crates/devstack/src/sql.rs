//! Questions to ClickHouse over HTTP, for tools and tests that only want an answer as text.

use std::time::Duration;

use crate::error::Error;

/// Runs one statement and returns its answer in ClickHouse's `TSV` unless it names another format.
pub fn query(clickhouse_url: &str, sql: &str) -> Result<String, Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .build()
        .into();
    let failed = |reason: String| Error::Query { url: clickhouse_url.to_owned(), reason };
    let mut response = agent.post(clickhouse_url).send(sql).map_err(|error| failed(error.to_string()))?;
    let text = response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    if response.status().is_success() { Ok(text) } else { Err(failed(text.trim().to_owned())) }
}

/// What a pipeline has made of its events so far, as its tables say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Valid, unique events, tests included.
    pub stored: u64,
    /// Events recognised as duplicates.
    pub duplicates: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

impl Totals {
    /// Reads the totals of the pipeline whose database is `database`.
    pub fn read(clickhouse_url: &str, database: &str) -> Result<Self, Error> {
        let sql = format!(
            "SELECT sumIf(events, kind IN ('event', 'test', 'bot')), sumIf(events, kind = 'duplicate'), \
             (SELECT count() FROM {database}.dead_letters) FROM {database}.quality WHERE pane = '60s'"
        );
        let answer = query(clickhouse_url, &sql)?;
        let mut numbers = answer.split_whitespace().map(str::parse);
        let mut next = || match numbers.next() {
            Some(Ok(number)) => Ok(number),
            _ => {
                Err(Error::Query { url: clickhouse_url.to_owned(), reason: format!("not totals: {answer}") })
            }
        };
        Ok(Self { stored: next()?, duplicates: next()?, dead_letters: next()? })
    }

    /// All events accounted for.
    pub fn sum(&self) -> u64 {
        self.stored + self.duplicates + self.dead_letters
    }
}
