//! One run: clients send, faults are injected as scheduled, then the pipeline drains and is compared with the truth.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use devstack::{Stack, Totals, pipeline::Pipeline};
use simulator::{Config, Simulator};

use super::{
    clients::Clients,
    hostile,
    injector::{Injector, Run, SESSION_TIMEOUT},
    options::{ChaosOptions, Observer},
    reconcile::differences_of_reconcile,
    recovery,
    report::Report,
    schedule::schedule,
    servers::Servers,
};
use crate::{
    Error, compare::differences, hostile::APP, proxy::Proxy, result_source::ResultSource, secure::add_acls,
};

const PARTITIONS: i32 = 4;
/// The user of all processes, on secure servers.
const USER: &str = "millrace";
/// Share of records that clients send twice when no fault makes it larger.
const USUAL_DUPLICATES: f64 = 0.02;

/// Runs on the servers of `stack`, which are killed, until all is compared. `stop` ends the faults early.
///
/// # Errors
/// The run has no result: a server, a process or a file that the run itself needs does not work. Differences are not an
/// error.
pub fn run(
    options: &ChaosOptions,
    stack: &mut Stack,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Report, Error> {
    let (brokers, clickhouse_url) = (stack.brokers().to_owned(), stack.clickhouse_url().to_owned());
    let name = format!("chaos_{}_{}", options.seed, std::process::id());
    let proxy =
        Proxy::start(&clickhouse_url).map_err(|source| Error::System { doing: "start the proxy", source })?;
    let mut pipeline = Pipeline::new(stack, &name, options.profile, &options.logs)?;
    let session_timeout = format!("{}s", SESSION_TIMEOUT.as_secs());
    for (key, value) in [
        ("MILLRACE__KAFKA__PARTITIONS", PARTITIONS.to_string().as_str()),
        ("MILLRACE__KAFKA__SESSION_TIMEOUT", &session_timeout),
        ("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "6s"),
        ("MILLRACE__STARTUP_TIMEOUT", "60s"),
        ("MILLRACE__CLICKHOUSE__URL", &proxy.url()),
    ] {
        pipeline.set(key, value);
    }
    pipeline.set("MILLRACE__MEMORY_LIMIT", &options.memory_limit.as_u64().to_string());
    pipeline.set("MILLRACE__INGEST__APPS", &[simulator::APP_IDS, &[APP]].concat().join(","));
    if let Some(secure) = &options.secure {
        let https =
            secure.https(&proxy.url()).map_err(|source| Error::System { doing: "start TLS", source })?;
        for (key, value) in secure.variables(&stack.secure_brokers("SASL")?, &https, USER) {
            pipeline.set(&key, &value);
        }
        add_acls(stack, &pipeline, |_| USER.to_owned())?;
    }
    pipeline.create()?;
    let config = Config { seed: options.seed, duplicates: USUAL_DUPLICATES, ..Config::default() };
    let mut simulator = crate::simulator(&pipeline, config);
    let clients = &Clients::new(USUAL_DUPLICATES);
    let mut injector = Injector::new(Run {
        pipeline: &pipeline,
        samples: recovery::watch(&pipeline, &brokers, PARTITIONS)?,
        observer,
        clients,
        proxy: &proxy,
        source: ResultSource { brokers: &brokers, clickhouse_url: &clickhouse_url, pipeline: &name },
        options,
    })?;

    let topic = format!("{name}.raw-events");
    let mut drain = Duration::ZERO;
    let mut attacked = hostile::Sent::default();
    let finished = thread::scope(|scope| -> Result<Duration, Error> {
        // The scope ends only when the clients do, also after an error.
        let _end = EndClients(clients);
        let simulator: &mut Simulator = &mut simulator;
        let sender = scope.spawn(|| clients.run(simulator, &brokers, &topic, options.rate));
        let attacks = options
            .hostile
            .then(|| scope.spawn(|| hostile::run(options.seed, &brokers, &name, PARTITIONS, clients)));
        let mut servers = Servers::start(scope, stack, name.clone());
        let faults = schedule(options.seed, options.length, &options.kinds, &options.stages);
        let is_failing = |servers: &Servers<'_>| servers.has_ended() || sender.is_finished();
        injector.inject_all(&faults, &servers, || stop.load(Ordering::Relaxed) || is_failing(&servers))?;
        let length = injector.elapsed().min(options.length);
        let faults_ended = Instant::now();
        injector.end_faults(&mut servers);
        let is_attacking = || attacks.as_ref().is_some_and(|attacks| !attacks.is_finished());
        while !(servers.has_ended() && sender.is_finished()) || is_attacking() {
            injector.tick(&servers)?;
        }
        sender.join().unwrap_or(Err(Error::Panicked("clients")))?;
        if let Some(attacks) = attacks {
            attacked = attacks.join().unwrap_or(Err(Error::Panicked("hostile clients")))?;
        }
        injector.tick(&servers)?;
        servers.finish()?;
        injector.drain(clients.sent() + attacked.truth.counts.sent)?;
        drain = faults_ended.elapsed();
        Ok(length)
    });
    let length = finished?;
    let outcome = injector.stop()?;
    let mut truth = simulator.truth();
    truth.add(attacked.truth);
    let source = ResultSource { brokers: &brokers, clickhouse_url: &clickhouse_url, pipeline: &name };
    let mut all = differences(source, &truth)?;
    all.extend(differences_of_reconcile(&pipeline, &truth)?);
    Ok(Report {
        seed: options.seed,
        length,
        drain,
        injected: outcome.injected,
        missed: outcome.missed,
        processes: outcome.processes,
        attacks: attacked.attacks,
        memory_limit: options.memory_limit,
        sent: truth.counts,
        totals: Totals::read(&clickhouse_url, &name)?,
        differences: all,
        recoveries: outcome.recoveries,
        logs: options.logs.clone(),
    })
}

struct EndClients<'a>(&'a Clients);

impl Drop for EndClients<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
