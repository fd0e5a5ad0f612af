//! Queries to ClickHouse over HTTP, for tools and tests that need the result as text.

use crate::error::Error;

/// Runs one statement and returns its result, as tab-separated values unless it names another format.
pub fn query(clickhouse_url: &str, sql: &str) -> Result<String, Error> {
    query_within(60, clickhouse_url, sql)
}

/// As [`query`], with a time limit in seconds.
pub(crate) fn query_within(seconds: u64, clickhouse_url: &str, sql: &str) -> Result<String, Error> {
    let failed = |reason: String| Error::Query { url: clickhouse_url.to_owned(), reason };
    let request = minreq::post(clickhouse_url).with_body(sql).with_timeout(seconds);
    let response = request.send().map_err(|error| failed(error.to_string()))?;
    let text = response.as_str().map_err(|error| failed(error.to_string()))?;
    if response.status_code == 200 { Ok(text.to_owned()) } else { Err(failed(text.trim().to_owned())) }
}

/// The outcomes of a pipeline's events so far, read from its tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Valid, unique events; those of tests and bots included.
    pub stored: u64,
    /// Events recognised as duplicates.
    pub duplicates: u64,
    /// Dead letters of events: those of stage `aggregate` are messages that no client has sent.
    pub dead_letters: u64,
}

impl Totals {
    /// Reads the totals of the pipeline whose database is `database`.
    pub fn read(clickhouse_url: &str, database: &str) -> Result<Self, Error> {
        let sql = format!(
            "SELECT sumIf(events, kind IN ('event', 'test', 'bot')), sumIf(events, kind = 'duplicate'), \
             (SELECT count() FROM {database}.dead_letters WHERE stage != 'aggregate') FROM {database}.quality WHERE pane = '60s'"
        );
        let result = query(clickhouse_url, &sql)?;
        let mut numbers = result.split_whitespace().map(str::parse);
        let mut next = || match numbers.next() {
            Some(Ok(number)) => Ok(number),
            _ => Err(Error::Query {
                url: clickhouse_url.to_owned(),
                reason: format!("not three numbers: {result}"),
            }),
        };
        Ok(Self { stored: next()?, duplicates: next()?, dead_letters: next()? })
    }

    /// Events with an outcome.
    pub fn sum(&self) -> u64 {
        self.stored + self.duplicates + self.dead_letters
    }
}
