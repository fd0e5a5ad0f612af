//! Files of roles and users: their mistakes, and the plan, the statements and the XML that follow from them.
use std::collections::BTreeSet;

use aggregate::{Cubes, cube::BUILT_IN};

use super::{
    file::AccessFile,
    plan::{AccessPlan, PlannedRole},
    sql::{self, FoundAccess},
    xml,
};

const FILE: &str = r#"
[subject]
users = ["audience", "retention"]
numbers = ["quality"]
[role.growth]
apps = ["web-main", "app-main"]
subjects = ["users", "numbers"]
[role.video]
apps = ["app-tv"]
subjects = ["users"]
raw = true
[role.sales]
apps = ["app-tv"]
subjects = ["users"]
limits = { execution_time = "60s", memory = "1GiB" }
[role.board]
apps = ["*"]
subjects = ["*"]
[user.alice]
roles = ["growth", "sales"]
password_file = "alice"
hosts = ["10.1.0.0/16"]
[user.bob]
roles = ["board", "steward"]
certificate = "bob"
[user.aggregate]
roles = ["writer"]
ldap = "company"
"#;

fn cubes() -> Cubes {
    Cubes::parse(BUILT_IN).unwrap()
}

fn plan(text: &str) -> AccessPlan {
    let cubes = cubes();
    let file = AccessFile::parse(text, &cubes, &[]).unwrap();
    AccessPlan::new(&file, "db", &cubes, |path| Ok(format!("hash of {}", path.display()))).unwrap()
}

fn role<'a>(plan: &'a AccessPlan, name: &str) -> &'a PlannedRole {
    plan.roles.iter().find(|role| role.name == format!("db_role_{name}")).unwrap()
}

#[test]
fn every_mistake_of_a_file_is_reported_with_what_to_do() {
    for (text, expected) in [
        ("[role", "line 1: "),
        ("[roles.x]\n", "unknown field `roles`"),
        ("[subject]\nx = [\"trafic\"]", "subject `x`: there is no cube `trafic`; the nearest is `traffic`"),
        ("[subject]\nX = [\"traffic\"]", "subject `X`: its name must be of a-z"),
        ("[role.writer]\napps = [\"*\"]\nsubjects = [\"*\"]", "name of a built-in role"),
        ("[role.x]\napps = []\nsubjects = [\"*\"]", "apps is empty"),
        ("[role.x]\napps = [\"*\"]\nsubjects = []", "subjects is empty"),
        ("[role.x]\napps = [\"*\", \"a\"]\nsubjects = [\"*\"]", "`*` stands alone"),
        ("[role.x]\napps = [\"a' OR 1\"]\nsubjects = [\"*\"]", "must be of letters"),
        ("[role.x]\napps = [\"web-mian\"]\nsubjects = [\"*\"]", "nearest is `web-main` in ingest.apps"),
        ("[role.x]\napps = [\"*\"]\nsubjects = [\"users\"]", "there is no subject `users`"),
        ("[role.x]\napps = [\"*\"]\nsubjects = [\"traffic\"]", "is a cube, not a subject"),
        (
            "[role.x]\napps = [\"*\"]\nsubjects = [\"*\"]\nlimits = { execution_time = \"0s\" }",
            "from 1s to 1h",
        ),
        (
            "[role.x]\napps = [\"*\"]\nsubjects = [\"*\"]\nlimits = { execution_time = \"1500ms\" }",
            "whole seconds",
        ),
        ("[role.x]\napps = [\"*\"]\nsubjects = [\"*\"]\nlimits = { memory = \"1KiB\" }", "limits.memory"),
        (
            "[role.x]\napps = [\"*\"]\nsubjects = [\"*\"]\nlimits = { result_rows = 0 }",
            "limits.result_rows = 0",
        ),
        ("[role.x]\napps = [\"*\"]\nsubjects = [\"*\"]\nlimits = { rows = 1 }", "unknown field `rows`"),
        ("[user.x]\nroles = []\nldap = \"a\"", "roles is empty"),
        ("[user.x]\nroles = [\"reder\"]\nldap = \"a\"", "there is no role `reder`; the nearest is `reader`"),
        ("[user.x]\nroles = [\"reader\"]", "it has 0 of password_file"),
        ("[user.x]\nroles = [\"reader\"]\nldap = \"a\"\npassword_file = \"b\"", "it has 2 of password_file"),
        ("[user.x]\nroles = [\"reader\"]\npassword_sha256 = \"abc\"", "64 hexadecimal digits"),
        ("[user.x]\nroles = [\"reader\"]\ncertificate = \"\"", "must not be empty"),
        (
            "[user.x]\nroles = [\"reader\"]\nldap = \"a\"\nhosts = [\"10.1.0.0/33\"]",
            "must be an address or a network",
        ),
        ("[user.default]\nroles = [\"reader\"]\nldap = \"a\"", "belongs to the server"),
        ("[user.\"a.b\"]\nroles = [\"reader\"]\nldap = \"a\"", "a user name must be of letters"),
    ] {
        let known_apps = if text.contains("mian") { vec!["web-main".to_owned()] } else { Vec::new() };
        let problems = AccessFile::parse(text, &cubes(), &known_apps).unwrap_err();
        assert!(problems.iter().any(|one| one.replace('"', "`").contains(expected)), "{text}: {problems:?}");
    }
    let two = "[role.x]\napps = []\nsubjects = []\n[user.y]\nroles = []";
    assert_eq!(AccessFile::parse(two, &cubes(), &[]).unwrap_err().len(), 4);
}

