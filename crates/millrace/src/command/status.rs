//! `millrace status`: members and lag of every stage, and the age of the newest data in ClickHouse.
use std::time::Duration;

use clap::Args;
use comfy_table::{Attribute, Cell, Color, Table};
use console::style;
use event::Topic;
use jiff::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::Error,
    output::{
        table::{
            Column::{Number, Text},
            table,
        },
        text::{count, duration},
    },
    topic_reader::{self, OffsetRange, PartitionBounds, Read, TopicReader},
};

/// A lag up to this many offsets is counted by reading the records. The last offsets of a transactional topic can be
/// transaction markers, which consumers neither read nor commit.
const MAX_COUNTED: i64 = 2_000;
/// Timeout of the queries to ClickHouse.
const CLICKHOUSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Data older than this is shown in red.
const OLD_MS: i64 = 30_000;

/// Show members and lag of every stage, the topics, and the age of the newest data in ClickHouse
#[derive(Debug, Args)]
#[command(after_help = "\
Lag is counted in Kafka records: raw records for ingest, batches of events for the other stages.

EXAMPLES
  millrace status
  watch millrace status
  millrace status --json | jq '[.stages[].lag] | add'")]
pub(crate) struct Status {}

/// A consumer group and the topic it reads.
#[derive(Debug, Serialize)]
struct StageStatus {
    stage: &'static str,
    group: String,
    topic: String,
    /// Whether it has committed an offset.
    started: bool,
    /// The state in Kafka: Stable, Empty, PreparingRebalance, …
    state: String,
    members: usize,
    /// Records behind its committed offsets.
    lag: i64,
}

#[derive(Debug, Serialize)]
struct TopicStatus {
    topic: String,
    /// None when the topic does not exist.
    partitions: Option<usize>,
    /// Number of offsets, including transaction markers.
    records: i64,
}

#[derive(Debug, Default, Serialize)]
struct ClickHouseStatus {
    url: String,
    version: Option<String>,
    /// Why the numbers are missing.
    problem: Option<String>,
    /// When the broker received the newest stored event, epoch milliseconds.
    newest_received_at: Option<i64>,
    data_age_ms: Option<i64>,
    /// Stored events by kind.
    stored: Vec<StoredCount>,
}

#[derive(Debug, Serialize, Deserialize, clickhouse::Row)]
struct StoredCount {
    kind: String,
    events: i64,
    newest_received_at: i64,
}

#[derive(Debug, Serialize)]
struct StatusReport {
    pipeline: String,
    stages: Vec<StageStatus>,
    topics: Vec<TopicStatus>,
    clickhouse: ClickHouseStatus,
}

impl Status {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let consumer = topic_reader::connect(settings)?;
        let mut topics = Vec::new();
        let mut bounds = Vec::new();
        for &topic in Topic::ALL {
            let found = bounds_of(settings, &consumer, topic)?;
            topics.push(TopicStatus {
                topic: settings.kafka.topic(topic),
                partitions: found.as_ref().map(Vec::len),
                records: found.iter().flatten().map(|bounds| bounds.high - bounds.low).sum(),
            });
            bounds.push((topic, found.unwrap_or_default()));
        }
        let mut stages = Vec::new();
        for (stage, topic) in [
            ("ingest", Topic::RawEvents),
            ("enrich", Topic::CleanEvents),
            ("aggregate-live", Topic::EnrichedEvents),
            ("aggregate-report", Topic::EnrichedEvents),
            ("aggregate-events", Topic::EnrichedEvents),
            ("aggregate-dead_letters", Topic::DeadLetters),
        ] {
            let lane = stage.strip_prefix("aggregate-");
            if lane.is_some_and(|lane| !settings.aggregate.lanes.iter().any(|known| known.as_str() == lane)) {
                continue;
            }
            let bounds = bounds.iter().find(|(of, _)| *of == topic).map_or(&[][..], |(_, bounds)| bounds);
            stages.push(stage_status(settings, stage, &settings.kafka.topic(topic), bounds)?);
        }
        let clickhouse = tokio.block_on(clickhouse_status(settings, Timestamp::now().as_millisecond()));
        let report = StatusReport { pipeline: settings.pipeline.clone(), stages, topics, clickhouse };
        output.json(&report)?;
        let mut tables = vec![report.stage_table(), report.topic_table()];
        if !report.clickhouse.stored.is_empty() {
            tables.push(report.clickhouse_table());
        }
        for table in &tables {
            output.table(table)?;
            output.line("")?;
        }
        Ok(output.line(report.clickhouse.headline())?)
    }
}

