//! Roles and users on a real ClickHouse: every statement of the table in `deploy/access.md` as a user of every role, and
//! what two teams see with the command.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use server::{Server, server};

/// A user of each role, in the order of the table's columns.
const USERS: [(&str, &str); 8] = [
    ("writer", "millrace_aggregate"),
    ("migrator", "millrace_migrate"),
    ("reader", "millrace_report"),
    ("steward", "dora"),
    ("growth", "alice"),
    ("recorder", "bob"),
    ("board", "carol"),
    ("growth and recorder", "erin"),
];
/// What ClickHouse answers when it refuses a statement: ACCESS_DENIED, READONLY, SETTING_CONSTRAINT_VIOLATION, and
/// TOO_MANY_ROWS_OR_BYTES for a limit. CANNOT_EXTRACT_TABLE_STRUCTURE: `merge` found no table that the user may read.
const REFUSED: [&str; 5] = ["Code: 497.", "Code: 164.", "Code: 452.", "Code: 396.", "Code: 636."];

/// The cells of a row of a Markdown table.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The rows of the table in `deploy/access.md`: statement and expected cells.
fn matrix() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(server::deploy().join("access.md")).unwrap();
    let head = text.lines().position(|line| line.starts_with("| statement |")).unwrap();
    let roles: Vec<&str> = cells(text.lines().nth(head).unwrap())[1..].to_vec();
    assert_eq!(roles, USERS.map(|(role, _)| role));
    let rows = text.lines().skip(head + 2).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells = cells(line);
        (cells[0].trim_matches('`').to_owned(), cells[1..].iter().map(|&cell| cell.to_owned()).collect())
    })
    .collect()
}

