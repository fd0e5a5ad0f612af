//! The consume-transform-commit worker that ingest and enrich share.
//!
//! Each worker is one OS thread with its own source, producer and stage. It reads a batch, begins a transaction, lets
//! the stage process the records, and commits what the stage sent together with the offsets of the records. The
//! worker knows its client library only through the traits [`Source`], [`Producer`] and [`Transaction`], so it is
//! tested in memory; the crate `kafka` implements them. The stage sees borrowed bytes and an [`Output`].
mod batch;
mod contract;
mod ledger;
mod recorder;
mod source;
mod transaction;
mod worker;

use std::thread;

pub use batch::BatchLimits;
pub use contract::{Message, Output, Record, Stage};
pub use recorder::{Recorder, Sent};
pub use source::{Polled, Source, SourceTopics, StartPosition, Undecodable};
pub use transaction::{Producer, Transaction, TransactionEnd};
pub use worker::WorkerOptions;

use crate::{Error, health::Health, rebuild, shutdown::Shutdown};
use worker::{Surroundings, Worker};

/// Runs a stage until `shutdown`, on `options.workers` threads. `connect` and `make_stage` are called on each thread
/// with the worker's number, and again after a transient error of the worker; `connect` is then given that error.
///
/// # Errors
/// The first error of any worker that is not transient. When one worker ends, all others are stopped before its error is
/// returned.
pub fn run<S, C, P>(
    options: WorkerOptions,
    shutdown: &Shutdown,
    health: &Health,
    make_stage: impl Fn(usize) -> Result<S, Error> + Sync,
    connect: impl Fn(usize, Option<&Error>) -> Result<(C, P), Error> + Sync,
) -> Result<(), Error>
where
    S: Stage,
    C: Source,
    P: Producer<Membership = C::Membership>,
{
    let work = |index: usize, name: &str| {
        rebuild(name, health, shutdown, Error::is_transient, |before| {
            let stage = make_stage(index)?;
            health.set_ready(name, false);
            let (source, producer) = connect(index, before)?;
            Worker::new(Surroundings { name, options, shutdown, health }, stage, &source, producer).run()
        })
    };
    let work = &work;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for index in 0..options.workers {
            let name = format!("{}-{index}", options.stage);
            let thread_name = name.clone();
            let spawned = thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                // When one worker ends, by an error or by a panic, the whole process ends and is restarted.
                let _stop = ShutdownOnDrop(shutdown);
                let ended = work(index, &thread_name);
                if let Err(error) = &ended {
                    tracing::error!(worker = thread_name, %error, "worker failed");
                }
                ended
            });
            workers.push((
                name,
                spawned.map_err(|source| Error::System { action: "starting a thread", source }),
            ));
        }
        let mut first = Ok(());
        for (name, worker) in workers {
            let ended = worker.and_then(|worker| worker.join().unwrap_or(Err(Error::Panicked(name))));
            if first.is_ok() {
                first = ended;
            }
        }
        first
    })
}

struct ShutdownOnDrop<'a>(&'a Shutdown);

impl Drop for ShutdownOnDrop<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}