/// None when the topic does not exist.
fn bounds_of(
    settings: &Settings,
    consumer: &BaseConsumer,
    topic: Topic,
) -> Result<Option<Vec<PartitionBounds>>, Error> {
    let name = settings.kafka.topic(topic);
    match topic_reader::partitions(settings, consumer, &name) {
        Ok(partitions) => topic_reader::bounds(consumer, &name, &partitions).map(Some),
        Err(Error::Broker(::kafka::Error::MissingTopic(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn stage_status(
    settings: &Settings,
    stage: &'static str,
    topic: &str,
    bounds: &[PartitionBounds],
) -> Result<StageStatus, Error> {
    let group = format!("{}-{stage}", settings.pipeline);
    let failed = || Error::kafka(format!("reading group {group}"));
    let consumer = topic_reader::group_observer(settings, &group)?;
    let mut requested = TopicPartitionList::new();
    for bounds in bounds {
        requested.add_partition(topic, bounds.partition);
    }
    let committed = match bounds {
        [] => requested,
        _ => consumer.committed_offsets(requested, topic_reader::REQUEST_TIMEOUT).map_err(failed())?,
    };
    let next = |partition| match committed.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let started = bounds.iter().any(|bounds| next(bounds.partition).is_some());
    let unread: Vec<OffsetRange> = bounds
        .iter()
        .map(|&PartitionBounds { partition, low, high }| {
            let start = next(partition).unwrap_or(low).max(low);
            OffsetRange { partition, start, end: high.max(start) }
        })
        .collect();
    let groups = consumer.fetch_group_list(Some(&group), topic_reader::REQUEST_TIMEOUT).map_err(failed())?;
    let found = groups.groups().iter().find(|found| found.name() == group);
    Ok(StageStatus {
        stage,
        lag: lag(settings, topic, &unread)?,
        topic: topic.to_owned(),
        started,
        state: found.map_or("", |found| found.state()).to_owned(),
        members: found.map_or(0, |found| found.members().len()),
        group,
    })
}

fn lag(settings: &Settings, topic: &str, unread: &[OffsetRange]) -> Result<i64, Error> {
    let offsets = unread.iter().map(|range| range.end - range.start).sum();
    if offsets == 0 || offsets > MAX_COUNTED {
        return Ok(offsets);
    }
    let mut reader = TopicReader::new(topic_reader::connect(settings)?, topic, unread, false)?;
    let mut records = 0;
    loop {
        match reader.next(Duration::from_millis(100))? {
            Read::Record(_) => records += 1,
            Read::Idle => (),
            Read::End => return Ok(records),
        }
    }
}

async fn clickhouse_status(settings: &Settings, now_ms: i64) -> ClickHouseStatus {
    let mut found = ClickHouseStatus { url: settings.clickhouse.url.clone(), ..ClickHouseStatus::default() };
    let reply = tokio::time::timeout(CLICKHOUSE_TIMEOUT, async {
        let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
        let version = client.query("SELECT version()").fetch_one::<String>().await?;
        // The smallest pane holds every event once.
        let stored = client
            .query(
                "SELECT toString(kind) AS kind, toInt64(sum(events)) AS events, \
                 toUnixTimestamp64Milli(max(received_max)) AS newest_received_at \
                 FROM quality WHERE pane = '10s' GROUP BY kind ORDER BY kind",
            )
            .fetch_all::<StoredCount>()
            .await;
        Ok::<_, clickhouse::error::Error>((version, stored))
    });
    let problem = |error: &clickhouse::error::Error| {
        Some(aggregate::server::failed(settings, "quality", error).to_string())
    };
    match reply.await {
        Err(_) => found.problem = Some(format!("no reply within {} s", CLICKHOUSE_TIMEOUT.as_secs())),
        Ok(Err(error)) => found.problem = problem(&error),
        Ok(Ok((version, stored))) => {
            found.version = Some(version);
            match stored {
                Err(error) => found.problem = problem(&error),
                Ok(stored) => found.stored = stored,
            }
        }
    }
    found.newest_received_at = found.stored.iter().map(|stored| stored.newest_received_at).max();
    found.data_age_ms = found.newest_received_at.map(|newest| (now_ms - newest).max(0));
    found
}

impl StatusReport {
    fn stage_table(&self) -> Table {
        let mut table =
            table(&[Text("stage"), Text("reads"), Text("state"), Number("members"), Number("lag")]);
        for stage in &self.stages {
            let state = match (stage.started, stage.members) {
                (_, 1..) => Cell::new(stage.state.to_lowercase()).fg(Color::Green),
                (true, 0) => Cell::new("not running").fg(Color::Red),
                (false, 0) => Cell::new("never ran").add_attribute(Attribute::Dim),
            };
            let lag_colour = if stage.lag == 0 { Color::Green } else { Color::Yellow };
            let lag = Cell::new(count(stage.lag)).fg(lag_colour);
            table.add_row([
                stage.stage.into(),
                stage.topic.as_str().into(),
                state,
                stage.members.into(),
                lag,
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

    fn clickhouse_table(&self) -> Table {
        let mut table = table(&[Text("stored as"), Number("events")]);
        for stored in &self.clickhouse.stored {
            table.add_row([stored.kind.clone(), count(stored.events)]);
        }
        table
    }
}

impl ClickHouseStatus {
    fn headline(&self) -> String {
        match (&self.problem, &self.version, self.data_age_ms) {
            (Some(problem), _, _) => format!("clickhouse: {}", style(problem).red()),
            (None, Some(version), Some(age)) => {
                let text = style(duration(age));
                let text = if age > OLD_MS { text.red() } else { text.green() };
                format!("clickhouse {version} at {}, newest data {text} old", self.url)
            }
            (None, version, _) => {
                format!("clickhouse {} at {}, no data yet", version.as_deref().unwrap_or(""), self.url)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::render;

    #[test]
    fn the_tables_show_stopped_stages_and_missing_topics() {
        console::set_colors_enabled(false);
        let stage = |stage, started, members, lag| StageStatus {
            stage,
            group: format!("millrace-{stage}"),
            topic: "raw-events".into(),
            started,
            state: "Stable".into(),
            members,
            lag,
        };
        let report = StatusReport {
            pipeline: "millrace".into(),
            stages: vec![
                stage("ingest", true, 2, 0),
                stage("enrich", true, 0, 12_000),
                stage("x", false, 0, 5),
            ],
            topics: vec![TopicStatus { topic: "activities".into(), partitions: None, records: 0 }],
            clickhouse: ClickHouseStatus {
                url: "http://c".into(),
                version: Some("26.7".into()),
                data_age_ms: Some(700),
                ..ClickHouseStatus::default()
            },
        };
        assert_eq!(
            render(&report.stage_table()),
            "STAGE   READS       STATE        MEMBERS     LAG\n\
             ingest  raw-events  stable             2       0\n\
             enrich  raw-events  not running        0  12 000\n\
             x       raw-events  never ran          0       5\n"
        );
        assert!(render(&report.topic_table()).contains("activities     missing"));
        assert_eq!(report.clickhouse.headline(), "clickhouse 26.7 at http://c, newest data 0.7 s old");
    }
}
