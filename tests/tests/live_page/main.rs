//! The live page on a real ClickHouse and in a real browser: its text in every state, its numbers as events arrive, and
//! the queries that its URLs allow.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod browser;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use aggregate::Cubes;
use browser::Browser;
use devstack::{Stack, StackOptions};
use serde_json::Value;
use system_tests::{WAIT, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A ClickHouse of its own with the configuration of production, and the name of a database.
struct Server {
    stack: Stack,
    database: String,
}

impl Server {
    fn start() -> Self {
        let options = StackOptions {
            // These tests need no Kafka: any name keeps devstack from starting one.
            kafka: Some("none:1".into()),
            clickhouse_overlay: Some(deploy().join("clickhouse")),
            ..StackOptions::own_servers()
        };
        Self { stack: Stack::start(options).unwrap(), database: "millrace".to_owned() }
    }

    fn migrate(&self) {
        let mut settings = runtime::config::load(None).unwrap();
        settings.clickhouse.url = self.stack.clickhouse_url().to_owned();
        settings.clickhouse.database.clone_from(&self.database);
        let client = aggregate::server::client(&settings);
        let cubes = Cubes::parse(aggregate::cube::BUILT_IN).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(aggregate::migrate(&client, &settings, &cubes)).unwrap();
    }

    /// Runs a statement as the default user; the result or the error, as text.
    fn execute(&self, sql: &str) -> Result<String, String> {
        post(&format!("{}/?async_insert=0&database={}", self.stack.clickhouse_url(), self.database), sql)
    }

    /// Inserts what aggregate would write for `count` events of `devices` devices of one activity, received now.
    fn insert_events(&self, count: u32, devices: u32, platform: &str, channel: &str) {
        for pane in ["10s", "60s"] {
            let seconds = pane.trim_end_matches('s');
            let insert = |cube: &str, columns: &str, values: &str| {
                self.execute(&format!(
                    "INSERT INTO live_local (cube, pane, bucket, keep_days, received_max, platform, events, {columns}) \
                     SELECT '{cube}', '{pane}', toStartOfInterval(now('UTC'), toIntervalSecond({seconds})), 7, \
                     now64(3, 'UTC'), '{platform}', {count}, {values}"
                ))
                .unwrap();
            };
            let ids = format!("arrayMap(id -> cityHash64(id), range({devices}))");
            insert("traffic", "channel_group, devices_ids", &format!("'{channel}', {ids}"));
            insert(
                "activity",
                "channel_group, activity_id, activity_status, devices_ids",
                &format!("'{channel}', 'spring', 'ok', {ids}"),
            );
            insert("quality", "kind", "'event'");
        }
    }

    fn insert_duplicates(&self, count: u32) {
        for pane in ["10s", "60s"] {
            let seconds = pane.trim_end_matches('s');
            self.execute(&format!(
                "INSERT INTO live_local (cube, pane, bucket, keep_days, received_max, kind, events) SELECT 'quality', \
                 '{pane}', toStartOfInterval(now('UTC'), toIntervalSecond({seconds})), 7, now64(3, 'UTC'), \
                 'duplicate', {count}"
            ))
            .unwrap();
        }
    }

    fn insert_dead_letter(&self, code: &str, message: &str, pointer: &str) {
        self.execute(&format!(
            "INSERT INTO dead_letters_local (received_at, keep_days, code, message, pointer, payload) \
             SELECT now64(3, 'UTC'), 30, '{code}', '{message}', '{pointer}', 'secret bytes'"
        ))
        .unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.clickhouse_url())
    }
}

fn post(url: &str, body: &str) -> Result<String, String> {
    send("POST", url, &[], body)
}

fn get(url: &str) -> Result<String, String> {
    send("GET", url, &[], "")
}

/// The text of the response: an error unless its status is 2xx.
fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = if body.is_empty() {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body.to_owned()).unwrap())
    }
    .map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().unwrap();
    if response.status().is_success() { Ok(text) } else { Err(text) }
}

