//! `millrace forget`: erases one person. Numbers stay as they are: cubes hold nobody's ID.
mod person;
mod retention;
mod rows;
mod state;

use std::time::Duration;

use clap::Args;
use event::{IdentityKey, Topic};
use serde_json::{Value, json};

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
/// 3. Records how many rows that were in `erasures`, without the person, as soon as ClickHouse has accepted each change.
///
/// A row is masked when no query returns it any more, and gone from disk when ClickHouse has removed the old data parts. Both
/// are printed; the command fails if it still finds a row. The topics hold the rest until retention deletes it; each is printed with its retention. Run the command again
/// when the events that are on their way now are stored.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs the role steward in ClickHouse, rights to write to enrich-state in Kafka, and the identity secret of enrich. Give all
people at once, so that enrich stops once.

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
        let identity = IdentityKey::new(settings.identity_secret()?.expose());
        if has_events {
            let keys = person.keys(&identity);
            tokio.block_on(rows::check_secret(&client, settings, &person, &keys))?;
            person.add_devices(tokio.block_on(rows::devices_of(&client, settings, &keys))?);
        } else if !self.user_ids.is_empty() {
            note(
                "note: this pipeline has no table events, so the devices of a user are unknown: give --anonymous-id as well",
            );
        }
        state::check_stopped(settings)?;
        let keys = person.keys(&identity);
        let letters = tokio.block_on(rows::letters_of(&client, settings, &person))?;
        let tombstones = state::write_tombstones(settings, tokio, &person, &keys)?;
        state::check_stopped(settings)?;

        let who = self.author.name();
        // At once: a run that is interrupted has recorded what it has erased.
        let record = async |table: ErasedTable, rows: u64| {
            let row = ErasureRow::new(&who, &self.app, table.name(), rows, &self.reason);
            erasures::write(&client, settings, &[row]).await
        };
        let mut erased = Vec::new();
        if has_events {
            let rows = tokio.block_on(rows::erase_events(&client, settings, &keys))?;
            tokio.block_on(record(ErasedTable::Events, rows))?;
            erased.push((ErasedTable::Events, rows));
        }
        tokio.block_on(rows::blank_dead_letters(&client, settings, &letters))?;
        tokio.block_on(record(ErasedTable::DeadLetters, letters.len() as u64))?;
        erased.push((ErasedTable::DeadLetters, letters.len() as u64));
        let mut facts = Vec::new();
        for &(table, rows) in &erased {
            let old_parts =
                tokio.block_on(rows::wait_until_masked(&client, settings, table, MASK_TIMEOUT))?;
            let found = tokio.block_on(rows::still_found(&client, settings, table, &person, &keys))?;
            let parts =
                tokio.block_on(rows::parts_on_disk(&client, settings, table, &old_parts, self.wait))?;
            facts.push(Fact { table, rows, found, parts });
        }

        let topics = tokio.block_on(retention::topics(settings))?;
        let state_topic = settings.kafka.topic(Topic::EnrichState);
        let mut shown = table(&[Text("where"), Number("erased"), Text("masked"), Text("gone from disk")]);
        shown.add_row([
            state_topic.clone(),
            tombstones.to_string(),
            "yes".into(),
            "when Kafka compacts the topic".into(),
        ]);
        for fact in &facts {
            let answer = |left: u64, what: &str| {
                if left == 0 { "yes".to_owned() } else { format!("no: {left} {what}") }
            };
            shown.add_row([
                fact.table.name().to_owned(),
                fact.rows.to_string(),
                answer(fact.found, "rows are found"),
                answer(fact.parts, "old data parts remain"),
            ]);
        }
        for topic in &topics {
            shown.add_row([topic.name.clone(), "0".into(), "no".into(), topic.until()]);
        }
        output.table(&shown)?;
        let tables: Vec<_> = facts.iter().map(Fact::json).collect();
        output.json(&json!({ "tombstones": tombstones, "tables": tables, "topics": topics }))?;
        let found: u64 = facts.iter().map(|fact| fact.found).sum();
        if found == 0 {
            return Ok(());
        }
        Err(Error::Failed(format!(
            "{found} rows of the person are still found, such as events that were stored meanwhile: run this command again"
        )))
    }
}

/// What has become of the rows of one table.
struct Fact {
    table: ErasedTable,
    /// Erased by this run.
    rows: u64,
    /// Rows of the person that a query returns after it.
    found: u64,
    /// Old data parts on disk.
    parts: u64,
}

impl Fact {
    fn json(&self) -> Value {
        json!({
            "table": self.table.name(), "rows": self.rows, "masked": self.found == 0, "gone_from_disk": self.parts == 0,
        })
    }
}
