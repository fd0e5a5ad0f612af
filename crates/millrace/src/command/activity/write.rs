//! The one place that changes the registry. Each change is written three times: as an unconfirmed row of the history in
//! ClickHouse, then to Kafka, then as a confirmed row in ClickHouse.
//!
//! If ClickHouse is unreachable, nothing is written. If Kafka is unreachable or this process is killed, the row stays
//! unconfirmed, and `millrace activity history` compares it with the registry.
use std::{thread, time::Duration};

use event::Activity;
use jiff::Timestamp;

use super::change::ActivityChange;
use crate::{
    context::Context,
    error::Error,
    output,
    registry::RegistryProducer,
    tables::activity_history::{self, ActivityChangeRow},
};

/// Attempts to confirm a change that Kafka has, and the pause between them.
const CONFIRM_ATTEMPTS: usize = 5;
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);

/// Writes changes. Fails if Kafka does not confirm all of them, and names those it did not confirm.
pub(super) fn write_changes(context: &Context, who: &str, changes: &[ActivityChange]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let settings = &context.settings;
    // First, because this finds most problems with Kafka before the history is written.
    let producer = RegistryProducer::new(context)?;
    let at = Timestamp::now().as_millisecond();
    let mut rows: Vec<ActivityChangeRow> =
        changes.iter().map(|change| change.unconfirmed_row(who, at)).collect();
    let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
    let write =
        |rows: &[ActivityChangeRow]| context.tokio.block_on(activity_history::write(&client, settings, rows));
    write(&rows).map_err(|error| {
        Error::Failed(format!("nothing was changed, because the history cannot be written: {error}"))
    })?;

    let activities: Vec<&Activity> = changes.iter().map(|change| &change.after).collect();
    let outcomes = producer.write(context, &activities);
    let mut failed = None;
    for (row, outcome) in rows.iter_mut().zip(outcomes) {
        match outcome {
            Ok(()) => row.confirmed = 1,
            Err(error) => {
                output::note(format!("note: {}: {error}", row.activity_id));
                failed = failed.or(Some(error));
            }
        }
    }
    rows.retain(|row| row.confirmed == 1);
    let mut confirmed = write(&rows);
    for _ in 1..CONFIRM_ATTEMPTS {
        if confirmed.is_ok() {
            break;
        }
        thread::sleep(CONFIRM_PAUSE);
        confirmed = write(&rows);
    }
    if let Err(error) = confirmed {
        output::note(format!(
            "note: the change is done, but the history shows it as unconfirmed, because clickhouse is unavailable: {error}"
        ));
    }
    match failed {
        None => Ok(()),
        Some(source) => Err(Error::Failed(format!(
            "kafka confirmed {} of {} changes; `millrace activity history` shows which, repeat the others: {source}",
            rows.len(),
            changes.len()
        ))),
    }
}
