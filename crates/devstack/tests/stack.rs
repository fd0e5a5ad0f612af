//! The real servers: they keep their data when they are killed and restarted, and end together with their parent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use devstack::{ClickHouseUser, Error, Launch, Process, Stack, StackOptions};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const DEVSTACK: &str = env!("CARGO_BIN_EXE_devstack");
const TIMEOUT: Duration = Duration::from_secs(60);

fn own_servers() -> StackOptions {
    StackOptions { devstack: Some(PathBuf::from(DEVSTACK)), ..StackOptions::own_servers() }
}

fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn records_rows_pages_and_users_survive_a_kill_of_both_servers() {
    let overlay = tempfile::tempdir().unwrap();
    write(
        &overlay.path().join("config.d/pages.xml"),
        "<clickhouse><http_handlers>
            <rule><url>/page</url><handler><type>static</type><response_content>file://page.html</response_content></handler></rule>
            <rule><url>/api/sum</url><handler><type>predefined_query_handler</type><query>SELECT sum(n) FROM t</query></handler></rule>
            <defaults/>
        </http_handlers></clickhouse>",
    );
    write(&overlay.path().join("user_files/page.html"), "<h1>page</h1>");
    let mut stack = Stack::start(StackOptions {
        clickhouse_overlay: Some(overlay.path().to_path_buf()),
        clickhouse_users: vec![ClickHouseUser { name: "writer".to_owned(), password: "secret".to_owned() }],
        ..own_servers()
    })
    .unwrap();

    let brokers = stack.brokers().to_owned();
    let url = stack.clickhouse_url().to_owned();
    create_topic(&brokers, "greetings");
    produce(&brokers, "greetings", "hello");
    assert_eq!(consume(&brokers, "greetings", 1), ["hello"]);
    assert!(query(&url, "SELECT version()").starts_with("26.7."));
    query(&url, "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n");
    query(&url, "INSERT INTO t VALUES (3), (4)");
    assert_eq!(get(&format!("{url}/page")), (200, "<h1>page</h1>".to_owned()));

    let cpu_before = (stack.kafka_cpu_seconds().unwrap(), stack.clickhouse_cpu_seconds().unwrap());
    stack.kill_kafka().unwrap();
    stack.kill_clickhouse().unwrap();
    assert!(ureq::get(&url).call().is_err());
    stack.restart_kafka().unwrap();
    stack.restart_clickhouse().unwrap();
    assert!(stack.kafka_cpu_seconds().unwrap() > cpu_before.0, "the time before the kill is lost");
    assert!(stack.clickhouse_cpu_seconds().unwrap() > cpu_before.1, "the time before the kill is lost");

    produce(&brokers, "greetings", "again");
    assert_eq!(consume(&brokers, "greetings", 2), ["hello", "again"]);
    assert_eq!(get(&format!("{url}/api/sum")), (200, "7\n".to_owned()));
    assert_eq!(get(&format!("{url}/?user=writer&password=secret&query=SELECT+1")), (200, "1\n".to_owned()));
    let (status, text) = get(&format!("{url}/?user=writer&password=wrong&query=SELECT+1"));
    assert!(status == 403 && text.contains("AUTHENTICATION_FAILED"), "{status} {text}");
}

#[test]
fn a_kill_of_devstack_ends_the_servers_and_the_next_start_removes_their_data() {
    let cache = tempfile::tempdir().unwrap();
    // Downloads the servers if necessary. The cache of this test links to them and has its own data directories.
    drop(Stack::start(own_servers()).unwrap());
    let millrace = cache.path().join("millrace");
    fs::create_dir(&millrace).unwrap();
    for entry in fs::read_dir(shared_cache()).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name();
        if entry.path().join("manifest.sha256").is_file() {
            symlink(entry.path(), millrace.join(name)).unwrap();
        }
    }

    let mut parent = up(cache.path());
    let servers = children(parent.id());
    assert_eq!(servers.len(), 2, "{servers:?}");
    let data = run_directories(&millrace);
    assert_eq!(data.len(), 1);
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("both servers have ended", || servers.iter().all(|pid| !is_running(*pid)));

    let mut next = up(cache.path());
    assert!(!data[0].exists(), "the data of the killed run still exists");
    let servers = children(next.id());
    interrupt(&next);
    assert!(next.wait().unwrap().success());
    eventually("both servers have ended", || servers.iter().all(|pid| !is_running(*pid)));
    assert_eq!(run_directories(&millrace), [] as [PathBuf; 0]);
}

