//! `millrace status`: members and lag of every stage, what waits and why, halted partitions, and the age of the newest data
//! in ClickHouse.
mod clickhouse;

use clap::Args;
use comfy_table::{Attribute, Cell, Color};
use console::style;
use jiff::Timestamp;
use serde::Serialize;

use self::clickhouse::ClickHouseStatus;
use crate::{
    backlog::{self, StageBacklog, TopicEnds},
    context::Context,
    error::Error,
    output::{
        table::{
            Column::{Number, Text},
            Table, table,
        },
        text::count,
    },
    processes::Processes,
};

/// Show members and lag of every stage, what waits and why, and the age of the newest data in ClickHouse
#[derive(Debug, Args)]
#[command(after_help = "\
Lag is counted in Kafka records up to the high watermark of every partition: raw records for ingest, batches of events for the \
other stages. BEHIND OPEN are those of them that no reader sees before a transaction is committed or aborted.

Exits with 1 if a partition is halted or read by nobody, or if something cannot be seen: a process in http.processes, a \
partition, ClickHouse.

EXAMPLES
  millrace status
  watch millrace status
  millrace status --json | jq '[.stages[].lag] | add'
  millrace status --json | jq '.problems'")]
pub(crate) struct Status {}

#[derive(Debug, Serialize)]
struct TopicStatus {
    topic: String,
    /// None when the topic does not exist.
    partitions: Option<usize>,
    /// Number of offsets, including control records of transactions.
    records: i64,
}

#[derive(Debug, Serialize)]
struct StatusReport {
    pipeline: String,
    stages: Vec<StageBacklog>,
    topics: Vec<TopicStatus>,
    #[serde(flatten)]
    processes: Processes,
    clickhouse: ClickHouseStatus,
    /// Halted and unread partitions, and what cannot be seen: the command exits with 1.
    problems: Vec<String>,
    /// What waits for another reason, and why a process does less than it should.
    notes: Vec<String>,
}

impl Status {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let backlog = backlog::read(settings, Timestamp::now().as_millisecond())?;
        let processes = Processes::read(settings);
        let clickhouse = tokio.block_on(clickhouse::read(settings, Timestamp::now().as_millisecond()));
        let mut problems: Vec<String> = processes.halted().map(ToString::to_string).collect();
        problems.extend(backlog.stages.iter().filter_map(StageBacklog::unread));
        problems.extend(backlog.unseen());
        problems.extend(processes.unseen(&backlog.stages));
        problems.extend(clickhouse.problem.iter().map(|problem| format!("clickhouse: {problem}")));
        let mut notes = Vec::new();
        for stage in &backlog.stages {
            notes.extend(stage.open_transactions());
            notes.extend(stage.undecodable());
        }
        // The lanes of aggregate wait for the same transactions and batches.
        notes.dedup();
        notes.extend(degraded(&processes));
        let report = StatusReport {
            pipeline: settings.pipeline.clone(),
            stages: backlog.stages,
            topics: backlog.topics.iter().map(TopicStatus::new).collect(),
            processes,
            clickhouse,
            problems,
            notes,
        };
        output.json(&report)?;
        let mut tables = vec![report.stage_table(), report.topic_table()];
        if !report.clickhouse.stored.is_empty() {
            tables.push(report.clickhouse.table());
        }
        for table in &tables {
            output.table(table)?;
            output.line("")?;
        }
        output.line(report.clickhouse.headline())?;
        for note in &report.notes {
            output.line(format!("{} {note}", style("note:").yellow()))?;
        }
        for problem in &report.problems {
            output.line(format!("{} {problem}", style("problem:").red()))?;
        }
        if report.problems.is_empty() { Ok(()) } else { Err(Error::Reported) }
    }
}

/// Why the processes do less than they should.
fn degraded(processes: &Processes) -> Vec<String> {
    let mut sentences = Vec::new();
    for process in &processes.processes {
        for degraded in &process.degraded {
            sentences.push(format!(
                "{} {} is degraded ({}) for {} s: {}",
                process.stage, degraded.component, degraded.reason, degraded.for_seconds, degraded.cause
            ));
        }
    }
    sentences
}

impl TopicStatus {
    fn new(ends: &TopicEnds) -> Self {
        let partitions = ends.partitions.len() + ends.leaderless.len();
        Self {
            topic: ends.name.clone(),
            partitions: ends.exists.then_some(partitions),
            records: ends.offsets(),
        }
    }
}

impl StatusReport {
    fn stage_table(&self) -> Table {
        let mut table = table(&[
            Text("stage"),
            Text("reads"),
            Text("state"),
            Number("members"),
            Number("lag"),
            Number("behind open"),
        ]);
        for stage in &self.stages {
            let state = match (stage.started, stage.members) {
                (_, 1..) => Cell::new(stage.state.to_lowercase()).fg(Color::Green),
                (true, 0) => Cell::new("not running").fg(Color::Red),
                (false, 0) => Cell::new("never ran").add_attribute(Attribute::Dim),
            };
            let waiting = |records: i64| {
                Cell::new(count(records)).fg(if records == 0 { Color::Green } else { Color::Yellow })
            };
            table.add_row([
                stage.stage.into(),
                stage.topic.as_str().into(),
                state,
                stage.members.into(),
                waiting(stage.lag),
                waiting(stage.behind_open_transactions),
            ]);
        }
        table
    }

    fn topic_table(&self) -> Table {
        let mut table = table(&[Text("topic"), Number("partitions"), Number("records")]);
        for topic in &self.topics {
            let partitions = match topic.partitions {
                Some(partitions) => Cell::new(partitions),
                None => Cell::new("missing").fg(Color::Red),
            };
            table.add_row([topic.topic.as_str().into(), partitions, count(topic.records).into()]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_show_stopped_stages_and_missing_topics() {
        console::set_colors_enabled(false);
        let stage = |stage, started, members, lag, behind_open_transactions| StageBacklog {
            stage,
            group: format!("millrace-{stage}"),
            topic: "raw-events".into(),
            started,
            state: "Stable".into(),
            members,
            lag,
            behind_open_transactions,
            partitions: Vec::new(),
        };
        let report = StatusReport {
            pipeline: "millrace".into(),
            stages: vec![
                stage("ingest", true, 2, 500, 500),
                stage("enrich", true, 0, 12_000, 0),
                stage("x", false, 0, 5, 0),
            ],
            topics: vec![TopicStatus { topic: "activities".into(), partitions: None, records: 0 }],
            processes: Processes::default(),
            clickhouse: ClickHouseStatus {
                url: "http://c".into(),
                version: Some("26.7".into()),
                data_age_ms: Some(700),
                ..ClickHouseStatus::default()
            },
            problems: Vec::new(),
            notes: Vec::new(),
        };
        assert_eq!(
            report.stage_table().render(),
            "STAGE   READS       STATE        MEMBERS     LAG  BEHIND OPEN\n\
             ingest  raw-events  stable             2     500          500\n\
             enrich  raw-events  not running        0  12 000            0\n\
             x       raw-events  never ran          0       5            0\n"
        );
        assert!(report.topic_table().render().contains("activities     missing"));
        assert_eq!(report.clickhouse.headline(), "clickhouse 26.7 at http://c, newest data 0.7 s old");
    }
}
