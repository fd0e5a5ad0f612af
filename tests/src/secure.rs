//! Servers as a company has them: Kafka with TLS, SASL and ACLs, ClickHouse behind TLS.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use devstack::{KafkaSecurity, SecureListener, Stack, pipeline::Pipeline};
use tempfile::TempDir;

use crate::{
    Error,
    certificates::{Authority, Files},
    tls_proxy,
};

/// Programs of a pipeline. Each is a user of Kafka.
pub const PROGRAMS: [&str; 4] = ["ingest", "enrich", "aggregate", "millrace"];
/// Password of every user.
const PASSWORD: &str = "pass-word";

/// Certificates and users.
pub struct Secure {
    directory: TempDir,
    /// Signs every certificate that is right.
    pub authority: Authority,
    /// The certificate of servers on 127.0.0.1.
    pub server: Files,
    /// The listeners of Kafka: `SASL`, `CERTIFICATE`, and `EXPIRED` and `ELSEWHERE` with certificates that a client does
    /// not accept.
    pub kafka: KafkaSecurity,
}

impl fmt::Debug for Secure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secure").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Secure {
    /// New certificates.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::new(directory.path(), "ca")?;
        let server = authority.sign("server", &["127.0.0.1", "localhost"])?;
        let expired = authority.sign_until("expired", &["127.0.0.1"], 2021)?;
        let elsewhere = authority.sign("elsewhere", &["kafka.example"])?;
        let listener = |name, has_sasl, files: &Files| SecureListener {
            name,
            has_sasl,
            key_store: files.key_store.clone(),
        };
        let kafka = KafkaSecurity {
            trust_store: directory.path().join("ca.pem"),
            listeners: vec![
                listener("SASL", true, &server),
                listener("CERTIFICATE", false, &server),
                listener("EXPIRED", true, &expired),
                listener("ELSEWHERE", true, &elsewhere),
            ],
            users: PROGRAMS.map(|program| (program.to_owned(), PASSWORD.to_owned())).into(),
        };
        Ok(Self { directory, authority, server, kafka })
    }

    /// A file beside the certificates.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts to end TLS in front of ClickHouse at `url`, and returns the URL of clients.
    ///
    /// # Errors
    /// No port is free.
    pub fn https(&self, url: &str) -> io::Result<String> {
        let target = url.trim_start_matches("http://");
        Ok(format!("https://{}", tls_proxy::start(target, &self.server, None)?))
    }

    /// The configuration of a client that connects to these brokers as `user`, and to ClickHouse at this URL.
    pub fn variables(&self, brokers: &str, url: &str, user: &str) -> Vec<(String, String)> {
        let ca = self.file("ca.pem").display().to_string();
        [
            ("KAFKA__BROKERS", brokers),
            ("KAFKA__SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA__SSL__CA_FILE", &ca),
            ("KAFKA__SASL__USERNAME", user),
            ("KAFKA__SASL__PASSWORD", PASSWORD),
            ("CLICKHOUSE__URL", url),
            ("CLICKHOUSE__CA_FILE", &ca),
        ]
        .map(|(key, value)| (format!("MILLRACE__{key}"), value.to_owned()))
        .into()
    }
}

/// Adds the ACLs that `millrace topics acls` prints for each program of a pipeline, for the user that `user_of` returns.
///
/// # Errors
/// The command failed, or Kafka does not accept what it printed.
pub fn add_acls(stack: &Stack, pipeline: &Pipeline, user_of: impl Fn(&str) -> String) -> Result<(), Error> {
    let mut printed = Vec::new();
    for program in PROGRAMS {
        let principal = format!("User:{}", user_of(program));
        let lines =
            pipeline.millrace(&["topics", "acls", "--process", program, "--principal", &principal])?;
        printed.extend(lines.lines().filter_map(|line| Some(line.split_once(" --add ")?.1.to_owned())));
    }
    // Each is a JVM, which takes a second.
    let left = Mutex::new(printed);
    let add = || -> Result<(), Error> {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(arguments) = next else { return Ok(()) };
            let server = ["--bootstrap-server", stack.brokers(), "--add"];
            let arguments: Vec<&str> = server.into_iter().chain(arguments.split(' ')).collect();
            stack.kafka_acls(&arguments)?;
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (0..2).map(|_| scope.spawn(add)).collect();
        others.into_iter().try_for_each(|other| other.join().unwrap_or(Err(Error::Panicked("kafka-acls"))))
    })
}
