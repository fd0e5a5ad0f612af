//! The result of `millrace reconcile`, as JSON, as a table and for Prometheus.
use comfy_table::{Cell, Color, Table};
use console::style;
use serde::Serialize;

use super::check::{InFlight, LedgerCheck};
use crate::output::{
    table::{
        Column::{Number, Text},
        table,
    },
    text::count,
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
    pub(super) in_flight: InFlight,
    /// Sum of the absolute differences of all checks.
    pub(super) difference: u128,
    pub(super) checks: Vec<LedgerCheck>,
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
        lines.collect()
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
        format!(
            "consumed {} = stored {} + duplicates {} + dead letters {} + in flight {}: {result}",
            count(self.consumed),
            count(self.stored),
            count(self.duplicates),
            count(self.dead_letters),
            count(self.in_flight.most),
        )
    }
}
