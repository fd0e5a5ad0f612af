//! The `aggregate` process: one thread per lane and worker, and Tokio tasks for the requests to ClickHouse.
//!
//! A worker checks the table of its lane, reads and writes. When a server returns an error that may go away, the worker is
//! rebuilt in its thread, as after a restart of the process; the other lanes go on.
use std::sync::Arc;
use std::time::Duration;

use event::{Start, Topic};
use kafka::{
    GroupConsumer, GroupMember, check_clients, for_rebuild, partition_count, wait_until_name_is_free,
};
use runtime::config::{ConfigError, Mistakes, Settings};
use runtime::failpoint::{self, Safeguard};
use runtime::health::{Degraded, Health};
use runtime::rebuild;
use runtime::shutdown::Shutdown;
use tokio::runtime::Handle;

use crate::cube::CubeLane;
use crate::fold::{Accumulator, Buffers, CompiledLane, DeadLetters, Events, LaneFold};
use crate::lane::{self, LaneOptions, Writers};
use crate::protocol::Rules;
use crate::table::{self, LaneTable, TableSpec};
use crate::time::now_ms;
use crate::{BlockWriter, Cubes, Error, cube, metric, server};

/// How long the check of a lane's table may take. A worker sends no heartbeat meanwhile.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The built-in cubes and those of `aggregate.cubes_file`.
///
/// # Errors
/// The file cannot be read or has mistakes.
pub fn cubes(settings: &Settings) -> Result<Cubes, Error> {
    let path = &settings.aggregate.cubes_file;
    if path.is_empty() {
        return Ok(Cubes::parse(cube::BUILT_IN)?);
    }
    let text =
        std::fs::read_to_string(path).map_err(|problem| Error::CubesFile { path: path.clone(), problem })?;
    Ok(Cubes::built_in_with(&text)?)
}

/// Checks the options of the Kafka clients and the file of cubes.
///
/// # Errors
/// [`ConfigError`] has every mistake.
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    let mut mistakes = Mistakes::default();
    mistakes.check(check_clients(settings));
    mistakes.check(cubes(settings).map_err(|error| wrong_cubes(settings, &error)));
    mistakes.into_result()
}

fn wrong_cubes(settings: &Settings, error: &Error) -> ConfigError {
    let expected = format!("a file of valid cubes: {error}");
    ConfigError::value("aggregate.cubes_file", &settings.aggregate.cubes_file, expected)
}

/// Runs every configured lane until a stop is requested or one of them fails. Must be called inside a Tokio context.
///
/// # Errors
/// One line that says what to do.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), runtime::Error> {
    start(&settings, &shutdown, &health).map_err(|error| match error {
        error @ (Error::Cubes(_) | Error::CubesFile { .. }) => wrong_cubes(&settings, &error).into(),
        Error::Runtime(error) => error,
        Error::Kafka(error) => error.into(),
        error => runtime::Error::Stage(error.to_string()),
    })
}

fn start(settings: &Settings, shutdown: &Shutdown, health: &Health) -> Result<(), Error> {
    metric::describe();
    let tokio = Handle::current();
    let cubes = cubes(settings)?;
    let mut lanes = Vec::new();
    for &lane in &settings.aggregate.lanes {
        lanes.push(resolve_lane(lane, settings, &cubes));
    }
    let client = server::client(settings);
    let version = tokio.block_on(server::wait_until_up(&client, settings, || shutdown.requested()))?;
    tracing::info!(version, url = settings.clickhouse.url, "clickhouse is up");
    for lane in &lanes {
        partition_count(settings, &settings.kafka.topic(lane.topic), shutdown)?;
    }
    let surroundings = &Surroundings { settings, client, tokio, shutdown, health };
    let workers = lanes.iter().flat_map(|lane| (0..settings.workers).map(move |worker| (lane, worker)));
    for (lane, worker) in workers.clone() {
        // Before any of them runs: the process is not ready while one is missing.
        health.set_ready(&lane.component(worker), false);
    }
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (lane, worker) in workers {
            let name = lane.component(worker);
            let work = move || {
                let result = lane.run(worker, surroundings);
                // A lane that fails stops the others: they flush and commit.
                if result.is_err() {
                    shutdown.trigger();
                }
                result
            };
            let spawned = std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, work);
            let thread = spawned
                .map_err(|source| runtime::Error::System { action: "cannot start a thread", source })?;
            threads.push((name, thread));
        }
        let mut first_error = Ok(());
        for (name, thread) in threads {
            let result = thread.join().unwrap_or_else(|_| Err(runtime::Error::Panicked(name).into()));
            if let Err(error) = &result {
                tracing::error!(%error, "lane failed");
            }
            first_error = first_error.and(result);
        }
        first_error
    })
}

