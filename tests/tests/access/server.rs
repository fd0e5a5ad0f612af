//! A ClickHouse whose users and roles are those of `deploy/access.toml`, with tables, views and a few rows.
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use devstack::{Error, Profile, Stack, StackOptions, pipeline::Pipeline};
use tempfile::TempDir;

/// The directory `deploy` of the repository.
pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The user `default` manages access. A user of its own reads both kinds of views and has a policy on each.
const PROBE: &str = "\
<clickhouse><users><default><access_management>1</access_management></default><probe>
    <password>probe</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
    <grants>
        <query>GRANT SELECT ON millrace.probe_definer</query>
        <query>GRANT SELECT ON millrace.probe_invoker</query>
    </grants>
    <databases><millrace>
        <probe_definer><filter>app_id IN ('web-main', 'app-main')</filter></probe_definer>
        <probe_invoker><filter>app_id IN ('web-main', 'app-main')</filter></probe_invoker>
    </millrace></databases>
</probe></users></clickhouse>
";

/// What the configuration of a ClickHouse server has by default, and an embedded one has not.
const DEFAULTS: &str = "\
<clickhouse><access_control_improvements>
    <settings_constraints_replace_previous>true</settings_constraints_replace_previous>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
</access_control_improvements></clickhouse>
";

/// In addition to the example: two teams with a page of their own each, and a user of both.
const PAGES: &str = "
[role.page_growth]
apps = [\"web-main\", \"app-main\"]
subjects = [\"traffic\", \"activities\", \"quality\"]
[role.page_recorder]
apps = [\"pc-recorder\"]
subjects = [\"traffic\", \"activities\", \"quality\"]
[user.page_growth]
roles = [\"page_growth\"]
password_file = \"secrets/alice\"
[user.page_recorder]
roles = [\"page_recorder\"]
password_file = \"secrets/bob\"
[user.erin]
roles = [\"growth\", \"recorder\"]
password_file = \"secrets/erin\"
";

/// The server of this test binary.
pub(crate) struct Server {
    stack: Stack,
    files: TempDir,
}

/// The server of this test binary. The first call starts it.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        fs::create_dir_all(at("secrets")).unwrap();
        let example = fs::read_to_string(deploy().join("access.toml")).unwrap();
        // The password of a user is its name.
        for line in example.lines().chain(PAGES.lines()) {
            if let Some(file) = line.strip_prefix("password_file = \"secrets/") {
                let file = file.trim_end_matches('"');
                let path = at("secrets").join(file);
                fs::write(&path, format!("{file}\n")).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            }
        }
        fs::write(at("access.toml"), example + PAGES).unwrap();
        let nowhere = StackOptions {
            kafka: Some("none:1".into()),
            clickhouse: Some("http://127.0.0.1:1".into()),
            ..StackOptions::own_servers()
        };
        let without_server = pipeline(&Stack::start(nowhere).unwrap(), files.path(), "default");
        let file = at("access.toml").display().to_string();
        let users = without_server.millrace(&["access", "render", &file, "--xml"]).unwrap();
        let overlay = at("overlay");
        for name in ["config.d", "users.d"] {
            fs::create_dir_all(overlay.join(name)).unwrap();
        }
        fs::write(overlay.join("users.d/access.xml"), users).unwrap();
        fs::write(overlay.join("users.d/probe.xml"), PROBE).unwrap();
        fs::copy(deploy().join("clickhouse/audit.xml"), overlay.join("config.d/audit.xml")).unwrap();
        fs::write(overlay.join("config.d/access_control.xml"), DEFAULTS).unwrap();
        for name in ["config.d/millrace.xml", "users.d/millrace.xml"] {
            fs::copy(deploy().join("clickhouse").join(name), overlay.join(name)).unwrap();
        }
        for team in ["growth", "recorder"] {
            fs::write(overlay.join(format!("config.d/page_{team}.xml")), page_of(team)).unwrap();
        }
        fs::create_dir_all(overlay.join("user_files/live")).unwrap();
        let page = "user_files/live/index.html";
        fs::copy(deploy().join("clickhouse").join(page), overlay.join(page)).unwrap();
        let options = StackOptions {
            // These tests need no Kafka: any name keeps devstack from starting one.
            kafka: Some("none:1".into()),
            clickhouse_overlay: Some(overlay),
            ..StackOptions::own_servers()
        };
        let server = Self { stack: Stack::start(options).unwrap(), files };
        server.fill();
        server.flush_logs();
        server
    }

    fn fill(&self) {
        self.millrace("millrace_migrate", &["migrate"]).unwrap();
        for kind in ["DEFINER", "INVOKER"] {
            let view = format!("CREATE VIEW probe_{} SQL SECURITY {kind}", kind.to_lowercase());
            self.execute("millrace_migrate", &format!("{view} AS SELECT * FROM audience")).unwrap();
        }
        for (app, devices) in [("web-main", 2), ("app-main", 3), ("pc-recorder", 4)] {
            for cube in ["traffic", "audience", "playback", "quality", "revenue"] {
                let rows = format!(
                    "INSERT INTO report_local (cube, pane, bucket, keep_days, received_max, app_id, platform, \
                     active_definition, kind, new_devices) SELECT '{cube}', '1d', \
                     toStartOfDay(now('UTC')) - toIntervalHour(8), 30, now64(3, 'UTC'), '{app}', 'web', 'any', 'event', \
                     {devices}"
                );
                let columns = if cube == "quality" {
                    rows.replace("report_local", "live_local")
                        .replace("'1d'", "'60s'")
                        .replace("active_definition, ", "")
                        .replace("'any', ", "")
                        .replace(", new_devices", ", events")
                } else {
                    rows.replace(", kind", "").replace(" 'event',", "")
                };
                self.execute("millrace_aggregate", &columns).unwrap();
            }
            self.execute(
                "millrace_aggregate",
                &format!(
                    "INSERT INTO live_local (cube, pane, bucket, keep_days, received_max, app_id, platform, events) \
                     SELECT 'traffic', '60s', toStartOfMinute(now('UTC')), 30, now64(3, 'UTC'), '{app}', 'web', {devices}"
                ),
            )
            .unwrap();
            self.execute(
                "millrace_aggregate",
                &format!(
                    "INSERT INTO dead_letters_local (received_at, keep_days, code, message, pointer, app_id, key, payload, origin_offset) \
                     SELECT now64(3, 'UTC'), 30, 'bad', 'the value x', '/x', '{app}', 'k', 'p', {devices}"
                ),
            )
            .unwrap();
            self.execute(
                "millrace_aggregate",
                &format!(
                    "INSERT INTO events_local (app_id, keep_days, event_time, user_id) \
                     SELECT '{app}', 30, now64(3, 'UTC'), 'u'"
                ),
            )
            .unwrap();
        }
    }

    /// An embedded server writes its query log only when it is told to.
    pub(crate) fn flush_logs(&self) {
        self.execute("default", "SYSTEM FLUSH LOGS").unwrap();
    }

    /// Runs a statement as a user whose password is its name; the result or the error.
    pub(crate) fn execute(&self, user: &str, statement: &str) -> Result<String, String> {
        let password = password(user);
        let url =
            format!("{}/?database=millrace&user={user}&password={password}", self.stack.clickhouse_url());
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.post(url).send(statement).map_err(|error| error.to_string())?;
        let text = response.body_mut().read_to_string().unwrap();
        if response.status().is_success() { Ok(text.trim_end().to_owned()) } else { Err(text) }
    }

    /// The response to a GET without a login, as a browser of the page sends it.
    pub(crate) fn get(&self, path: &str) -> Result<String, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}{path}", self.stack.clickhouse_url());
        let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
        let text = response.body_mut().read_to_string().unwrap();
        if response.status().is_success() { Ok(text) } else { Err(text) }
    }

    /// A file of roles and users in which each text is replaced.
    pub(crate) fn access_file_with(&self, name: &str, replacements: &[(&str, &str)]) -> String {
        let mut text = fs::read_to_string(self.files.path().join("access.toml")).unwrap();
        for (old, new) in replacements {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        let path = self.files.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs the command with this user of ClickHouse.
    pub(crate) fn millrace(&self, user: &str, args: &[&str]) -> Result<String, Error> {
        pipeline(&self.stack, self.files.path(), user).millrace(args)
    }

    /// Runs the command for another database.
    pub(crate) fn millrace_of(&self, database: &str, user: &str, args: &[&str]) -> Result<String, Error> {
        let mut pipeline = pipeline(&self.stack, self.files.path(), user);
        pipeline.set("MILLRACE__CLICKHOUSE__DATABASE", database);
        pipeline.millrace(args)
    }

    /// Runs `millrace migrate` with one more cube than the roles know.
    pub(crate) fn migrate_another_cube(&self, user: &str) -> Result<String, Error> {
        let cube = "[[cube]]\nname = \"custom_a\"\npanes = [\"1d\"]\ndimensions = [\"app_id\"]\n\
                    measures = [{ name = \"events\", count = true }]";
        let path = self.files.path().join("cubes.toml");
        fs::write(&path, cube).unwrap();
        let mut pipeline = pipeline(&self.stack, self.files.path(), user);
        pipeline.set("MILLRACE__AGGREGATE__CUBES_FILE", &path.display().to_string());
        pipeline.millrace(&["migrate"])
    }

    /// The file of roles and users.
    pub(crate) fn access_file(&self) -> String {
        self.files.path().join("access.toml").display().to_string()
    }
}

/// The handlers of a team's page: what the command in `deploy/access.md` makes of those of the live page.
fn page_of(team: &str) -> String {
    let text = fs::read_to_string(deploy().join("access.md")).unwrap();
    let script = text.split("sed '").nth(1).unwrap().split('\'').next().unwrap().replace("growth", team);
    let output = std::process::Command::new("sed")
        .arg(script)
        .arg(deploy().join("clickhouse/config.d/millrace.xml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn pipeline(stack: &Stack, logs: &Path, user: &str) -> Pipeline {
    let mut pipeline = Pipeline::new(stack, "millrace", Profile::of_this_build(), logs).unwrap();
    pipeline.set("MILLRACE__CLICKHOUSE__USER", user);
    pipeline.set("MILLRACE__CLICKHOUSE__PASSWORD", &password(user));
    pipeline.set("MILLRACE__AGGREGATE__LANES", "live,report,dead_letters,events");
    pipeline
}

/// The name of the user's password file in `deploy/access.toml`.
fn password(user: &str) -> String {
    if user == "default" { String::new() } else { user.trim_start_matches("millrace_").to_owned() }
}
