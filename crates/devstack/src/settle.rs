//! Waits until everything that was sent is accounted for.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sql::Totals;

/// How long nothing may move before waiting is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls the totals of `database` until at least `sent` events are accounted for, telling `progress` each time.
///
/// # Errors
/// Nothing has moved for a minute, or ClickHouse does not answer.
pub fn wait_for_events(
    clickhouse_url: &str,
    database: &str,
    sent: u64,
    mut progress: impl FnMut(&Totals),
) -> Result<Totals, Error> {
    let (mut last, mut moved) = (Totals::default(), Instant::now());
    loop {
        let totals = Totals::read(clickhouse_url, database)?;
        progress(&totals);
        if totals.sum() >= sent {
            return Ok(totals);
        }
        if totals != last {
            (last, moved) = (totals, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            return Err(Error::Stalled { arrived: totals.sum(), sent, seconds: PATIENCE.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
