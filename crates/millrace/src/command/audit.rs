//! `millrace audit`: who asked what, and who changed what. ClickHouse's query log and the histories of changes, in one list.
use std::time::Duration;

use aggregate::server;
use clap::Args;
use clickhouse::Client;
use jiff::Timestamp;
use runtime::config::Settings;
use serde_json::{Value, json};

use super::value_parsers;
use crate::{
    context::Context,
    error::Error,
    output::{
        note,
        table::{Column::Text, table},
    },
};

/// Show who asked which metric or view, when and from where, and every change of activities, access and metrics
///
/// Reads ClickHouse's query log, the history of activities and the table erasures. ClickHouse keeps its query log as long as
/// its configuration says (deploy/clickhouse/audit.xml: 400 days), and writes it every few seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs the role steward in ClickHouse.

EXAMPLES
  millrace audit --since 7d
  millrace audit --user alice
  millrace audit --changes --json | jq -r '.[] | [.at, .who, .what] | @tsv'")]
pub(crate) struct Audit {
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = value_parsers::duration)]
    since: Duration,
    /// Only this user of ClickHouse, or this author of a change
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only changes
    #[arg(long)]
    changes: bool,
    /// Number of entries to show, the latest ones
    #[arg(long, value_name = "ENTRIES", default_value_t = 200)]
    limit: usize,
}

/// Epoch milliseconds, who, from where, what, and the outcome.
type Entry = (i64, String, String, String, String);

/// Queries of the pipeline's views and tables, and statements that change access. Left out are the queries of the live page and
/// what the processes ask of the tables: of the users that insert into them, which only the role writer may. A query that
/// ClickHouse refuses has no tables in the log.
const QUERIES: &str = "\
WITH (SELECT groupUniqArray(user) FROM system.query_log WHERE event_date >= toDate({since:Int64}) AND query_kind = 'Insert' \
    AND type = 'QueryFinish' AND hasAny(tables, [concat({database:String}, '.live_local'), concat({database:String}, '.report_local')])) \
  AS writers \
SELECT toUnixTimestamp64Milli(toDateTime64(event_time_microseconds, 3, 'UTC')) AS at, toString(user), \
  replaceOne(toString(initial_address), '::ffff:', ''), \
  concat(if(query_kind IN ('Select', 'Insert') AND notEmpty(tables), concat(lower(query_kind), ' '), ''), \
    if(log_comment = '', '', concat(log_comment, ': ')), \
    if(query_kind IN ('Select', 'Insert') AND notEmpty(tables), \
      arrayStringConcat(arrayMap(name -> replaceOne(name, concat({database:String}, '.'), ''), tables), ' '), left(query, 200))), \
  if(exception_code = 0, 'done', concat('refused or failed, code ', toString(exception_code))) \
FROM system.query_log \
WHERE event_date >= toDate({since:Int64}) AND event_time >= toDateTime({since:Int64}, 'UTC') AND type != 'QueryStart' \
  AND is_initial_query AND user != 'millrace_live' \
  AND (has(databases, {database:String}) \
      AND NOT (exception_code = 0 AND has(writers, user) AND arrayAll(name -> endsWith(name, '_local'), tables)) \
    OR query_kind IN ('Create', 'Alter', 'Drop', 'Grant', 'Revoke', 'Delete', 'Update') \
    OR exception_code != 0 AND (current_database = {database:String} OR position(query, {database:String}) > 0)) \
  AND (NOT {changes:Bool} OR query_kind NOT IN ('Select', 'Explain', 'Show', 'Describe')) \
  AND ({user:String} = '' OR user = {user:String} OR endsWith(log_comment, concat(' by ', {user:String}))) \
ORDER BY at DESC LIMIT {most:UInt64}";

const ACTIVITIES: &str = "\
SELECT toUnixTimestamp64Milli(at), who, '', concat(action, ' activity ', activity_id, if(reason = '', '', concat(': ', reason))), \
  if(confirmed = 1, 'done', 'unconfirmed') FROM activity_history \
WHERE at >= toDateTime64({since:Int64}, 3, 'UTC') AND ({user:String} = '' OR who = {user:String}) ORDER BY at DESC LIMIT {most:UInt64}";

const ERASURES: &str = "\
SELECT toUnixTimestamp64Milli(at), who, '', concat('erase a person of ', app_id, ' from ', erased_from, \
  if(reason = '', '', concat(': ', reason))), concat('done, ', toString(erased_rows), ' rows') FROM erasures \
WHERE at >= toDateTime64({since:Int64}, 3, 'UTC') AND ({user:String} = '' OR who = {user:String}) ORDER BY at DESC LIMIT {most:UInt64}";

impl Audit {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let since = Timestamp::now() - self.since;
        let client = server::client(settings).with_database(&settings.clickhouse.database);
        let mut entries = tokio.block_on(self.entries(&client, settings, since))?;
        entries.sort();
        let left_out = entries.len().saturating_sub(self.limit);
        entries.drain(..left_out);
        let mut shown = table(&[Text("at"), Text("who"), Text("from"), Text("what"), Text("outcome")]);
        let mut list: Vec<Value> = Vec::new();
        for (at, who, from, what, outcome) in entries {
            let at = Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.3}"));
            let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
            list.push(json!({ "at": at, "who": who, "from": from, "what": what, "outcome": outcome }));
            shown.add_row([at, who, from, what, outcome]);
        }
        if left_out > 0 {
            note("note: earlier entries are not shown; --limit shows more");
        }
        output.table(&shown)?;
        Ok(output.json(&list)?)
    }

    async fn entries(
        &self,
        client: &Client,
        settings: &Settings,
        since: Timestamp,
    ) -> Result<Vec<Entry>, Error> {
        let database = &settings.clickhouse.database;
        // One more shows that there are more.
        let most = self.limit.saturating_add(1) as u64;
        let asked = |sql: &str| {
            let query = client.query_raw(sql).param("since", since.as_second()).param("most", most);
            query.param("user", self.user.as_deref().unwrap_or_default())
        };
        let mut entries = Vec::new();
        for (table, sql) in [("activity_history", ACTIVITIES), ("erasures", ERASURES)] {
            let rows = asked(sql).fetch_all::<Entry>().await;
            entries.extend(rows.map_err(|error| server::failed(settings, table, &error))?);
        }
        let logged: u64 = client
            .query("SELECT count() FROM system.tables WHERE database = 'system' AND name = 'query_log'")
            .fetch_one()
            .await
            .map_err(|error| server::failed(settings, "system.tables", &error))?;
        if logged == 0 {
            note(
                "note: clickhouse has no query log, so only changes are known: configure query_log, as deploy/clickhouse/audit.xml does",
            );
            return Ok(entries);
        }
        let query = asked(QUERIES).param("database", database).param("changes", self.changes);
        let rows = query.fetch_all::<Entry>().await;
        entries.extend(rows.map_err(|error| server::failed(settings, "system.query_log", &error))?);
        Ok(entries)
    }
}
