//! Both servers as one value: started together, dropped together.

use std::path::{Path, PathBuf};
use std::thread;

use crate::binaries::{Profile, build_binaries};
use crate::clickhouse::{self, ClickHousePlan, ClickHouseUser};
use crate::error::{Error, io_error};
use crate::kafka::{self, KafkaPlan};
use crate::kafka_security::KafkaSecurity;
use crate::progress::Progress;
use crate::run_directory::RunDirectory;
use crate::server::Server;
use crate::spawn::{HOST_NAME, Host};
use crate::{cache, fetch};

const KAFKA_VARIABLE: &str = "MILLRACE_TEST_KAFKA";
const CLICKHOUSE_VARIABLE: &str = "MILLRACE_TEST_CLICKHOUSE";

/// How to start the stack. The default uses the servers that the environment names and starts the others silently.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Brokers to use instead of starting Kafka; by default those of `MILLRACE_TEST_KAFKA`.
    pub kafka: Option<String>,
    /// URL to use instead of starting ClickHouse; by default that of `MILLRACE_TEST_CLICKHOUSE`.
    pub clickhouse: Option<String>,
    /// A directory with `config.d/*.xml`, `users.d/*.xml` and `user_files/`, each optional, copied at the start. It
    /// must leave the user `default` usable from 127.0.0.1 without a password.
    pub clickhouse_overlay: Option<PathBuf>,
    /// More listeners of Kafka, with TLS, SASL and ACLs.
    pub kafka_security: Option<KafkaSecurity>,
    /// Users with a password, beside `default` without one.
    pub clickhouse_users: Vec<ClickHouseUser>,
    /// Receives each step of the start.
    pub progress: Progress,
    /// The `devstack` binary; by default this process if it is `devstack`, else the one cargo builds.
    pub devstack: Option<PathBuf>,
}

impl StackOptions {
    /// Starts both servers, whatever the environment names.
    pub fn own_servers() -> Self {
        Self {
            kafka: None,
            clickhouse: None,
            clickhouse_overlay: None,
            clickhouse_users: Vec::new(),
            kafka_security: None,
            progress: Progress::default(),
            devstack: None,
        }
    }
}

impl Default for StackOptions {
    fn default() -> Self {
        let named = |variable| std::env::var(variable).ok().filter(|value: &String| !value.is_empty());
        Self { kafka: named(KAFKA_VARIABLE), clickhouse: named(CLICKHOUSE_VARIABLE), ..Self::own_servers() }
    }
}

/// Kafka and ClickHouse, running. Dropping it ends what it started and removes the data.
pub struct Stack {
    brokers: String,
    clickhouse_url: String,
    // Fields are dropped in this order: servers first, then the directory they write to.
    kafka: Option<Server<KafkaPlan>>,
    clickhouse: Option<Server<ClickHousePlan>>,
    _run: Option<RunDirectory>,
}

impl Stack {
    /// Starts both servers, or uses those the options name, and returns when both are ready. Downloads what is not in
    /// the cache yet.
    pub fn start(options: StackOptions) -> Result<Self, Error> {
        if let (Some(brokers), Some(clickhouse_url)) = (&options.kafka, &options.clickhouse) {
            let (brokers, clickhouse_url) = (brokers.clone(), clickhouse_url.clone());
            return Ok(Self { brokers, clickhouse_url, kafka: None, clickhouse: None, _run: None });
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
            return Err(Error::UnsupportedPlatform);
        }
        let host = match options.devstack.clone() {
            Some(executable) => Host::new(executable),
            None => match Host::this_process() {
                Some(host) => host,
                None => Host::new(build_binaries(Profile::of_this_build())?.join(HOST_NAME)),
            },
        };
        let cache = cache::root()?;
        let run = RunDirectory::create(&cache)?;

        let start_kafka = || -> Result<Option<Server<KafkaPlan>>, Error> {
            if options.kafka.is_some() {
                return Ok(None);
            }
            let java = fetch::java()?;
            let jars = fetch::kafka(&host, &cache, &options.progress)?;
            options.progress.report("kafka", "starting", "");
            let directory = run.subdirectory("kafka")?;
            let server = kafka::start(&host, &java, &jars, &directory, options.kafka_security.as_ref())?;
            options.progress.done("kafka");
            Ok(Some(server))
        };
        let start_clickhouse = || -> Result<Option<Server<ClickHousePlan>>, Error> {
            if options.clickhouse.is_some() {
                return Ok(None);
            }
            let library = fetch::clickhouse(&host, &cache, &options.progress)?;
            options.progress.report("clickhouse", "starting", "");
            let overlay = options.clickhouse_overlay.as_deref();
            let directory = run.subdirectory("clickhouse")?;
            let users = &options.clickhouse_users;
            let server = clickhouse::start(&host, &library, &directory, overlay, users)?;
            options.progress.done("clickhouse");
            Ok(Some(server))
        };
        let (kafka, clickhouse) = thread::scope(|scope| {
            let kafka = scope.spawn(start_kafka);
            let clickhouse = start_clickhouse();
            (kafka.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), clickhouse)
        });
        let (kafka, clickhouse) = (kafka?, clickhouse?);