#[test]
fn a_cube_without_app_id_is_for_roles_of_all_applications() {
    let custom = "[[cube]]\nname = \"custom_a\"\npanes = [\"1d\"]\ndimensions = [\"platform\"]\n\
                  measures = [{ name = \"events\", count = true }]";
    let cubes = Cubes::built_in_with(custom).unwrap();
    let parse = |apps: &str| {
        let text =
            format!("[subject]\ns = [\"custom_a\"]\n[role.x]\napps = [\"{apps}\"]\nsubjects = [\"s\"]");
        AccessFile::parse(&text, &cubes, &[])
    };
    assert!(parse("*").is_ok());
    assert!(parse("a").unwrap_err()[0].contains("no dimension app_id"));
}

#[test]
fn a_role_reads_the_views_of_its_subjects_and_the_rows_of_its_applications() {
    let plan = plan(FILE);
    let growth = role(&plan, "growth");
    let objects: BTreeSet<&str> = growth.grants.iter().map(|grant| grant.object.as_str()).collect();
    let expected = ["`audience`", "`dead_letters`", "`metric_definitions`", "`quality`", "`retention`"];
    assert_eq!(
        objects,
        expected
            .iter()
            .map(|view| format!("`db`.{view}"))
            .collect::<BTreeSet<_>>()
            .iter()
            .map(String::as_str)
            .collect()
    );
    for view in ["audience", "retention", "quality", "dead_letters"] {
        assert_eq!(growth.filters[view], "app_id IN ('app-main', 'web-main')", "{view}");
    }
    assert_eq!(growth.filters.len(), 4);
    let video = role(&plan, "video");
    assert_eq!(video.filters["events"], "app_id IN ('app-tv')");
    assert_eq!(role(&plan, "board").filters["traffic"], "1");
}

#[test]
fn only_stewards_and_roles_with_raw_read_payloads() {
    let plan = plan(FILE);
    for (name, expected) in
        [("growth", false), ("video", true), ("board", false), ("reader", false), ("steward", true)]
    {
        let whole = role(&plan, name)
            .grants
            .iter()
            .any(|grant| grant.privileges == "SELECT" && grant.object == "`db`.`dead_letters`");
        assert_eq!(whole, expected, "{name}");
        let events = role(&plan, name).grants.iter().any(|grant| grant.object == "`db`.`events`");
        assert_eq!(events, expected, "{name}");
    }
    for role in &plan.roles {
        for grant in role.grants.iter().filter(|grant| grant.privileges.starts_with("SELECT(")) {
            let is_writer = role.name == "db_role_writer";
            let has_payload =
                ["`payload`", "`key`", "`message`"].iter().any(|one| grant.privileges.contains(one));
            assert!(is_writer || !has_payload, "{}: {}", role.name, grant.text());
        }
    }
}

#[test]
fn a_user_has_the_rows_and_the_highest_limits_of_all_its_roles() {
    let plan = plan(FILE);
    let user = |name: &str| plan.users.iter().find(|user| user.name == name).unwrap();
    let alice = user("alice");
    assert_eq!(alice.filters["audience"], "(app_id IN ('app-main', 'web-main')) OR (app_id IN ('app-tv'))");
    let limits = alice.limits.clone().unwrap();
    assert_eq!((limits.execution_time.as_secs(), limits.memory.as_u64()), (60, 2 << 30));
    assert_eq!(user("bob").limits, None, "a steward has no limits");
    assert_eq!(user("bob").filters["audience"], "1");
    assert_eq!(user("aggregate").limits, None);
}

