//! `millrace reconcile`: proves from Kafka's offsets and ClickHouse alone that every event consumed is stored, a
//! duplicate, a dead letter or under way.
//!
//! Ingest and enrich keep their ledgers beside the offsets they stand for, aggregate keeps its own in the rows it
//! writes. Each ledger is exact through every crash, so two neighbours can only differ by what lies between them. The
//! numbers are read from the end of the pipeline to its beginning, so that whatever moves meanwhile was under way.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use clickhouse::Row;
use console::style;
use event::Batch;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use runtime::{
    config::Settings,
    ledger::{Counts, Entry},
    topic::Topic,
};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::Error,
    kafka::{self, Read, Reader, Span},
    proof::{Check, InFlight},
    table::{Table, count},
};

/// A difference is believed when it is still there after so many looks: an insert that was half done while we
/// looked, or an owner that changed, is settled by then.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// How long a transaction may stay open before we stop waiting for its end.
const OPEN_TRANSACTION: Duration = Duration::from_secs(60);

/// Prove that consumed = stored + duplicates + dead letters + in flight, per partition and in total.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads committed offsets and ClickHouse only; records are read where some are still under way. The total is that of lane
live; the lanes report and events, when aggregate.lanes names them, are proven beside it, partition by partition. Exits
with 1 when any number differs. Differences are expected after offsets of a group were set by hand, after a topic was made anew, after
aggregate.epoch was raised, and for a lane that was added when records had already left the topic: the ledgers then
begin at different places.

EXAMPLES
  millrace reconcile
  millrace reconcile --metrics-file /var/lib/node_exporter/millrace.prom     from a timer, for Prometheus
  millrace reconcile --json | jq .difference")]
pub(crate) struct Reconcile {
    /// Also write the numbers to a file that node_exporter's textfile collector reads
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Events ingest has consumed.
    consumed: u64,
    /// Events in ClickHouse that are no duplicates.
    stored: u64,
    duplicates: u64,
    dead_letters: u64,
    in_flight: InFlight,
    /// Sum of all differences, each taken as positive.
    difference: u128,
    checks: Vec<Check>,
}

impl Reconcile {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let mut looks = 1;
        let report = loop {
            let report = tokio.block_on(stored(settings)).and_then(|stored| look(settings, &stored))?;
            if report.difference == 0 || looks == LOOKS {
                break report;
            }
            looks += 1;
            thread::sleep(BETWEEN_LOOKS);
        };
        if let Some(path) = &self.metrics_file {
            write_whole(path, &report.metrics(&settings.pipeline))?;
        }
        output.json(&report)?;
        output.table(&report.table())?;
        output.line("")?;
        output.line(report.headline())?;
        if report.difference == 0 { Ok(()) } else { Err(Error::Reported) }
    }
}

/// How far a partition was written to ClickHouse, and how much that was.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    events: u64,
    duplicates: u64,
    /// The offset behind the last record written.
    end: Option<i64>,
}