/// What a worker of a lane may hold before it pauses partitions. Lanes have fixed shares: the rows of a table that cannot
/// be written must not stop another lane.
fn memory_of_worker(settings: &Settings) -> usize {
    let workers = settings.workers * settings.aggregate.lanes.len();
    // Beyond this share, partitions below their fair part of it still read, up to the same amount again.
    let share = settings.memory_limit / 16 * 5 / workers.max(1) as u64;
    usize::try_from(share).unwrap_or(usize::MAX)
}

fn rules(settings: &Settings, engine: &str) -> Rules {
    let Settings { kafka, aggregate, .. } = settings;
    Rules {
        epoch: aggregate.epoch,
        intent_valid_ms: kafka.session_timeout.as_millis() as i64,
        longest_insert_ms: aggregate.longest_insert.as_millis() as i64,
        atomic_tokens: server::is_replicated(engine),
        reads_markers: !failpoint::is_off(Safeguard::Marker),
        commits_intents: !failpoint::is_off(Safeguard::Intent),
    }
}

/// What all workers of the process share.
struct Surroundings<'a> {
    settings: &'a Settings,
    client: server::Client,
    tokio: Handle,
    shutdown: &'a Shutdown,
    health: &'a Health,
}

struct Lane {
    name: &'static str,
    topic: Topic,
    table: TableSpec,
    flush_interval: Duration,
    kind: LaneKind,
}

enum LaneKind {
    Cubes(Arc<CompiledLane>),
    DeadLetters,
    /// How many days rows are kept.
    Events(u16),
}

fn resolve_lane(lane: event::Lane, settings: &Settings, cubes: &Cubes) -> Lane {
    let of_cubes = |lane: CubeLane, flush_interval| {
        let zone = settings.business_timezone.zone().clone();
        let compiled = CompiledLane::new(cubes, lane, days(settings.ingest.max_event_age), zone);
        Lane {
            name: lane.as_str(),
            topic: Topic::EnrichedEvents,
            table: table::lane_table(&LaneTable::new(cubes, lane)),
            flush_interval,
            kind: LaneKind::Cubes(Arc::new(compiled)),
        }
    };
    match lane {
        event::Lane::Live => of_cubes(CubeLane::Live, settings.aggregate.live_flush_interval),
        event::Lane::Report => of_cubes(CubeLane::Report, settings.aggregate.report_flush_interval),
        event::Lane::DeadLetters => Lane {
            name: lane.as_str(),
            topic: Topic::DeadLetters,
            table: table::dead_letters_table(),
            flush_interval: settings.aggregate.dead_letters_flush_interval,
            kind: LaneKind::DeadLetters,
        },
        event::Lane::Events => Lane {
            name: lane.as_str(),
            topic: Topic::EnrichedEvents,
            table: table::events_table(),
            flush_interval: settings.aggregate.events_flush_interval,
            kind: LaneKind::Events(days(
                settings.aggregate.events_retention.max(settings.ingest.max_event_age),
            )),
        },
    }
}

/// In whole days, rounded up.
fn days(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs().div_ceil(DAY.as_secs())).unwrap_or(u16::MAX)
}

impl Lane {
    /// Whether it keeps the messages of its topic that no stage wrote, as rows of the table of dead letters. Every
    /// pipeline has the lane `live`; the other lanes of the topic skip them.
    fn keeps_foreign(&self) -> bool {
        self.name == event::Lane::Live.as_str()
    }

    /// Name of a worker in `/status`.
    fn component(&self, worker: usize) -> String {
        format!("{}-{worker}", self.name)
    }