#[test]
fn what_is_not_in_the_file_is_removed_and_nothing_else() {
    let plan = plan(FILE);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
    let found = FoundAccess {
        roles: texts(&["db_role_growth", "db_role_old"]),
        users: texts(&["alice", "carol"]),
        profiles: texts(&["db_user_alice", "db_user_bob", "db_user_carol"]),
        quotas: texts(&["db_user_alice", "db_user_bob", "db_user_carol"]),
        policies: vec![
            pair("db_role_growth", "audience"),
            pair("db_role_growth", "traffic"),
            pair("db_role_old", "tags"),
        ],
        granted: vec![
            pair("alice", "db_role_growth"),
            pair("alice", "db_role_board"),
            pair("carol", "db_role_growth"),
            pair("dave", "db_role_growth"),
            pair("alice", "admin"),
            pair("db_role_growth", "admin"),
            pair("analysts", "db_role_growth"),
        ],
        with_own_rights: texts(&["alice", "carol"]),
        ..FoundAccess::default()
    };
    let statements = sql::statements(&plan, &found);
    let removals: Vec<&str> = statements
        .iter()
        .map(String::as_str)
        .filter(|statement| statement.starts_with("DROP") || statement.starts_with("REVOKE"))
        .collect();
    assert_eq!(
        removals,
        [
            "DROP USER IF EXISTS `carol`",
            "REVOKE `db_role_board` FROM `alice`",
            "REVOKE `db_role_growth` FROM `dave`",
            "REVOKE `admin` FROM `alice`",
            "REVOKE `admin` FROM `db_role_growth`",
            "REVOKE `db_role_growth` FROM `analysts`",
            "REVOKE ALL ON *.* FROM `alice`",
            "DROP ROLE IF EXISTS `db_role_old`",
            "DROP ROW POLICY IF EXISTS `db_role_growth` ON `db`.`traffic`",
            "DROP ROW POLICY IF EXISTS `db_role_old` ON `db`.`tags`",
            // A steward has no limits.
            "DROP QUOTA IF EXISTS `db_user_bob`",
            "DROP QUOTA IF EXISTS `db_user_carol`",
            "DROP SETTINGS PROFILE IF EXISTS `db_user_carol`",
        ]
    );
    let place = |wanted: &str| statements.iter().position(|one| one.starts_with(wanted)).unwrap();
    let lost = place("DROP ROW POLICY IF EXISTS `db_role_growth`");
    let granted =
        statements.iter().position(|one| one.starts_with("GRANT") && one.contains("TO `db_role_growth`"));
    assert!(granted.unwrap() < lost, "a policy is dropped before its role has lost the view");
    assert!(place("CREATE ROW POLICY OR REPLACE `db_role_growth` ON `db`.`audience`") < granted.unwrap());
}

#[test]
fn a_user_is_created_without_rights_and_limited_before_it_gets_any() {
    let statements = sql::statements(&plan(FILE), &FoundAccess::default());
    let of_alice: Vec<&str> =
        statements.iter().map(String::as_str).filter(|one| one.contains("alice")).collect();
    assert_eq!(
        of_alice,
        [
            "CREATE SETTINGS PROFILE IF NOT EXISTS `db_user_alice`",
            "ALTER SETTINGS PROFILE `db_user_alice` SETTINGS readonly = 1, max_execution_time = 60 MIN 1 MAX 60 \
             CHANGEABLE_IN_READONLY, max_memory_usage = 2147483648, max_result_rows = 200000, \
             max_concurrent_queries_for_user = 8, log_comment CHANGEABLE_IN_READONLY, \
             output_format_json_quote_64bit_integers CHANGEABLE_IN_READONLY",
            "CREATE USER IF NOT EXISTS `alice` IDENTIFIED WITH sha256_hash BY 'hash of alice' HOST IP '10.1.0.0/16' \
             DEFAULT DATABASE `db` SETTINGS PROFILE `db_user_alice`",
            "ALTER USER `alice` IDENTIFIED WITH sha256_hash BY 'hash of alice' HOST IP '10.1.0.0/16' \
             DEFAULT DATABASE `db` SETTINGS PROFILE `db_user_alice`",
            "CREATE QUOTA OR REPLACE `db_user_alice` FOR INTERVAL 1 hour MAX queries = 10000 TO `alice`",
            "GRANT `db_role_growth`, `db_role_sales` TO `alice`",
            "ALTER USER `alice` DEFAULT ROLE `db_role_growth`, `db_role_sales`",
        ]
    );
    let shown = sql::without_hashes(of_alice[3]);
    assert!(shown.contains("sha256_hash BY '…' HOST IP '10.1.0.0/16'"), "{shown}");
    let has = |wanted: &str| statements.iter().any(|one| one == wanted);
    assert!(has("ALTER ROLE `db_role_growth` SETTINGS NONE"), "{statements:#?}");
}

