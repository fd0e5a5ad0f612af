//! The result of `millrace reconcile`, as JSON, as a table and for Prometheus.
use comfy_table::{Cell, Color};
use console::style;
use serde::Serialize;

use super::{
    check::{InFlight, LedgerCheck},
    stored::UndecodableBatch,
};
use crate::{
    backlog::StageBacklog,
    output::{
        table::{
            Column::{Number, Text},
            Table, table,
        },
        text::count,
    },
};

/// The numbers of one run.
#[derive(Debug, Serialize)]
pub(super) struct Reconciliation {
    /// Events that ingest has consumed.
    pub(super) consumed: u64,
    /// Events in ClickHouse that are not duplicates.
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    pub(super) dead_letters: u64,
    /// Dead letters of messages in `clean-events` that ingest did not write. They are not part of `consumed`.
    pub(super) foreign: u64,
    /// The newest batches that cannot be decoded: each is one event and one dead letter, however many records it has.
    pub(super) undecodable: Vec<UndecodableBatch>,
    pub(super) in_flight: InFlight,
    /// Sum of the absolute differences of all checks.
    pub(super) difference: u128,
    pub(super) checks: Vec<LedgerCheck>,
    /// The partitions whose records wait, by stage.
    pub(super) waiting: Vec<StageBacklog>,
    /// Why records wait for longer than usual, and what cannot be seen.
    pub(super) notes: Vec<String>,
}

impl Reconciliation {
    /// The numbers in the text format of Prometheus.
    pub(super) fn metrics(&self, pipeline: &str) -> String {
        let numbers: [(&str, &str, u128); 6] = [
            ("consumed", "Events that ingest has consumed.", self.consumed.into()),
            ("stored", "Events in ClickHouse that are not duplicates.", self.stored.into()),
            ("duplicates", "Events that are duplicates.", self.duplicates.into()),
            ("dead_letters", "Events that were rejected.", self.dead_letters.into()),
            ("in_flight", "Events between two stages.", self.in_flight.most.into()),
            ("difference", "Events lost or counted twice. Must be 0.", self.difference),
        ];
        let lines = numbers.iter().map(|(name, help, value)| {
            let name = format!("millrace_reconcile_{name}_events");
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{pipeline=\"{pipeline}\"}} {value}\n")
        });
        let mut text: String = lines.collect();
        let unread = |stage: &StageBacklog| {
            stage.partitions.iter().filter(|partition| partition.has_reader == Some(false)).count() as i64
        };
        type OfStage<'a> = &'a dyn Fn(&StageBacklog) -> i64;
        let numbers: [(&str, &str, OfStage<'_>); 3] = [
            ("waiting_records", "Records that wait for a stage, up to the high watermark.", &|stage| {
                stage.lag
            }),
            ("blocked_records", "Those of them that wait behind an open transaction.", &|stage| {
                stage.behind_open_transactions
            }),
            ("unread_partitions", "Partitions that no member of the consumer group reads.", &unread),
        ];
        for (name, help, number) in numbers {
            text.push_str(&format!(
                "# HELP millrace_reconcile_{name} {help}\n# TYPE millrace_reconcile_{name} gauge\n"
            ));
            for stage in &self.waiting {
                let (value, stage) = (number(stage), stage.stage);
                text.push_str(&format!(
                    "millrace_reconcile_{name}{{pipeline=\"{pipeline}\",stage=\"{stage}\"}} {value}\n"
                ));
            }
        }
        text
    }

    pub(super) fn table(&self) -> Table {
        let mut table = table(&[
            Text("check"),
            Text("topic"),
            Text("partition"),
            Number("before"),
            Number("after"),
            Number("in flight"),
            Number("difference"),
        ]);
        for check in &self.checks {
            let difference = check.difference();
            let colour = if difference == 0 { Color::Green } else { Color::Red };
            table.add_row([
                check.what.into(),
                check.topic.as_str().into(),
                check.partition.map_or("all".into(), Cell::new),
                count(check.before).into(),
                count(check.after).into(),
                count(check.in_flight.most).into(),
                Cell::new(difference).fg(colour),
            ]);
        }
        table
    }

    /// One line with the total.
    pub(super) fn summary(&self) -> String {
        let result = format!("difference {}", self.difference);
        let result = if self.difference == 0 { style(result).green() } else { style(result).red() };
        let foreign = match self.foreign {
            0 => String::new(),
            foreign => format!(" + foreign {}", count(foreign)),
        };
        format!(
            "consumed {}{foreign} = stored {} + duplicates {} + dead letters {} + in flight {}: {result}",
            count(self.consumed),
            count(self.stored),
            count(self.duplicates),
            count(self.dead_letters),
            count(self.in_flight.most),
        )
    }

    /// What waits before ingest: `consumed` does not have it yet.
    pub(super) fn waiting_records(&self) -> Option<String> {
        let ingest = self.waiting.iter().find(|stage| stage.stage == "ingest")?;
        let waiting = format!("{} records of {} wait for ingest", count(ingest.lag), ingest.topic);
        Some(match ingest.behind_open_transactions {
            0 => waiting,
            behind => format!("{waiting}, {} of them behind an open transaction", count(behind)),
        })
    }
}
