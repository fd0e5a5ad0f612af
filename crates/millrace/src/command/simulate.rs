//! `millrace simulate`: sends events of simulated clients, and prints the expected results. Compare them with the
//! output of the pipeline.
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use event::{ActivityEvent, ActivityKind, Topic};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use runtime::config::{Settings, UnknownEvents};
use serde_json::json;
use simulator::{
    ActivityPlan, Config, Detail, Simulator, Truth,
    produce::{self, Pace, Target},
};

use crate::{
    context::Context,
    error::Error,
    output::{
        self,
        table::{
            Column::{Number, Text},
            table,
        },
        text::count,
    },
    registry, topic_reader,
};

/// Pause between the registration of activities and the first event. Enrich reads the registry a moment after the
/// write, and stamps events before that as unregistered, which differs from the expected results.
const REGISTRY_PAUSE: Duration = Duration::from_secs(2);

/// Send events of simulated clients to raw-events, and print the expected results
///
/// Runs until --total events are sent, or until Ctrl-C. Shares are numbers from 0 to 1.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace simulate
  millrace simulate --rate max --total 200000 --duplicates 0.02 --bad 0.01 --truth truth.json
  millrace simulate --rate 2000 --day-curve --seed 7 --json")]
pub(crate) struct Simulate {
    /// Events per second, or `max` for no limit
    #[arg(long, default_value = "1000")]
    rate: Rate,
    /// Vary the rate over the day in Asia/Shanghai; --rate is the mean
    #[arg(long)]
    day_curve: bool,
    /// Stop after N events
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    /// Seed; the same seed gives the same clients; the default is taken from the clock
    #[arg(long)]
    seed: Option<u64>,
    /// Number of devices
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Share of records that are sent twice
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    duplicates: f64,
    /// Share of events that ingest must reject
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    bad: f64,
    /// Share of events that are sent minutes to hours after they happened
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    late: f64,
    /// Share of events marked as tests
    #[arg(long, value_name = "SHARE", default_value_t = 0.003, value_parser = share)]
    tests: f64,
    /// Write the expected results to FILE as JSON, cell by cell
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Do not register the simulated activities; clients then send unregistered IDs
    #[arg(long)]
    no_activities: bool,
}

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    Max,
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(Self::PerSecond(rate)),
                _ => Err("expected a number above 0, or `max`".into()),
            },
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

impl Simulate {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Error> {
        let pace = match (self.rate, self.day_curve) {
            (Rate::Max, false) => Pace::Full,
            (Rate::Max, true) => return Err(Error::Usage("--day-curve needs a number for --rate".into())),
            (Rate::PerSecond(rate), false) => Pace::Steady(rate),
            (Rate::PerSecond(rate), true) => Pace::DayCurve(rate),
        };
        let settings = &context.settings;
        let topic = settings.kafka.topic(Topic::RawEvents);
        topic_reader::partitions(settings, &topic_reader::connect(settings)?, &topic)?;
        // Opened before the run, so that an unwritable file is an error at the start.
        let truth_file = self.truth.as_deref().map(create).transpose()?;
        warn_about_apps(settings, self.bad);

        let now = Timestamp::now();
        let plans = match self.no_activities {
            true => Vec::new(),
            false => simulator::default_activities(now.as_millisecond()),
        };
        if !plans.is_empty() {
            let activities: Vec<event::Activity> = plans.iter().map(activity).collect();
            registry::write(context, &activities)?;
            std::thread::sleep(REGISTRY_PAUSE);
        }
        let seed = self.seed.unwrap_or(now.as_microsecond() as u64);
        let target = Target {
            events: self.total,
            pace,
            kafka: ::kafka::security(&context.settings),
            ..Target::new(&context.settings.kafka.brokers, topic)
        };
        let mut simulator = Simulator::new(self.config(seed, plans, &context.settings));
        let stop = stop_on_signal(context)?;
        let bar = progress_bar(self.total);
        let started = Instant::now();
        let sent = produce::run(&mut simulator, &target, &stop, |counts| {
            bar.set_position(counts.sent);
            bar.set_message(format!("{} events/s", rate(counts.sent, started)));
        });
        bar.finish_and_clear();
        let (seconds, truth) = (started.elapsed().as_secs_f64(), simulator.truth());
        if let (Some(mut file), Some(path)) = (truth_file, &self.truth) {
            let failed = |source| Error::File { path: path.clone(), source };
            serde_json::to_writer(&mut file, &truth).map_err(|error| failed(error.into()))?;
            file.flush().map_err(failed)?;
        }
        report(context, seed, seconds, &truth)?;
        Ok(sent?)
    }

    fn config(&self, seed: u64, activities: Vec<ActivityPlan>, settings: &Settings) -> Config {
        let with_details = self.truth.is_some();
        Config {
            seed,
            devices: self.devices,
            duplicates: self.duplicates,
            bad: self.bad,
            late: self.late,
            tests: self.tests,
            reject_unknown_events: settings.ingest.unknown_events == UnknownEvents::Reject,
            max_event_age_ms: settings.ingest.max_event_age.as_millis() as i64,
            activities,
            // Details use memory, so only a run with --truth keeps them.
            detail: Detail { devices: with_details, minutes: with_details, dead_letters: with_details },
            ..Config::default()
        }
    }
}