#[test]
fn servers_of_the_environment_are_used_and_not_killed() {
    let mut stack = Stack::start(StackOptions {
        kafka: Some("kafka.test:9092".to_owned()),
        clickhouse: Some("http://clickhouse.test:8123".to_owned()),
        ..own_servers()
    })
    .unwrap();
    assert_eq!((stack.brokers(), stack.clickhouse_url()), ("kafka.test:9092", "http://clickhouse.test:8123"));
    assert!(matches!(stack.kill_kafka(), Err(Error::NotOurs { variable: "MILLRACE_TEST_KAFKA", .. })));
    assert!(matches!(stack.clickhouse_cpu_seconds(), Err(Error::NotOurs { server: "clickhouse", .. })));
}

#[test]
fn a_missing_program_is_named_in_one_line() {
    let cache = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let link = |name: &str, target: &str| symlink(target, programs.path().join(name)).unwrap();
    for (installed, expected) in [
        (vec![], "error: java is missing: kafka needs java 17 or newer; install it"),
        (
            vec![("java", "#!/bin/sh\necho 'java version \"1.8.0_402\"' >&2")],
            "is version 1.8.0_402, kafka needs java 17",
        ),
        (
            vec![("java", "#!/bin/sh\necho 'java version \"21\"' >&2")],
            "error: mvn is missing: it downloads kafka",
        ),
    ] {
        for (name, script) in installed {
            write(&programs.path().join(name), script);
            make_executable(&programs.path().join(name));
        }
        if !programs.path().join("sh").exists() {
            link("sh", "/bin/sh");
        }
        let output = Command::new(DEVSTACK)
            .arg("up")
            .env("PATH", programs.path())
            .env("XDG_CACHE_HOME", cache.path())
            .env("MILLRACE_TEST_CLICKHOUSE", "http://clickhouse.test:8123")
            .env_remove("MILLRACE_TEST_KAFKA")
            .env_remove("JAVA_HOME")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_process_is_signalled_measured_and_killed_when_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    symlink(DEVSTACK, directory.path().join("devstack")).unwrap();
    let script = directory.path().join("worker");
    write(
        &script,
        "#!/bin/sh
        trap 'echo stopping; exit 3' TERM
        i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done
        echo \"$GREETING $1\"
        while :; do sleep 0.05; done",
    );
    make_executable(&script);
    let launch = Launch {
        program: script,
        args: vec!["world".into()],
        env: vec![("GREETING".into(), "hello".into())],
        log,
        ..Launch::default()
    };

    let mut process = Process::start(&launch).unwrap();
    eventually("it has written its greeting", || process.log_tail(1) == "hello world");
    assert!(
        process.rss_bytes().unwrap() > 100_000
            && process.peak_rss_bytes().unwrap() >= process.rss_bytes().unwrap()
    );
    assert!(matches!(process.wait(Duration::from_millis(20)), Err(Error::StillRunning { .. })));
    process.pause().unwrap();
    eventually("it is stopped", || state(process.pid()) == Some('T'));
    process.resume().unwrap();
    assert_eq!(process.terminate(TIMEOUT).unwrap().code(), Some(3));
    assert_eq!(process.log_tail(1), "stopping");
    assert!(process.cpu_seconds().unwrap() > 0.0, "the CPU time is known after its end");

    let process = Process::start(&launch).unwrap();
    let pid = process.pid();
    drop(process);
    assert!(!is_running(pid));
}

/// Starts `devstack up` and waits until both servers are ready.
fn up(cache: &Path) -> Child {
    let mut child = Command::new(DEVSTACK)
        .arg("up")
        .env("XDG_CACHE_HOME", cache)
        .env_remove("MILLRACE_TEST_KAFKA")
        .env_remove("MILLRACE_TEST_CLICKHOUSE")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(|line| line.unwrap());
    assert!(lines.by_ref().any(|line| line.contains("running")), "it ended before both servers were ready");
    drop(lines);
    child
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

fn shared_cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("millrace")
}

fn run_directories(millrace: &Path) -> Vec<PathBuf> {
    fs::read_dir(millrace.join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn children(parent: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string())).collect()
}

fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let mut text = String::new();
    fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut text).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn create_topic(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    assert!(results[0].is_ok(), "{results:?}");
}

fn produce(brokers: &str, topic: &str, text: &str) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    producer.send(BaseRecord::<(), str>::to(topic).payload(text)).unwrap();
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn consume(brokers: &str, topic: &str, count: usize) -> Vec<String> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "test").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut texts = Vec::new();
    eventually("all records arrive", || {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            texts.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
        }
        texts.len() >= count
    });
    texts
}

fn query(url: &str, sql: &str) -> String {
    ureq::post(url).send(sql).unwrap().body_mut().read_to_string().unwrap()
}

fn get(url: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(url).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}