/// Waits until the page shows `expected` for a JavaScript expression.
fn shows(browser: &mut Browser, expression: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    let deadline = Instant::now() + WAIT;
    loop {
        let found = browser.evaluate(expression);
        if found.as_ref() == Ok(&expected) {
            return;
        }
        if Instant::now() >= deadline {
            let page = browser.evaluate("document.body.innerText");
            panic!("{expression} is {found:?}, expected {expected}; the page shows:\n{page:?}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// JavaScript that reads a row of one of the page's tables: name, count and the last column.
fn row(table: &str, place: usize) -> String {
    format!(
        "[...document.querySelectorAll('#{table} tbody tr:nth-child({place}) td')].map((cell, index) => index === 0 ? \
         cell.querySelector('.label').textContent : cell.textContent)"
    )
}

const STATE: &str = "document.body.dataset.state";
const NOTICE: &str = "document.getElementById('notice').textContent";

#[test]
fn the_page_shows_its_state_and_numbers_change_as_events_arrive() {
    let Some(program) = browser::find() else {
        assert!(std::env::var_os("CI").is_none(), "no browser in PATH: install chromium");
        eprintln!("skipped: no chromium or google-chrome in PATH");
        return;
    };
    let mut server = Server::start();
    let page = &mut Browser::open(&program, &server.url("/live"));

    shows(page, STATE, "missing");
    shows(page, &format!("{NOTICE}.includes('millrace migrate')"), true);

    server.migrate();
    shows(page, STATE, "empty");
    shows(page, &format!("{NOTICE}.includes('No events yet')"), true);

    server.insert_events(1200, 7, "ios", "organic_search");
    server.insert_duplicates(300);
    server.insert_dead_letter("missing_field", "what a client sent", "/<b>library</b>");
    shows(page, &row("platforms", 1), vec!["iOS", "1,200", "7"]);
    shows(page, &row("channels", 1), vec!["Organic search", "1,200", "7"]);
    shows(page, &row("activities", 1), vec!["spring", "1,200", "7"]);
    shows(page, &row("codes", 1), vec!["missing_field", "1", "100.0 %"]);
    // The place of the mistake is shown as text, whatever a client wrote into it.
    shows(page, "document.querySelector('#codes .reason').textContent", "/<b>library</b>");
    shows(page, "document.getElementById('devices').textContent", "7");
    shows(page, "document.getElementById('duplicates').textContent", "20.0%");
    shows(page, "document.getElementById('rate').dataset.accepted", "1200");
    shows(page, "document.querySelectorAll('#chart .column').length", 90);
    shows(page, "/^\\d+(\\.\\d)?s$/.test(document.getElementById('age').textContent)", true);

    // The same page, without a reload.
    server.insert_events(4800, 11, "android", "direct");
    shows(page, &row("platforms", 1), vec!["Android", "4,800", "11"]);
    shows(page, &row("platforms", 2), vec!["iOS", "1,200", "7"]);
    shows(page, "document.getElementById('devices').textContent", "11");
    shows(page, "document.getElementById('rate').dataset.accepted", "6000");
    shows(page, "document.documentElement.scrollWidth <= window.innerWidth", true);

    // The state is live only for some seconds after an event: events arrive until the page shows it.
    let is_live = format!(
        "{STATE} === 'live' && document.getElementById('notice').hidden && \
         Number(document.getElementById('rate').dataset.value) > 0"
    );
    eventually("live", WAIT, || {
        server.insert_events(1, 1, "web", "direct");
        (page.evaluate(&is_live) == Ok(true.into())).then_some(())
    });
    shows(page, STATE, "stale");
    server.stack.kill_clickhouse().unwrap();
    shows(page, STATE, "unreachable");
    shows(page, &format!("{NOTICE}.includes('Cannot reach ClickHouse')"), true);
    shows(page, &row("platforms", 1), vec!["Android", "4,800", "11"]);
    server.stack.restart_clickhouse().unwrap();
    shows(page, STATE, "stale");
    eventually("live again", WAIT, || {
        server.insert_events(1, 1, "web", "direct");
        (page.evaluate(&is_live) == Ok(true.into())).then_some(())
    });
}

#[test]
fn the_urls_of_the_page_run_their_one_query_and_nothing_else() {
    let server = Server::start();
    server.migrate();
    server.insert_dead_letter("missing_field", "what a client sent", "/library");
    let api = |query: &str| get(&server.url(&format!("/live/api/{query}")));

    for query in ["arrivals", "traffic", "activities", "rejections"] {
        for window in [5, 15, 60] {
            api(&format!("{query}/{window}")).unwrap();
        }
        for rejected in [
            "",
            "/",
            "/7",
            "/60000",
            "/15/",
            "/15%27",
            "/15;DROP",
            "/15?window=60",
            "/15?query=SELECT+1",
            "/15?max_threads=64",
            "/15?session_id=mine",
            "/15?database=private",
        ] {
            let answer = api(&format!("{query}{rejected}"));
            assert!(answer.is_err(), "{query} accepts {rejected:?}: {answer:?}");
        }
    }
    let rejections = api("rejections/15").unwrap();
    assert!(rejections.contains("missing_field") && rejections.contains("/library"), "{rejections}");
    assert!(!rejections.contains("secret bytes") && !rejections.contains("a client sent"), "{rejections}");

    // The user of the page reads nothing else, and no password logs in as that user.
    for database in ["private", "millrace_eu"] {
        server.execute(&format!("CREATE DATABASE {database}")).unwrap();
        let table = "(pane String, bucket DateTime, events Int64) ENGINE = Memory";
        server.execute(&format!("CREATE TABLE {database}.quality {table}")).unwrap();
        let answer = send("GET", &server.url("/live/api/last"), &[("X-ClickHouse-Database", database)], "");
        let error = answer.unwrap_err();
        assert!(error.contains("ACCESS_DENIED") || error.contains("UNKNOWN"), "{error}");
    }
    for password in ["", "0000000000000000000000000000000000000000000000000000000000000000", "default"] {
        let error =
            post(&server.url(&format!("/?user=millrace_live&password={password}")), "SELECT 1").unwrap_err();
        assert!(error.contains("AUTHENTICATION_FAILED"), "{error}");
    }
}

#[test]
fn a_visitor_who_asks_too_much_does_not_take_the_page_from_others() {
    let server = Server::start();
    server.migrate();
    let address: SocketAddr = server.url("").trim_start_matches("http://").parse().unwrap();
    // Every address of 127.0.0.0/8 is this machine: two visitors.
    let visits = |from: &str, count: usize| visits(from.parse().unwrap(), address, "/live/api/last", count);
    let noisy = || visits("127.0.0.2", 1000);
    std::thread::scope(|scope| {
        let noisy = scope.spawn(noisy);
        let mut seen = 0;
        while seen < 5 || !noisy.is_finished() {
            let other = visits("127.0.0.3", 1);
            assert!(other.contains("HTTP/1.1 200"), "{other}");
            seen += 1;
        }
        noisy.join().unwrap();
    });
}

/// The responses to GET requests over one connection from another address of this machine.
fn visits(from: Ipv4Addr, server: SocketAddr, path: &str, count: usize) -> String {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let (mut responses, mut requests) = socket.connect(server).await.unwrap().into_split();
        let ask = async {
            for left in (0..count).rev() {
                let connection = if left == 0 { "close" } else { "keep-alive" };
                let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
                // The server closes the connection after an error.
                if requests.write_all(request.as_bytes()).await.is_err() {
                    break;
                }
            }
        };
        let mut text = Vec::new();
        let (_, _) = tokio::join!(ask, responses.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[test]
fn every_query_of_the_dashboards_runs_on_migrated_tables() {
    let server = Server::start();
    server.migrate();
    server.insert_events(60, 5, "web", "direct");
    server.insert_dead_letter("too_old", "9 days old", "/occurred_at");
    let mut seen = 0;
    for entry in fs::read_dir(deploy().join("grafana/dashboards")).unwrap() {
        let dashboard: Value =
            serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let Some(sql) = target["rawSql"].as_str() else { continue };
                let sql = without_macros(sql);
                let answer =
                    server.execute(&sql).unwrap_or_else(|error| panic!("{}: {error}\n{sql}", panel["title"]));
                assert!(!answer.trim().is_empty(), "{} shows nothing\n{sql}", panel["title"]);
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} queries were run");
}

/// Replaces the macros of Grafana's plugin: the last hour in steps of ten seconds.
fn without_macros(sql: &str) -> String {
    let mut rest = sql.replace("$__interval_s", "10");
    let macros = [
        ("$__timeFilter(", "(", " >= now() - 3600)"),
        ("$__timeInterval(", "toStartOfInterval(", ", toIntervalSecond(10))"),
    ];
    for (name, before, after) in macros {
        while let Some(start) = rest.find(name) {
            let column_start = start + name.len();
            let end = column_start + rest[column_start..].find(')').unwrap();
            let column = rest[column_start..end].to_owned();
            rest.replace_range(start..=end, &format!("{before}{column}{after}"));
        }
    }
    assert!(!rest.contains("$__"), "an unknown macro in {rest}");
    rest
}