/// The cell that a statement has for a user.
fn outcome(server: &Server, user: &str, statement: &str) -> String {
    match server.execute(user, statement) {
        Ok(result) if result.is_empty() || result.contains('\n') || !statement.starts_with("SELECT") => {
            "yes".to_owned()
        }
        Ok(result) => result,
        Err(error) if REFUSED.iter().any(|code| error.starts_with(code)) => "no".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn every_statement_is_allowed_or_refused_as_the_table_says() {
    let server = server();
    let rows = matrix();
    assert!(rows.len() >= 25, "the table has {} statements", rows.len());
    let mut wrong = Vec::new();
    for (statement, expected) in &rows {
        for ((role, user), expected) in USERS.iter().zip(expected) {
            let found = outcome(server, user, statement);
            let is_expected = found == *expected || (expected == "error" && found.starts_with("error: "));
            if !is_expected {
                wrong.push(format!("{role}: {statement}: expected {expected}, got {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_teams_see_their_own_applications_with_the_command() {
    let server = server();
    let query = ["metrics", "query", "new_devices", "--by", "app_id", "--from", "2d", "--json"];
    for (user, apps) in
        [("alice", vec!["app-main", "web-main"]), ("carol", vec!["app-main", "pc-recorder", "web-main"])]
    {
        let printed = server.millrace(user, &query).unwrap();
        let mut found: Vec<&str> = ["app-main", "pc-recorder", "web-main"].to_vec();
        found.retain(|app| printed.contains(app));
        assert_eq!(found, apps, "{user}: {printed}");
    }
    let refused = server.millrace("bob", &query).unwrap_err().to_string();
    assert!(refused.contains("clickhouse user `bob` may not do this"), "{refused}");
}

#[test]
fn two_teams_see_their_own_applications_on_their_pages() {
    let server = server();
    for (page, events) in [("", 9), ("/page_growth", 5), ("/page_recorder", 4)] {
        assert!(server.get(&format!("{page}/live")).unwrap().contains("live/page.js"), "{page}");
        let response = server.get(&format!("{page}/live/api/traffic/60")).unwrap();
        let response: serde_json::Value = serde_json::from_str(&response).unwrap();
        let total = response["data"].as_array().unwrap().iter().find(|row| row["by"] == "total").unwrap();
        assert_eq!(total["count"].to_string().trim_matches('"'), events.to_string(), "{page}: {response}");
        for query in ["arrivals/60", "activities/60", "rejections/60", "last"] {
            server.get(&format!("{page}/live/api/{query}")).unwrap();
        }
        let refused = server.get(&format!("{page}/live/api/traffic/60?query=SELECT+1"));
        assert!(refused.is_err(), "{page}: {refused:?}");
    }
}

#[test]
fn a_policy_holds_on_a_view_of_its_definer_and_an_invoker_reads_no_table() {
    let server = server();
    for (view, expected) in [("probe_definer", Ok("5")), ("probe_invoker", Err("Code: 497."))] {
        let found = server.execute("probe", &format!("SELECT sum(new_devices) FROM {view}"));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{view}"),
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{view}: {found}"),
            (found, expected) => panic!("{view}: expected {expected:?}, got {found:?}"),
        }
    }
}

#[test]
fn the_server_can_read_every_statement_of_apply() {
    let server = server();
    let file = server.access_file();
    let statements = server.millrace("default", &["access", "render", &file]).unwrap();
    let mut count = 0;
    for statement in statements.lines() {
        server.execute("default", &format!("EXPLAIN AST {}", statement.trim_end_matches(';'))).unwrap();
        count += 1;
    }
    assert!(count > 50, "{count}");
    let refused = server.millrace("default", &["access", "apply", &file]).unwrap_err().to_string();
    assert!(refused.contains("keeps its users and roles in files"), "{refused}");
}

/// The server of these tests was migrated by the user that its roles name, on an empty server: roles, then tables.
#[test]
fn the_view_of_a_new_cube_needs_its_rights_first() {
    let server = server();
    let refused = server.migrate_another_cube("millrace_migrate").unwrap_err().to_string();
    assert!(refused.contains("INSERT ON millrace.custom_a"), "{refused}");
    let definers = "SELECT count(), countIf(create_table_query LIKE '%DEFINER = millrace_migrate SQL SECURITY DEFINER%') \
                    FROM system.tables WHERE database = 'millrace' AND engine = 'View' AND name NOT LIKE 'probe_%' AND name != 'mine'";
    let found = server.execute("default", definers).unwrap();
    let (views, of_migrator) = found.split_once('\t').unwrap();
    assert!(views == of_migrator && views != "0", "{found}");
}

#[test]
fn check_warns_of_a_server_with_known_ways_around_row_policies() {
    let server = server();
    let printed = server.millrace("default", &["access", "check", &server.access_file()]).unwrap();
    assert!(printed.contains("9 roles (4 of them built in) and 11 users are valid"), "{printed}");
    assert!(printed.contains("warning: clickhouse 26.7."), "{printed}");
    assert!(!printed.contains("missing: ") && !printed.contains("not in the file: "), "{printed}");
}

#[test]
fn check_fails_when_the_server_differs_from_the_file() {
    let server = server();
    let growth = "[role.growth]\napps = [\"web-main\", \"app-main\"]\nsubjects = [\"users\", \"traffic\",";
    let file = server.access_file_with(
        "other.toml",
        &[
            (growth, "[role.growth]\napps = [\"web-main\"]\nsubjects = [\"users\", \"quality\","),
            ("roles = [\"growth\", \"recorder\"]", "roles = [\"growth\"]"),
            ("roles = [\"recorder\"]", "roles = [\"board\"]"),
            ("[role.page_recorder]", "[role.page_video]"),
            ("roles = [\"page_recorder\"]", "roles = [\"page_video\"]"),
            ("\"10.0.0.0/8\"", "\"10.1.0.0/16\""),
        ],
    );
    let failed = server.millrace("default", &["access", "check", &file, "--json"]).unwrap_err().to_string();
    assert!(failed.contains("between") && failed.contains("run millrace access apply"), "{failed}");
    let printed = failed.lines().find(|line| line.starts_with('{')).unwrap();
    let printed: serde_json::Value = serde_json::from_str(printed).unwrap();
    let found: Vec<&str> =
        printed["differences"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for expected in [
        "missing: row policy alice on audience for alice: app_id IN ('web-main')",
        "not in the file: row policy alice on audience for alice: app_id IN ('app-main', 'web-main')",
        "missing: millrace_role_growth may SELECT on millrace.quality",
        "not in the file: millrace_role_growth may SELECT on millrace.traffic",
        "not in the file: user bob has role millrace_role_recorder",
        "missing: user bob has role millrace_role_board",
        "missing: role millrace_role_page_video",
        "not in the file: role millrace_role_page_recorder",
        "missing: user bob connects from 10.1.0.0/16, localhost",
        "not in the file: millrace_user_bob sets max_memory_usage = 4294967296",
    ] {
        assert!(found.contains(&expected), "{expected} is not in {found:#?}");
    }
    // What apply would do on a server whose roles it can write.
    let statements = server.millrace("default", &["access", "apply", &file, "--dry-run"]).unwrap();
    for expected in [
        "DROP ROLE IF EXISTS `millrace_role_page_recorder`;",
        "REVOKE `millrace_role_recorder` FROM `bob`;",
        "CREATE ROW POLICY OR REPLACE `millrace_role_growth` ON `millrace`.`audience` FOR SELECT USING app_id IN ('web-main')",
    ] {
        assert!(
            statements.lines().any(|line| line.starts_with(expected)),
            "{expected} is not in {statements}"
        );
    }
    // Who may not see roles and users still has the file checked.
    let printed = server.millrace("alice", &["access", "check", &file, "--json"]).unwrap();
    assert!(printed.contains("\"compared\":false"), "{printed}");
    let failed = server.millrace("nobody", &["access", "check", &file]).unwrap_err().to_string();
    assert!(failed.contains("does not accept user `nobody`"), "{failed}");
    let failed =
        server.millrace_of("another", "default", &["access", "check", &file]).unwrap_err().to_string();
    assert!(failed.contains("missing: role another_role_reader"), "{failed}");
    let same = server.millrace("default", &["access", "apply", &server.access_file(), "--dry-run"]).unwrap();
    let removes = |line: &str| line.starts_with("DROP ") || line.starts_with("REVOKE ");
    assert!(!same.lines().any(removes), "{same}");
}

#[test]
fn the_audit_shows_who_asked_which_metric_or_view_and_what_was_refused() {
    let server = server();
    let query = ["metrics", "query", "new_devices", "--from", "2d"];
    server.millrace("alice", &query).unwrap();
    server.execute("carol", "SELECT sum(new_devices) FROM audience").unwrap();
    server.execute("bob", "SELECT sum(new_devices) FROM audience").unwrap_err();
    server.execute("dora", "SELECT payload FROM dead_letters_local FORMAT Null").unwrap();
    server.millrace("default", &["access", "apply", &server.access_file(), "--by", "eve"]).unwrap_err();
    system_tests::eventually("the audit", system_tests::WAIT, || {
        server.flush_logs();
        let audit = ["audit", "--since", "1h", "--limit", "100000"];
        let printed = server.millrace("dora", &audit).unwrap();
        let has = |words: &[&str]| printed.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let all = has(&["alice", "127.0.0.1", "select metric new_devices: audience", "done"])
            && has(&["carol", "select audience", "done"])
            && has(&["bob", "audience", "code 497"])
            && has(&["dora", "select dead_letters_local", "done"]);
        all.then_some(())
    });
    let of_eve = server.millrace("dora", &["audit", "--since", "1h", "--user", "eve"]).unwrap();
    assert!(of_eve.contains("millrace access apply by eve") && !of_eve.contains("alice"), "{of_eve}");
    let latest =
        server.millrace("dora", &["audit", "--since", "1h", "--user", "carol", "--limit", "1", "--json"]);
    let latest: serde_json::Value = serde_json::from_str(&latest.unwrap()).unwrap();
    assert_eq!(latest.as_array().unwrap().len(), 1, "{latest}");
    let refused = server.millrace("alice", &["audit"]).unwrap_err().to_string();
    assert!(refused.contains("may not do this"), "{refused}");
}