/// Prints a note when ingest.apps differs from the apps of the simulator: the expected results are wrong then.
fn warn_about_apps(settings: &Settings, bad: f64) {
    let (configured, ours) = (&settings.ingest.apps, simulator::APP_IDS);
    let unknown: Vec<_> = ours.iter().filter(|id| !configured.iter().any(|app| app == *id)).collect();
    if configured.is_empty() && bad > 0.0 {
        output::note(format!(
            "note: ingest.apps is empty, so ingest accepts events that are expected as unknown_app; set it to {}",
            ours.join(",")
        ));
    } else if !configured.is_empty() && !unknown.is_empty() {
        output::note(format!("note: ingest.apps lacks {unknown:?}, so ingest rejects events of these apps"));
    }
}

fn activity(plan: &ActivityPlan) -> event::Activity {
    let event = |key: &String| ActivityEvent { key: key.clone(), name: key.clone() };
    event::Activity {
        activity_id: plan.activity_id.clone(),
        name: plan.name.clone(),
        kind: match plan.kind {
            simulator::PlannedActivityKind::Template => ActivityKind::Template,
            simulator::PlannedActivityKind::Custom => ActivityKind::Custom,
        },
        app_ids: plan.app_ids.clone(),
        starts_at_ms: Some(plan.starts_at),
        ends_at_ms: Some(plan.ends_at),
        owner: "simulator".into(),
        events: plan.events.iter().map(event).collect(),
        rules: Vec::new(),
        attribution_window: None,
    }
}

fn create(path: &Path) -> Result<BufWriter<File>, Error> {
    let file = File::create(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    Ok(BufWriter::new(file))
}

/// A flag that Ctrl-C and SIGTERM set. A second signal ends the process immediately.
fn stop_on_signal(context: &Context) -> Result<Arc<AtomicBool>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let _context = context.tokio.enter();
    let failed = |source| Error::System { action: "listening for signals", source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    context.tokio.spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
            if raised.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}

/// Visible on a terminal only.
fn progress_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{wide_bar} {human_pos}/{human_len} events  {msg}  {eta} left")
        }
        None => {
            (ProgressBar::new_spinner(), "{spinner} {human_pos} events  {msg}  {elapsed}, Ctrl-C to stop")
        }
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn rate(events: u64, started: Instant) -> String {
    count((events as f64 / started.elapsed().as_secs_f64().max(0.001)) as i64)
}

fn report(context: &mut Context, seed: u64, seconds: f64, truth: &Truth) -> Result<(), Error> {
    let counts = &truth.counts;
    let output = &mut context.output;
    let mut table = table(&[Text("sent as"), Number("events"), Text("expected result")]);
    let mut row = |what: &str, events: u64, becomes: &str| {
        table.add_row([what.to_owned(), count(events), becomes.to_owned()]);
    };
    row("sent", counts.sent, "");
    row("accepted", counts.accepted, "counted in every cube");
    row("tests", counts.tests, "counted in quality only");
    row("bots", counts.bots, "counted in quality only");
    row("duplicates", counts.duplicates, "counted in quality only");
    row("rejected", counts.rejected, "dead letters");
    for (code, &events) in &truth.rejected_by_code {
        row(&format!("  {}", code.as_str()), events, "");
    }
    row("lost", counts.lost, "not sent: gaps in event_index");
    output.table(&table)?;
    let megabytes = counts.bytes as f64 / 1e6;
    output.line(format!(
        "{} records, {megabytes:.1} MB in {seconds:.1} s, {} events/s, seed {seed}",
        count(counts.records),
        count((counts.sent as f64 / seconds.max(0.001)) as i64),
    ))?;
    Ok(output.json(&json!({
        "seed": seed, "seconds": seconds, "records": counts.records, "sent": counts.sent,
        "accepted": counts.accepted, "tests": counts.tests, "bots": counts.bots, "duplicates": counts.duplicates,
        "rejected": counts.rejected, "rejected_by_code": truth.rejected_by_code, "lost": counts.lost,
        "bytes": counts.bytes,
    }))?)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn the_simulators_activities_are_valid_entries_of_the_registry() {
        let plans = simulator::default_activities(1_772_366_400_000);
        assert!(!plans.is_empty());
        for plan in &plans {
            let entry = activity(plan);
            assert_eq!(entry.check(), Ok(()));
            assert_eq!((entry.starts_at_ms, entry.events.len()), (Some(plan.starts_at), plan.events.len()));
        }
    }

    #[test]
    fn the_simulator_uses_the_configured_limits_of_ingest() {
        let variables = [("UNKNOWN_EVENTS", "reject"), ("MAX_EVENT_AGE", "3d")]
            .map(|(key, value)| (format!("MILLRACE__INGEST__{key}"), value.to_owned()));
        let settings = runtime::config::load_from(None, variables).unwrap();
        let arguments = ["simulate", "--bad", "0.5", "--devices", "9"];
        let matches = Simulate::augment_args(clap::Command::new("simulate")).get_matches_from(arguments);
        let simulate = Simulate::from_arg_matches(&matches).unwrap();
        let config = simulate.config(3, Vec::new(), &settings);
        assert_eq!((config.seed, config.devices, config.bad), (3, 9, 0.5));
        assert!(config.reject_unknown_events && !config.detail.devices);
        assert_eq!(config.max_event_age_ms, 3 * 86_400_000);
    }
}
