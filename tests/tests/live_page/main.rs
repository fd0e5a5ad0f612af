//! The live page on a real ClickHouse and in a real browser: its text in every state, its numbers as events arrive, and
//! the queries that its URLs allow.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod browser;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use aggregate::Cubes;
use browser::Browser;
use devstack::{Stack, StackOptions};
use serde_json::Value;
use system_tests::{WAIT, eventually};

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
        Self { stack: Stack::start(options).unwrap(), database: "millrace_live_page".to_owned() }
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

    fn insert_dead_letter(&self, code: &str, message: &str) {
        self.execute(&format!(
            "INSERT INTO dead_letters_local (received_at, keep_days, code, message, pointer, payload) \
             SELECT now64(3, 'UTC'), 30, '{code}', '{message}', '/library', 'secret bytes'"
        ))
        .unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.clickhouse_url())
    }
}

fn post(url: &str, body: &str) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.post(url).send(body).map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().unwrap();
    if response.status().is_success() { Ok(text) } else { Err(text) }
}

fn get(url: &str) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
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
    let url = server.url(&format!("/live?database={}", server.database));
    let page = &mut Browser::open(&program, &url);

    shows(page, STATE, "missing");
    shows(page, &format!("{NOTICE}.includes('millrace migrate')"), true);

    server.migrate();
    shows(page, STATE, "empty");
    shows(page, &format!("{NOTICE}.includes('No events yet')"), true);

    server.insert_events(1200, 7, "ios", "organic_search");
    server.insert_duplicates(300);
    server.insert_dead_letter("missing_field", "required <b>field</b> is missing");
    shows(page, &row("platforms", 1), vec!["iOS", "1,200", "7"]);
    shows(page, &row("channels", 1), vec!["Organic search", "1,200", "7"]);
    shows(page, &row("activities", 1), vec!["spring", "1,200", "7"]);
    shows(page, &row("codes", 1), vec!["missing_field", "1", "100.0 %"]);
    // The message is shown as text, whatever a client wrote into it.
    shows(
        page,
        "document.querySelector('#codes .reason').textContent",
        "/libraryrequired <b>field</b> is missing",
    );
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
    server.insert_dead_letter("missing_field", "required field is missing");
    let database = &server.database;
    let api = |query: &str| get(&server.url(&format!("/live/api/{query}")));

    for query in ["arrivals", "traffic", "activities", "rejections"] {
        api(&format!("{query}?window=15&database={database}")).unwrap();
        // A longer window is limited to an hour.
        api(&format!("{query}?window=60000&database={database}")).unwrap();
        for rejected in
            ["", "window=1%27", "window=1;DROP", "window=15&query=SELECT+1", "window=15&max_threads=64"]
        {
            let answer = api(&format!("{query}?database={database}&{rejected}"));
            assert!(answer.is_err(), "{query} accepts {rejected:?}: {answer:?}");
        }
    }
    let rejections = api(&format!("rejections?window=15&database={database}")).unwrap();
    assert!(rejections.contains("missing_field") && !rejections.contains("secret bytes"), "{rejections}");

    // The user of the page reads nothing else, and no password logs in as that user.
    server.execute("CREATE DATABASE private").unwrap();
    server
        .execute("CREATE TABLE private.quality (pane String, bucket DateTime, events Int64) ENGINE = Memory")
        .unwrap();
    let private = api("last?database=private").unwrap_err();
    assert!(private.contains("ACCESS_DENIED") || private.contains("UNKNOWN"), "{private}");
    for password in ["", "0000000000000000000000000000000000000000000000000000000000000000", "default"] {
        let error =
            post(&server.url(&format!("/?user=millrace_live&password={password}")), "SELECT 1").unwrap_err();
        assert!(error.contains("AUTHENTICATION_FAILED"), "{error}");
    }
}

#[test]
fn every_query_of_the_dashboards_runs_on_migrated_tables() {
    let server = Server::start();
    server.migrate();
    server.insert_events(60, 5, "web", "direct");
    server.insert_dead_letter("too_old", "9 days old");
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
