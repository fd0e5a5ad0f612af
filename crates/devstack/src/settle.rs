//! Waits until every event that was sent is stored, a duplicate or a dead letter.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sql::Totals;

/// How long the totals may stand still before waiting is given up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the totals of `database` every 200 ms until they add up to at least `sent`; each is passed to `progress`.
///
/// # Errors
/// The totals have not changed for a minute, or ClickHouse does not answer.
pub fn wait_for_events(
    clickhouse_url: &str,
    database: &str,
    sent: u64,
    mut progress: impl FnMut(&Totals),
) -> Result<Totals, Error> {
    let (mut last, mut changed) = (Totals::default(), Instant::now());
    loop {
        let totals = Totals::read(clickhouse_url, database)?;
        progress(&totals);
        if totals.sum() >= sent {
            return Ok(totals);
        }
        if totals != last {
            (last, changed) = (totals, Instant::now());
        }
        if changed.elapsed() > TIMEOUT {
            return Err(Error::Stalled { arrived: totals.sum(), sent, seconds: TIMEOUT.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
