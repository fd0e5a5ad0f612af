//! `millrace forget`: erases one person. Numbers stay as they are: cubes hold nobody's ID.
mod person;
mod retention;
mod rows;
mod state;

use std::time::Duration;

use clap::Args;
use event::{IdentityKey, Topic};
use serde_json::json;

use self::{person::Person, rows::ErasedTable};
use crate::{
    command::author::Author,
    context::Context,
    error::Error,
    output::{
        note,
        table::{
            Column::{Number, Text},
            table,
        },
    },
    tables::erasures::{self, ErasureRow},
};

/// Erase the state, events and rejected payloads of a person
///
/// 1. Writes a tombstone for each device to `enrich-state`. Enrich must be stopped, because it holds its devices in memory
///    and would write them again. Its events wait in Kafka.
/// 2. Deletes the rows of the person from `events`. Blanks payload, key and message of its dead letters; their rows stay,
///    because the cube `quality` counts them.
/// 3. Records how many rows that were in `erasures`, without the person.
///
/// A row is masked when no query returns it any more, and gone from disk when ClickHouse has removed the old data parts. Both
/// are printed. The topics hold the rest until retention deletes it; each is printed with its retention. Run the command again
/// when the events that are on their way now are stored.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs the role steward in ClickHouse, and rights to write to enrich-state in Kafka. Give all people at once, so that enrich
stops once.

EXAMPLES
  millrace forget --app web-main --anonymous-id 7f9c2c5e --reason \"request 4711\"
  millrace forget --app web-main --user-id u-1009 --wait
  millrace forget --app web-main --anonymous-id a --anonymous-id b --json | jq .tables")]
pub(crate) struct Forget {
    /// Application that sent the IDs
    #[arg(long, value_name = "APP")]
    app: String,
    /// Device to erase: the anonymous_id that the client sends
    #[arg(long, value_name = "ID", required_unless_present = "user_ids")]
    anonymous_id: Vec<String>,
    /// User to erase: the user_id that the client sends; also erases the devices that sent it, as the table events knows them
    #[arg(long = "user-id", id = "user_ids", value_name = "ID")]
    user_ids: Vec<String>,
    /// Why, for the table erasures; do not name the person
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Wait until the rows are gone from disk
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    author: Author,
}

/// How long ClickHouse may take to mask the rows.
const MASK_TIMEOUT: Duration = Duration::from_secs(3600);

impl Forget {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        for id in self.anonymous_id.iter().chain(&self.user_ids) {
            if id.trim().is_empty() {
                return Err(Error::Usage("an ID must not be empty".into()));
            }
        }
        let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
        let mut person = Person::new(&self.app, &self.anonymous_id, &self.user_ids);
        let has_events = tokio.block_on(rows::has_events(&client, settings))?;
        let identity = IdentityKey::new(settings.enrich.identity_secret.expose());
        if has_events {
            let keys = person.keys(&identity);
            person.add_devices(tokio.block_on(rows::devices_of(&client, settings, &keys))?);
        } else if !self.user_ids.is_empty() {
            note(
                "note: this pipeline has no table events, so the devices of a user are unknown: give --anonymous-id as well",
            );
        }
        state::check_stopped(settings)?;
        let keys = person.keys(&identity);
        let tombstones = state::write_tombstones(settings, tokio, &person, &keys)?;
        state::check_stopped(settings)?;

        let mut erased = Vec::new();
        if has_events {
            let rows = tokio.block_on(rows::erase_events(&client, settings, &keys))?;
            erased.push((ErasedTable::Events, rows));
        }
        let rows = tokio.block_on(rows::blank_dead_letters(&client, settings, &person))?;
        erased.push((ErasedTable::DeadLetters, rows));
        let mut facts = Vec::new();
        for &(table, rows) in &erased {
            let old_parts =
                tokio.block_on(rows::wait_until_masked(&client, settings, table, MASK_TIMEOUT))?;
            let left =
                tokio.block_on(rows::parts_on_disk(&client, settings, table, &old_parts, self.wait))?;
            facts.push((table, rows, left));
        }
        let who = self.author.name();
        let records: Vec<ErasureRow> = facts
            .iter()
            .map(|&(table, rows, _)| ErasureRow::new(&who, &self.app, table.name(), rows, &self.reason))
            .collect();
        tokio.block_on(erasures::write(&client, settings, &records))?;

        let topics = tokio.block_on(retention::topics(settings))?;
        let state_topic = settings.kafka.topic(Topic::EnrichState);
        let mut shown = table(&[Text("where"), Number("erased"), Text("masked"), Text("gone from disk")]);
        shown.add_row([
            state_topic.clone(),
            tombstones.to_string(),
            "yes".into(),
            "when Kafka compacts the topic".into(),
        ]);
        for &(table, rows, left) in &facts {
            let gone = if left == 0 { "yes".to_owned() } else { format!("no: {left} old data parts remain") };
            shown.add_row([table.name().to_owned(), rows.to_string(), "yes".into(), gone]);
        }
        for topic in &topics {
            shown.add_row([topic.name.clone(), "0".into(), "no".into(), topic.until()]);
        }
        output.table(&shown)?;
        let tables: Vec<_> = facts
            .iter()
            .map(|&(table, rows, left)| {
                json!({ "table": table.name(), "rows": rows, "masked": true, "gone_from_disk": left == 0 })
            })
            .collect();
        Ok(output.json(&json!({ "tombstones": tombstones, "tables": tables, "topics": topics }))?)
    }
}
