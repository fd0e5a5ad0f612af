//! `millrace reconcile`: checks, from Kafka's offsets and ClickHouse alone, that every consumed event is stored, a
//! duplicate, a dead letter or in flight.
//!
//! Ingest and enrich commit their ledgers as metadata of their offsets. Aggregate writes its ledger in the rows it inserts.
//! Each ledger stays exact through every crash, so the ledgers of two stages differ only by the events between them. They
//! are read from the end of the pipeline to its beginning: an event that moves while they are read counts as in flight.
mod check;
mod comparison;
mod in_flight;
mod report;
mod stage_ledger;
mod stored;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::Args;
use console::style;
use jiff::Timestamp;

use self::{comparison::compare, report::Reconciliation, stored::StoredLedgers};
use crate::{
    backlog::{self, PipelineBacklog},
    context::Context,
    error::Error,
    processes::Processes,
};

/// A difference is reported only if it is the same problem in this many attempts. An insert or a rebalance that was in
/// progress is finished by then.
const ATTEMPTS: usize = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Check that consumed = stored + duplicates + dead letters + in flight, per partition and in total
#[derive(Debug, Args)]
#[command(after_help = "\
Reads committed offsets and ClickHouse, and only those records that are still in flight. The total is that of lane live. The \
lanes report and events are checked as well, partition by partition, if aggregate.lanes contains them. Exits with 1 if any \
number differs.

Records that ingest has not consumed are no difference. It says how many there are, up to the high watermark of every \
partition, and why they wait: behind an open transaction, in a partition that nobody reads, or in a halted partition. A batch \
that cannot be decoded is one event and one dead letter with the range of its offsets.

Differences are expected after the offsets of a group were set by hand, after a topic was recreated, after aggregate.epoch was \
raised, and for a lane that was added when the topic had already deleted records: the ledgers then have different start \
positions.

EXAMPLES
  millrace reconcile
  millrace reconcile --metrics-file /var/lib/node_exporter/millrace.prom     from a timer, for Prometheus
  millrace reconcile --json | jq .difference")]
pub(crate) struct Reconcile {
    /// Also write the numbers to FILE for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

impl Reconcile {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let mut attempt = 1;
        let mut report = loop {
            // ClickHouse is read before Kafka: see the head of this file.
            let stored = tokio.block_on(StoredLedgers::read(settings))?;
            let report = compare(settings, &stored)?;
            if report.difference == 0 || attempt == ATTEMPTS {
                break report;
            }
            attempt += 1;
            thread::sleep(RETRY_PAUSE);
        };
        let backlog = backlog::read(settings, Timestamp::now().as_millisecond())?;
        let processes = Processes::read(settings);
        report.notes = notes(&report, &backlog, &processes);
        report.waiting = backlog.stages;
        if let Some(path) = &self.metrics_file {
            replace_file(path, &report.metrics(&settings.pipeline))?;
        }
        output.json(&report)?;
        output.table(&report.table())?;
        output.line("")?;
        output.line(report.summary())?;
        if let Some(line) = report.waiting_records() {
            output.line(line)?;
        }
        for note in &report.notes {
            output.line(format!("{} {note}", style("note:").yellow()))?;
        }
        if report.difference == 0 { Ok(()) } else { Err(Error::Reported) }
    }
}

/// Why records wait, which records were never read, and what cannot be seen. None of it is a difference.
fn notes(report: &Reconciliation, backlog: &PipelineBacklog, processes: &Processes) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for stage in &backlog.stages {
        notes.extend(stage.unread());
        notes.extend(stage.open_transactions());
        notes.extend(stage.undecodable());
    }
    notes.extend(backlog.unseen());
    notes.extend(processes.halted().map(ToString::to_string));
    notes.extend(processes.unseen(&backlog.stages));
    notes.extend(report.undecodable.iter().map(|batch| {
        format!("{} partition {} has one dead letter: {}", batch.topic, batch.partition, batch.message)
    }));
    // The lanes of aggregate wait for the same transactions.
    let mut known = BTreeSet::new();
    notes.retain(|note| known.insert(note.clone()));
    notes
}

/// Replaces a file in one step, so that a reader never sees half of it.
fn replace_file(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path)).map_err(failed)
}
