//! Apache Kafka as one process that is broker and controller, sized for a small machine.
//!
//! It is ready when its log says so: the log belongs to this process alone, while another server may listen on its
//! port. That also keeps the Kafka client, which takes long to compile, out of this crate.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, io_error};
use crate::kafka_security::KafkaSecurity;
use crate::ports;
use crate::process::Process;
use crate::server::{Plan, Server};
use crate::spawn::Host;

const PORT_ATTEMPTS: usize = 3;
/// Logged once the broker accepts connections and the controller has unfenced it.
const READY: &str = "Kafka Server started";
const READY_LOGGER: &str = "kafka.server.KafkaRaftServer";

/// The files of one Kafka and its port.
pub(crate) struct KafkaPlan {
    host: Host,
    java: PathBuf,
    jars: PathBuf,
    directory: PathBuf,
    port: u16,
    cluster_id: String,
    security: Option<KafkaSecurity>,
    secure_ports: Vec<u16>,
}

/// Formats the storage in `directory` and starts Kafka on free ports.
pub(crate) fn start(
    host: &Host,
    java: &Path,
    jars: &Path,
    directory: &Path,
    security: Option<&KafkaSecurity>,
) -> Result<Server<KafkaPlan>, Error> {
    let secure_listeners = security.map_or(0, |security| security.listeners.len());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let reserved =
            ports::reserve(2 + secure_listeners).map_err(io_error("reserve ports for", directory))?;
        let (port, controller_port) = (reserved.ports[0], reserved.ports[1]);
        let plan = KafkaPlan {
            host: host.clone(),
            java: java.to_path_buf(),
            jars: jars.to_path_buf(),
            directory: directory.join(attempt.to_string()),
            port,
            cluster_id: random_cluster_id(),
            security: security.cloned(),
            secure_ports: reserved.ports[2..].to_vec(),
        };
        plan.format(controller_port)?;
        let ports = reserved.release();
        match Server::start(plan) {
            // Another process took a port between its release and Kafka's bind.
            Err(Error::ServerStopped { .. }) if attempt < PORT_ATTEMPTS && ports::any_taken(&ports) => {}
            outcome => return outcome,
        }
    }
}

impl KafkaPlan {
    /// What clients connect to.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What clients of a secure listener connect to.
    pub(crate) fn secure_brokers(&self, name: &str) -> Option<String> {
        let listeners = &self.security.as_ref()?.listeners;
        let at = listeners.iter().position(|listener| listener.name == name)?;
        Some(format!("127.0.0.1:{}", self.secure_ports[at]))
    }

    /// Listeners, and their protocols.
    fn listeners(&self) -> (String, String) {
        let mut listeners = vec![format!("PLAINTEXT://127.0.0.1:{}", self.port)];
        let mut protocols = vec!["PLAINTEXT:PLAINTEXT".to_owned()];
        let secure = self.security.iter().flat_map(|security| &security.listeners);
        for (listener, port) in secure.zip(&self.secure_ports) {
            listeners.push(format!("{}://127.0.0.1:{port}", listener.name));
            protocols.push(format!("{}:{}", listener.name, listener.protocol()));
        }
        (listeners.join(","), protocols.join(","))
    }

    /// A command that runs a tool of Kafka.
    pub(crate) fn tool(&self, class: &str) -> Command {
        let mut command = self.java();
        command.arg("-XX:TieredStopAtLevel=1").arg(class);
        command
    }

    /// The directory with a directory of log segments for each partition.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn format(&self, controller_port: u16) -> Result<(), Error> {
        let temporary = self.directory.join("tmp");
        fs::create_dir_all(&temporary).map_err(io_error("create", &temporary))?;
        let properties = self.properties_path();
        let mut text = properties_text(controller_port, &self.data());
        if let Some(security) = &self.security {
            text += &security.properties();
        }
        let (listeners, protocols) = self.listeners();
        text += &format!("listeners=CONTROLLER://127.0.0.1:{controller_port},{listeners}\n");
        text += &format!("advertised.listeners={listeners}\n");
        text += &format!("listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}\n");
        fs::write(&properties, text).map_err(io_error("write", &properties))?;

        let mut command = self.java();
        command.args([
            "-XX:TieredStopAtLevel=1",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            &self.cluster_id,
            "-c",
        ]);
        command.arg(&properties);
        for (name, password) in self.security.iter().flat_map(|security| &security.users) {
            command.arg("--add-scram").arg(format!("SCRAM-SHA-512=[name={name},password={password}]"));
        }
        let mut format = Process::start_bound("kafka format".to_owned(), command, &self.log())?;
        let status = format.wait(Duration::from_secs(60))?;
        if !status.success() {
            let output = format.log_tail(200);
            let detail = Self::error_line(&output).unwrap_or("it wrote nothing").to_owned();
            return Err(Error::ServerStopped { server: "kafka format", status, detail });
        }
        Ok(())
    }

    fn java(&self) -> Command {
        let mut command = self.host.exec(&self.java);
        command.args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:-UsePerfData"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        command.arg(format!("-Dorg.slf4j.simpleLogger.log.{READY_LOGGER}=info"));
        // The compression libraries unpack native code there, and a killed JVM does not remove it.
        command.arg(format!("-Djava.io.tmpdir={}", self.directory.join("tmp").display()));
        command.arg("-cp").arg(self.jars.join("*"));
        command
    }

    fn properties_path(&self) -> PathBuf {
        self.directory.join("server.properties")
    }
}

impl Plan for KafkaPlan {
    const NAME: &'static str = "kafka";

    fn command(&self) -> Command {
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.properties_path());
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("kafka.log")
    }

    fn is_ready(&self, output: &str) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        output.contains(READY) && TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }

    fn error_line(output: &str) -> Option<&str> {
        output
            .lines()
            .find(|line| line.contains("Exception: "))
            .or_else(|| output.lines().find(|line| line.contains("ERROR")))
    }
}

fn properties_text(controller_port: u16, data: &Path) -> String {
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=8

# One broker.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0

# After a kill the controller waits for the session of the dead broker, 9 s by default, before it registers it again.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# A small machine.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=33554432
",
        data = data.display()
    )
}

/// 16 bytes in URL-safe base64, the form that Kafka requires. Letters only: a leading dash would be read as an option.
fn random_cluster_id() -> String {
    let mut id: String = std::iter::repeat_with(fastrand::alphabetic).take(21).collect();
    // The last four bits of the 22nd digit are zero: 16 bytes are 128 bits, 22 digits 132.
    id.push('A');
    id
}