        let brokers = kafka.as_ref().map(|server| server.plan().brokers()).or(options.kafka);
        let clickhouse_url = clickhouse.as_ref().map(|server| server.plan().url()).or(options.clickhouse);
        Ok(Self {
            brokers: brokers.unwrap_or_default(),
            clickhouse_url: clickhouse_url.unwrap_or_default(),
            kafka,
            clickhouse,
            _run: Some(run),
        })
    }

    /// Kafka's bootstrap servers, `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The bootstrap servers of a secure listener.
    ///
    /// # Errors
    /// Kafka was not started here, or without this listener.
    pub fn secure_brokers(&self, listener: &str) -> Result<String, Error> {
        self.kafka.as_ref().and_then(|kafka| kafka.plan().secure_brokers(listener)).ok_or(KAFKA_NOT_OURS)
    }

    /// Runs `kafka-acls` with these arguments.
    ///
    /// # Errors
    /// [`Error::Command`] with its output when it fails.
    pub fn kafka_acls(&self, args: &[&str]) -> Result<(), Error> {
        let mut command =
            self.kafka.as_ref().ok_or(KAFKA_NOT_OURS)?.plan().tool("org.apache.kafka.tools.AclCommand");
        let output = command.args(args).output().map_err(io_error("run", Path::new("java")))?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).trim().to_owned();
        Err(Error::Command {
            command: format!("kafka-acls {}", args.join(" ")),
            status: output.status,
            errors,
        })
    }

    /// The directory in which Kafka has a directory of log segments for each partition.
    ///
    /// # Errors
    /// Kafka was not started here.
    pub fn kafka_data(&self) -> Result<PathBuf, Error> {
        Ok(self.kafka.as_ref().ok_or(KAFKA_NOT_OURS)?.plan().data())
    }

    /// ClickHouse's HTTP interface, `http://host:port`.
    pub fn clickhouse_url(&self) -> &str {
        &self.clickhouse_url
    }

    /// Checks that the servers started here still run.
    ///
    /// # Errors
    /// [`Error::ServerStopped`] names the one that ended without being killed here, and the error in its log.
    pub fn check_servers(&mut self) -> Result<(), Error> {
        self.kafka.as_mut().map_or(Ok(()), Server::check)?;
        self.clickhouse.as_mut().map_or(Ok(()), Server::check)
    }

    /// Kills Kafka (SIGKILL); its port stays closed until [`Stack::restart_kafka`].
    pub fn kill_kafka(&mut self) -> Result<(), Error> {
        self.own_kafka()?.kill()
    }

    /// Starts Kafka again on the same port and data, killing it first if it runs.
    pub fn restart_kafka(&mut self) -> Result<(), Error> {
        self.own_kafka()?.restart()
    }

    /// Stops Kafka as a frozen machine does (SIGSTOP): its connections stay open, and nothing answers until
    /// [`Stack::resume_kafka`].
    pub fn pause_kafka(&mut self) -> Result<(), Error> {
        self.own_kafka()?.pause()
    }

    /// Continues Kafka (SIGCONT).
    pub fn resume_kafka(&mut self) -> Result<(), Error> {
        self.own_kafka()?.resume()
    }

    /// Kills ClickHouse (SIGKILL); its port stays closed until [`Stack::restart_clickhouse`].
    pub fn kill_clickhouse(&mut self) -> Result<(), Error> {
        self.own_clickhouse()?.kill()
    }

    /// Starts ClickHouse again on the same port and data, killing it first if it runs.
    pub fn restart_clickhouse(&mut self) -> Result<(), Error> {
        self.own_clickhouse()?.restart()
    }

    /// CPU time of Kafka so far, user and system of all threads, in seconds; restarts included.
    pub fn kafka_cpu_seconds(&self) -> Result<f64, Error> {
        self.kafka.as_ref().ok_or(KAFKA_NOT_OURS)?.cpu_seconds()
    }

    /// CPU time of ClickHouse so far, user and system of all threads, in seconds; restarts included.
    pub fn clickhouse_cpu_seconds(&self) -> Result<f64, Error> {
        self.clickhouse.as_ref().ok_or(CLICKHOUSE_NOT_OURS)?.cpu_seconds()
    }

    fn own_kafka(&mut self) -> Result<&mut Server<KafkaPlan>, Error> {
        self.kafka.as_mut().ok_or(KAFKA_NOT_OURS)
    }

    fn own_clickhouse(&mut self) -> Result<&mut Server<ClickHousePlan>, Error> {
        self.clickhouse.as_mut().ok_or(CLICKHOUSE_NOT_OURS)
    }
}

const KAFKA_NOT_OURS: Error = Error::NotOurs { server: "kafka", variable: KAFKA_VARIABLE };
const CLICKHOUSE_NOT_OURS: Error = Error::NotOurs { server: "clickhouse", variable: CLICKHOUSE_VARIABLE };