struct Stored {
    live: BTreeMap<i32, Written>,
    /// What other lanes that read the same topic have, each with what is proven of it.
    beside: Vec<(&'static str, BTreeMap<i32, Written>)>,
    dead_letters: BTreeMap<i32, Written>,
}

#[derive(Debug, Row, Deserialize)]
struct LedgerRow {
    src: String,
    events: i64,
    duplicates: i64,
    src_end: u64,
}

async fn stored(settings: &Settings) -> Result<Stored, Error> {
    const DUPLICATES: &str = "sum(ledger_duplicates)";
    // A table of rows tells them by their kind.
    const NONE: &str = "toInt64(0)";
    let live = written(settings, "live_local", Topic::EnrichedEvents, DUPLICATES).await?;
    let mut beside = Vec::new();
    for (lane, table, duplicates, what) in [
        ("report", "report_local", DUPLICATES, "enrich sent = lane report has + in flight"),
        ("events", "events_local", NONE, "enrich sent = lane events has + in flight"),
    ] {
        if settings.aggregate.lanes.iter().any(|known| known == lane) {
            beside.push((what, written(settings, table, Topic::EnrichedEvents, duplicates).await?));
        }
    }
    let dead_letters = written(settings, "dead_letters_local", Topic::DeadLetters, NONE).await?;
    Ok(Stored { live, beside, dead_letters })
}

async fn written(
    settings: &Settings,
    table: &str,
    topic: Topic,
    duplicates: &str,
) -> Result<BTreeMap<i32, Written>, Error> {
    let prefix = format!("{}/{}/", settings.aggregate.epoch, settings.kafka.topic(topic));
    let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
    let rows = client
        .query(&format!(
            "SELECT toString(src) AS src, sum(ledger_events) AS events, {duplicates} AS duplicates, \
             max(src_end) AS src_end FROM {table} WHERE startsWith(src, ?) GROUP BY src"
        ))
        .bind(&prefix)
        .fetch_all::<LedgerRow>()
        .await
        .map_err(|answer| aggregate::server::stop(settings, table, &answer))?;
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    // Later chunks of a large flush have markers of their own, without a ledger.
    let of_partitions = rows.into_iter().filter_map(|row| {
        let partition = row.src.strip_prefix(&prefix)?.parse().ok()?;
        let end = i64::try_from(row.src_end).ok();
        let written = Written { events: positive(row.events), duplicates: positive(row.duplicates), end };
        Some((partition, written))
    });
    Ok(of_partitions.collect())
}

/// Reads Kafka after ClickHouse, from the last topic to the first.
fn look(settings: &Settings, stored: &Stored) -> Result<Report, Error> {
    let client = kafka::connect(settings)?;
    let ends = |topic| Ends::read(settings, &client, topic);
    let (enriched_before, dead_before) = (ends(Topic::EnrichedEvents)?, ends(Topic::DeadLetters)?);
    let enrich = Ledger::read(settings, &client, "enrich", Topic::CleanEvents)?;
    let enriched_after = settled(settings, &client, Topic::EnrichedEvents)?;
    let clean_before = ends(Topic::CleanEvents)?;
    let ingest = Ledger::read(settings, &client, "ingest", Topic::RawEvents)?;
    let clean_after = settled(settings, &client, Topic::CleanEvents)?;
    let dead_after = settled(settings, &client, Topic::DeadLetters)?;

    let end_of = |written: &BTreeMap<i32, Written>| {
        written.iter().filter_map(|(&partition, written)| Some((partition, written.end?))).collect()
    };
    let enriched = in_flight(settings, &end_of(&stored.live), &enriched_before, &enriched_after)?;
    let mut lanes = vec![("enrich sent = clickhouse has + in flight", &stored.live, enriched.clone())];
    for (what, lane) in &stored.beside {
        let in_flight = in_flight(settings, &end_of(lane), &enriched_before, &enriched_after)?;
        lanes.push((what, lane, in_flight));
    }
    let dead = in_flight(settings, &end_of(&stored.dead_letters), &dead_before, &dead_after)?;
    let clean = in_flight(settings, &enrich.ends, &clean_before, &clean_after)?;

    let mut checks = Vec::new();
    let name = |topic| settings.kafka.topic(topic);
    for (ledger, what, topic) in [
        (&ingest, "ingest: events = sent on + dead letters", Topic::RawEvents),
        (&enrich, "enrich: events = sent on + dead letters", Topic::CleanEvents),
    ] {
        checks.extend(ledger.counts.iter().map(|(&partition, counts)| Check {
            what,
            topic: name(topic),
            partition: Some(partition),
            before: counts.events,
            after: counts.emitted + counts.rejected,
            in_flight: InFlight::default(),
        }));
    }
    let (ingested, enriched_total) = (ingest.total(), enrich.total());
    checks.push(Check {
        what: "ingest sent = enrich received + in flight",
        topic: name(Topic::CleanEvents),
        partition: None,
        before: ingested.emitted,
        after: enriched_total.events,
        in_flight: sum(&clean),
    });
    for (what, lane, in_flight) in &lanes {
        checks.extend(in_flight.iter().map(|(&partition, in_flight)| Check {
            what,
            topic: name(Topic::EnrichedEvents),
            partition: Some(partition),
            before: enrich.counts.get(&partition).map_or(0, |counts| counts.emitted),
            after: lane.get(&partition).map_or(0, |written| written.events),
            in_flight: *in_flight,
        }));
    }
    let live = stored.live.values().fold((0, 0), |sum, w| (sum.0 + w.events, sum.1 + w.duplicates));
    let dead_letters = stored.dead_letters.values().map(|written| written.events).sum();
    checks.push(Check {
        what: "refused = clickhouse has + in flight",
        topic: name(Topic::DeadLetters),
        partition: None,
        before: ingested.rejected + enriched_total.rejected,
        after: dead_letters,
        in_flight: sum(&dead),
    });
    let mut in_flight = sum(&clean);
    in_flight.add(sum(&enriched));
    in_flight.add(sum(&dead));
    Ok(Report {
        consumed: ingested.events,
        stored: live.0.saturating_sub(live.1),
        duplicates: live.1,
        dead_letters,
        in_flight,
        difference: checks.iter().map(|check| check.difference().unsigned_abs()).sum(),
        checks,
    })
}

fn sum(partitions: &BTreeMap<i32, InFlight>) -> InFlight {
    let mut sum = InFlight::default();
    partitions.values().for_each(|in_flight| sum.add(*in_flight));
    sum
}

/// What a stage has committed.
struct Ledger {
    counts: BTreeMap<i32, Counts>,
    /// Where it reads on.
    ends: BTreeMap<i32, i64>,
}

impl Ledger {
    /// Waits for transactions whose outcome is decided but not yet written everywhere.
    fn read(settings: &Settings, client: &BaseConsumer, stage: &str, topic: Topic) -> Result<Self, Error> {
        let (group, topic) = (format!("{}-{stage}", settings.pipeline), settings.kafka.topic(topic));
        let mut asked = TopicPartitionList::new();
        for partition in kafka::partitions(settings, client, &topic)? {
            asked.add_partition(&topic, partition);
        }
        let failed = Error::kafka(format!("reading the offsets of {group}"));
        let committed = kafka::observer(settings, &group)?
            .committed_offsets(asked, kafka::ASK_TIMEOUT)
            .map_err(failed)?;
        let mut ledger = Self { counts: BTreeMap::new(), ends: BTreeMap::new() };
        for element in committed.elements() {
            let Offset::Offset(offset) = element.offset() else { continue };
            let partition = element.partition();
            let entry: Entry = element.metadata().parse().map_err(|error| {
                Error::Failed(format!(
                    "group {group}, {topic} partition {partition}, offset {offset}: {error}"
                ))
            })?;
            ledger.counts.insert(partition, entry.counts);
            ledger.ends.insert(partition, offset);
        }
        Ok(ledger)
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.values().for_each(|counts| total.add(counts));
        total
    }
}

/// Bounds of every partition of a topic.
struct Ends {
    topic: Topic,
    partitions: Vec<kafka::Bounds>,
}

impl Ends {
    fn read(settings: &Settings, client: &BaseConsumer, topic: Topic) -> Result<Self, Error> {
        let name = settings.kafka.topic(topic);
        let partitions = kafka::partitions(settings, client, &name)?;
        Ok(Self { topic, partitions: kafka::bounds(client, &name, &partitions)? })
    }
}

/// The ends of a topic, once every transaction is visible that had written to it when we asked.
fn settled(settings: &Settings, client: &BaseConsumer, topic: Topic) -> Result<Ends, Error> {
    let started = Instant::now();
    let written = Ends::read(settings, &kafka::observer_of_everything(settings)?, topic)?;
    loop {
        let visible = Ends::read(settings, client, topic)?;
        let pairs = visible.partitions.iter().zip(&written.partitions);
        if pairs.into_iter().all(|(visible, written)| visible.high >= written.high) {
            return Ok(visible);
        }
        if started.elapsed() > OPEN_TRANSACTION {
            let name = settings.kafka.topic(topic);
            let seconds = OPEN_TRANSACTION.as_secs();
            return Err(Error::Failed(format!(
                "a transaction in {name} has been open for {seconds} s: is a stage stuck? see `millrace status`"
            )));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Counts the events of each partition from where its reader stands.
fn in_flight(
    settings: &Settings,
    reached: &BTreeMap<i32, i64>,
    before: &Ends,
    after: &Ends,
) -> Result<BTreeMap<i32, InFlight>, Error> {
    let topic = settings.kafka.topic(after.topic);
    let spans: Vec<Span> = after
        .partitions
        .iter()
        .map(|bounds| {
            let start = reached.get(&bounds.partition).copied().unwrap_or(bounds.low).max(bounds.low);
            Span { partition: bounds.partition, start, end: bounds.high.max(start) }
        })
        .collect();
    let mut found: BTreeMap<i32, InFlight> =
        spans.iter().map(|span| (span.partition, InFlight::default())).collect();
    let least_end: BTreeMap<i32, i64> =
        before.partitions.iter().map(|bounds| (bounds.partition, bounds.high)).collect();
    let mut reader = Reader::new(kafka::connect(settings)?, &topic, &spans, false)?;
    loop {
        let message = match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => message,
            Read::Idle => continue,
            Read::End => return Ok(found),
        };
        let (partition, offset) = (message.partition(), message.offset());
        let events = match after.topic {
            Topic::DeadLetters => 1,
            _ => {
                let batch = Batch::decode(message.payload().unwrap_or_default());
                let undecodable =
                    |error| Error::Failed(format!("{topic} partition {partition}, offset {offset}: {error}"));
                batch.map_err(undecodable)?.rows() as u64
            }
        };
        let in_flight = found.entry(partition).or_default();
        in_flight.most += events;
        if least_end.get(&partition).is_some_and(|&end| offset < end) {
            in_flight.least += events;
        }
    }
}

/// A reader of the file never finds half of it.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path)).map_err(failed)
}

impl Report {
    /// In Prometheus's text format.
    fn metrics(&self, pipeline: &str) -> String {
        let numbers: [(&str, &str, u128); 6] = [
            ("consumed", "Events ingest has consumed.", self.consumed.into()),
            ("stored", "Events in ClickHouse that are no duplicates.", self.stored.into()),
            ("duplicates", "Events that were recognised as duplicates.", self.duplicates.into()),
            ("dead_letters", "Events that were refused.", self.dead_letters.into()),
            ("in_flight", "Events between two stages when the books were read.", self.in_flight.most.into()),
            ("difference", "Events lost or counted twice; anything but 0 is an alarm.", self.difference),
        ];
        let lines = numbers.iter().map(|(name, help, value)| {
            let name = format!("millrace_reconcile_{name}_events");
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{pipeline=\"{pipeline}\"}} {value}\n")
        });
        lines.collect()
    }

    fn table(&self) -> Table {
        let mut table =
            Table::new(&["check", "topic", "partition", ">before", ">after", ">in flight", ">difference"]);
        let number = |number: u64| count(i64::try_from(number).unwrap_or(i64::MAX));
        for check in &self.checks {
            let difference = check.difference();
            let shown = if difference == 0 {
                style("0".to_owned()).green()
            } else {
                style(difference.to_string()).red()
            };
            table.row([
                check.what.to_owned(),
                check.topic.clone(),
                check.partition.map_or("all".to_owned(), |partition| partition.to_string()),
                number(check.before),
                number(check.after),
                number(check.in_flight.most),
                shown.to_string(),
            ]);
        }
        table
    }

    fn headline(&self) -> String {
        let number = |number: u64| count(i64::try_from(number).unwrap_or(i64::MAX));
        let result = format!("difference {}", self.difference);
        let result = if self.difference == 0 { style(result).green() } else { style(result).red() };
        format!(
            "consumed {} = stored {} + duplicates {} + dead letters {} + in flight {}: {result}",
            number(self.consumed),
            number(self.stored),
            number(self.duplicates),
            number(self.dead_letters),
            number(self.in_flight.most),
        )
    }
}