    /// Runs a worker until a stop is requested; rebuilds it after a transient error.
    fn run(&self, worker: usize, surroundings: &Surroundings<'_>) -> Result<(), Error> {
        let Surroundings { shutdown, health, .. } = surroundings;
        let component = self.component(worker);
        let ended = rebuild(&component, health, shutdown, Error::is_transient, |failed| {
            self.work(worker, &component, surroundings, failed)
        });
        match ended {
            Err(error) if error.is_transient() => {
                tracing::warn!(component, %error, "stopped; what was not written is written at the next start");
                Ok(())
            }
            ended => ended,
        }
    }

    /// `failed` is the error after which the worker is rebuilt.
    fn work(
        &self,
        worker: usize,
        component: &str,
        surroundings: &Surroundings<'_>,
        failed: Option<&Error>,
    ) -> Result<(), Error> {
        let Surroundings { settings, tokio, shutdown, health, .. } = surroundings;
        let Settings { pipeline, instance, aggregate, .. } = settings;
        let group = format!("{pipeline}-aggregate-{}", self.name);
        let member = format!("{group}-{instance}-{worker}");
        if let Some(Error::Kafka(kafka::Error::FencedOff(_))) = failed {
            wait_until_name_is_free(settings, &group, &member, shutdown, || health.heartbeat(component))?;
        }
        let settings = &if failed.is_some() { for_rebuild(settings) } else { (*settings).clone() };
        let checked = tokio.block_on(self.check_tables(component, surroundings));
        let unavailable = checked.as_ref().err().filter(|error| error.is_transient());
        health.set_degraded(component, Degraded::ClickHouseUnreachable, unavailable.map(Error::to_string));
        let (writers, rules) = checked?;
        let member = GroupMember {
            group: &group,
            topic: &settings.kafka.topic(self.topic),
            name: &member,
            start: Start::Earliest,
            start_metadata: |_| String::new(),
        };
        let source = GroupConsumer::new(settings, member, shutdown)?;
        let options = LaneOptions {
            lane: self.name,
            worker,
            flush_interval: self.flush_interval,
            max_inserts_per_second: aggregate.max_inserts_per_second,
            memory: memory_of_worker(settings),
            retry_halted: aggregate.retry_halted,
            rules,
        };
        let fold: Box<dyn LaneFold> = match &self.kind {
            LaneKind::Cubes(compiled) => {
                Box::new(Accumulator::new(Arc::clone(compiled), aggregate.max_groups))
            }
            LaneKind::DeadLetters => Box::new(DeadLetters::new(source.topic())),
            LaneKind::Events(keep_days) => Box::new(Events::new(*keep_days)),
        };
        let foreign = self.keeps_foreign().then(|| DeadLetters::foreign_to(source.topic()));
        let buffers = Buffers::new(self.name, fold, foreign);
        lane::run(options, &source, buffers, writers, tokio.clone(), shutdown, health)
    }

    /// Checks what exactly-once needs of the lane's table.
    async fn check_tables(
        &self,
        component: &str,
        surroundings: &Surroundings<'_>,
    ) -> Result<(Writers, Rules), Error> {
        let Surroundings { settings, client, .. } = surroundings;
        let check = async {
            let found = server::check_table(client, settings, &self.table).await?;
            let own = BlockWriter::new(client, settings, self.name, &self.table).await?;
            let nonce = format!("{}-{}-{component}-{}", settings.pipeline, settings.instance, now_ms());
            own.check_deduplication(&nonce).await?;
            let dead_letters = if self.keeps_foreign() {
                let table = table::dead_letters_table();
                Some(Arc::new(BlockWriter::new(client, settings, self.name, &table).await?))
            } else {
                None
            };
            let writers = Writers { own: Arc::new(own), dead_letters };
            Ok((writers, rules(settings, &found.engine_full)))
        };
        tokio::time::timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| {
            let (url, seconds) = (settings.clickhouse.url.clone(), CHECK_TIMEOUT.as_secs());
            let cause = format!("table {}: no reply within {seconds} s", self.table.name);
            Err(Error::Transient { url, cause })
        })
    }
}
