//! `bench hostile` (`cargo bench-hostile`): what the most expensive records cost each stage, on the real stack.

mod shapes;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use devstack::pipeline::{Pipeline, stop};
use devstack::{Process, Profile, ProgressLine, Stack, StackOptions, wait_for_events};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use self::shapes::{BYTES, Shape, shapes};
use crate::Failure;

/// CPU time that 256 KiB may cost a stage, in milliseconds.
const MOST_MS: f64 = 20.0;
/// How long the deliveries of one shape may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Send records of the most expensive shapes, and print the CPU time that 256 KiB of each cost a stage
///
/// CPU time is user and system time of the process; a record that is larger than 256 KiB counts as several, a smaller one as
/// one. The last column shows how many of the events were accepted: the others cost the later stages a dead letter. Exits 1 when any shape costs a stage more than 20 ms, or when an event has no outcome.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo bench-hostile\n  cargo bench-hostile --megabytes 16")]
pub(crate) struct Hostile {
    /// Megabytes to send of each shape
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(4..=1024))]
    megabytes: u32,
}

impl Hostile {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let line = ProgressLine::start();
        let stack = Stack::start(StackOptions { progress: line.progress(), ..StackOptions::own_servers() })?;
        line.show("compiling the stages");
        let logs = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        let pipeline = Pipeline::new(&stack, "bench", Profile::Release, &logs)?;
        pipeline.create()?;
        let mut stages = pipeline.start_stages()?;
        line.finish();

        let mut out = std::io::stdout().lock();
        write!(out, "{:<60}", "CPU ms for each 256 KiB")?;
        for stage in &stages {
            write!(out, "{:>13}", stage.name())?;
        }
        writeln!(out, "{:>10}", "accepted")?;
        let (mut sent, mut rejected, mut last_unique, mut most) = (0, 0, 0, 0.0_f64);
        for shape in shapes() {
            let before = cpu_seconds(&stages)?;
            let already_sent = sent;
            let units = self.send(&stack, pipeline.name(), &shape, &mut last_unique, &mut sent)?;
            let totals = wait_for_events(stack.clickhouse_url(), pipeline.name(), sent, |_| ())?;
            write!(out, "{:<60}", shape.name)?;
            for (before, after) in before.iter().zip(cpu_seconds(&stages)?) {
                let milliseconds = (after - before) * 1e3 / units as f64;
                most = most.max(milliseconds);
                write!(out, "{milliseconds:>13.2}")?;
            }
            let newly_rejected = totals.dead_letters - rejected;
            rejected = totals.dead_letters;
            let accepted = 100 * (sent - already_sent - newly_rejected) / (sent - already_sent);
            writeln!(out, "{accepted:>8} %")?;
            out.flush()?;
        }
        stop(&mut stages)?;
        let _ = std::fs::remove_dir_all(&logs);
        if most > MOST_MS {
            return Err(
                format!("a shape costs {most:.1} ms of CPU for each 256 KiB, more than {MOST_MS}").into()
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Sends records of one shape; returns how many times 256 KiB they are.
    fn send(
        &self,
        stack: &Stack,
        pipeline: &str,
        shape: &Shape,
        last_unique: &mut u64,
        sent: &mut u64,
    ) -> Result<u64, Failure> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", stack.brokers())
            .set("compression.type", "zstd")
            .set("message.max.bytes", "8000000")
            .create()?;
        let topic = format!("{pipeline}.raw-events");
        let (mut bytes, mut units) = (0, 0);
        while bytes < u64::from(self.megabytes) * 1024 * 1024 {
            let record = shape.record(Timestamp::now().as_millisecond(), last_unique);
            bytes += record.len() as u64;
            units += record.len().div_ceil(BYTES) as u64;
            *sent += shape.events;
            let mut message = BaseRecord::<(), str>::to(&topic).payload(&record);
            while let Err((error, back)) = producer.send(message) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                message = back;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        producer.flush(DELIVERY_TIMEOUT)?;
        Ok(units)
    }
}

/// Of each stage so far.
fn cpu_seconds(stages: &[Process]) -> Result<Vec<f64>, Failure> {
    Ok(stages.iter().map(Process::cpu_seconds).collect::<Result<_, _>>()?)
}