#[test]
fn nothing_is_changed_that_another_person_created() {
    let plan = plan(FILE);
    assert_eq!(sql::conflicts(&plan, &FoundAccess::default()), [""; 0]);
    let found = FoundAccess {
        users: vec!["alice".into()],
        foreign_users: vec!["bob".into(), "default".into()],
        foreign_policies: vec![("all_rows".into(), "audience".into())],
        current_user: "aggregate".into(),
        ..FoundAccess::default()
    };
    let conflicts = sql::conflicts(&plan, &found);
    assert_eq!(conflicts.len(), 3, "{conflicts:#?}");
    for (found, expected) in conflicts.iter().zip([
        "user `aggregate` is the one of this connection",
        "user `bob` exists and was not created by millrace access for database `db`: rename it or drop it",
        "row policy `all_rows` on db.audience",
    ]) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn no_two_roles_show_payloads_that_neither_shows() {
    let roles = "[role.raw_a]\napps = [\"a\"]\nsubjects = [\"*\"]\nraw = true\n\
                 [role.raw_b]\napps = [\"b\"]\nsubjects = [\"*\"]\nraw = true\n\
                 [role.b]\napps = [\"b\"]\nsubjects = [\"*\"]\n\
                 [subject]\nusers = [\"audience\"]\n\
                 [role.users_b]\napps = [\"b\"]\nsubjects = [\"users\"]\n\
                 [role.all]\napps = [\"*\"]\nsubjects = [\"*\"]\n";
    for (of_user, role) in [
        (&["raw_a", "b"][..], Some("b")),
        (&["raw_a", "all"], Some("all")),
        (&["raw_a", "reader"], Some("reader")),
        (&["raw_a", "raw_b", "b"], None),
        (&["raw_a", "raw_b"], None),
        (&["raw_a", "users_b"], None),
        (&["b", "all", "reader"], None),
        (&["steward", "all", "raw_a"], None),
    ] {
        let text = format!("{roles}[user.x]\nroles = {of_user:?}\nldap = \"a\"");
        let cubes = cubes();
        let file = AccessFile::parse(&text, &cubes, &[]).unwrap();
        let found = AccessPlan::new(&file, "db", &cubes, |_| Ok(String::new()));
        match (found, role) {
            (Ok(_), None) => (),
            (Err(problems), Some(role)) => {
                let expected = format!("user `x`: role `{role}` reads the reasons of dead letters");
                assert!(
                    problems.len() == 1 && problems[0].starts_with(&expected),
                    "{of_user:?}: {problems:?}"
                );
            }
            (found, _) => panic!("{of_user:?}: {found:?}"),
        }
    }
}

#[test]
fn a_database_whose_name_cannot_be_in_xml_is_a_problem() {
    let cubes = cubes();
    let file = AccessFile::parse("", &cubes, &[]).unwrap();
    for (database, is_valid) in
        [("millrace", true), ("_a-1", true), ("1prod", false), ("my.db", false), ("", false)]
    {
        let plan = AccessPlan::new(&file, database, &cubes, |_| Ok(String::new()));
        assert_eq!(plan.is_ok(), is_valid, "{database}");
    }
}

#[test]
fn a_mistake_is_shown_without_the_line_that_has_it() {
    let text = "[user.x]\nroles = [\"reader\"]\npassword = \"hunter2\"";
    let problems = AccessFile::parse(text, &cubes(), &[]).unwrap_err();
    assert!(problems[0].starts_with("line 3: unknown field `password`"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn the_xml_has_the_grants_of_roles_and_the_filters_of_users() {
    let text = xml::render(&plan(FILE)).unwrap();
    for expected in [
        "<db_role_growth>",
        "<query>GRANT SELECT ON `db`.`audience`</query>",
        "<query>GRANT `db_role_growth`</query>",
        "<password_sha256_hex>hash of alice</password_sha256_hex>",
        "<common_name>bob</common_name>",
        "<server>company</server>",
        "<ip>10.1.0.0/16</ip>",
        "<profile>db_user_alice</profile>",
        "<default_database>db</default_database>",
        "<profile>default</profile>",
        "<queries>10000</queries>",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let filter = text.split("<filter>").nth(1).unwrap().split("</filter>").next().unwrap();
    assert!(filter.contains("app-main") && !filter.contains('<'), "{filter}");
}

#[test]
fn lines_of_other_pipelines_and_users_do_not_concern_this_one() {
    let plan = plan(FILE);
    let concerns = |line: &str| sql::concerns(&plan, &FoundAccess::default(), line);
    for line in [
        "CREATE ROLE db_role_growth",
        "CREATE USER alice IDENTIFIED WITH sha256_password",
        "GRANT SELECT ON db.audience TO db_role_growth",
        "CREATE SETTINGS PROFILE `db_user_alice` SETTINGS readonly = 1",
    ] {
        assert!(concerns(line), "{line}");
    }
    for line in
        ["CREATE ROLE mydb_role_growth", "GRANT SELECT ON db.audience TO malice", "CREATE USER default"]
    {
        assert!(!concerns(line), "{line}");
    }
}
