//! ClickHouse as one process with its whole HTTP interface, configured by files as a production server is.
//!
//! The generated `config.xml` and `users.xml` hold what differs on a small machine; everything else comes from an
//! overlay directory laid out like a server's own: `config.d/*.xml`, `users.d/*.xml` and `user_files/`. ClickHouse
//! merges the first two itself and serves static pages from the third, here as in a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cache::hex;
use crate::error::{Error, io_error};
use crate::ports;
use crate::server::{Plan, Server};
use crate::spawn::Host;

const PORT_ATTEMPTS: usize = 3;

/// Starts the HTTP interface and then never ends: the call that runs it is the server.
const SERVE: &str = "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(3600) FROM numbers(100000000) SETTINGS \
                     function_sleep_max_microseconds_per_block=1000000000000000, max_block_size=1 FORMAT Null";

/// A user beside `default`, who needs no password.
#[derive(Debug, Clone)]
pub struct ClickHouseUser {
    /// Letters, digits and underscores.
    pub name: String,
    /// Stored as its SHA-256 only.
    pub password: String,
}

/// Where ClickHouse comes from and where it lives.
pub(crate) struct ClickHousePlan {
    host: Host,
    library: PathBuf,
    directory: PathBuf,
    port: u16,
}

/// Writes the configuration into `directory` and starts ClickHouse on a free port.
pub(crate) fn start(
    host: &Host,
    library: &Path,
    directory: &Path,
    overlay: Option<&Path>,
    users: &[ClickHouseUser],
) -> Result<Server<ClickHousePlan>, Error> {
    configure(directory, overlay, users)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let reserved = ports::reserve::<1>().map_err(io_error("reserve a port for", directory))?;
        let ports = reserved.release();
        let plan = ClickHousePlan {
            host: host.clone(),
            library: library.to_path_buf(),
            directory: directory.to_path_buf(),
            port: ports[0],
        };
        match Server::start(plan) {
            // Somebody took the port between our release and its bind.
            Err(Error::ServerStopped { .. }) if attempt < PORT_ATTEMPTS && ports::any_taken(&ports) => {}
            outcome => return outcome,
        }
    }
}

impl ClickHousePlan {
    /// What clients connect to.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn data(&self) -> PathBuf {
        data_path(&self.directory)
    }
}

impl Plan for ClickHousePlan {
    const NAME: &'static str = "clickhouse";

    fn command(&self) -> Command {
        let mut command = self.host.clickhouse(&self.library);
        // The output format becomes that of HTTP answers without FORMAT; a server's default is this one.
        command.args(["--multiquery", "--output-format=TabSeparated", "--listen_host=127.0.0.1"]);
        command.arg(format!("--query={SERVE}"));
        command.arg(format!("--config-file={}", self.directory.join("config.xml").display()));
        command.arg(format!("--path={}", self.data().display()));
        command.arg(format!("--http_port={}", self.port));
        // The embedded server takes its working directory for `user_files`, whatever the configuration says.
        command.current_dir(self.directory.join("user_files"));
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("clickhouse.log")
    }

    fn answers(&self) -> bool {
        let timeout = Some(Duration::from_secs(2));
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(timeout).build().into();
        let query = "SELECT value FROM system.server_settings WHERE name = 'path' FORMAT TSVRaw";
        let answer = agent.get(self.url()).query("query", query).call();
        let path = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        path.is_ok_and(|path| Path::new(path.trim_end()) == self.data())
    }

    fn telling_line(output: &str) -> Option<&str> {
        let tells = |line: &&str| {
            line.contains("Exception: ") || line.contains("Received signal") || line.starts_with("error: ")
        };
        output.lines().rev().find(tells)
    }
}

fn configure(directory: &Path, overlay: Option<&Path>, users: &[ClickHouseUser]) -> Result<(), Error> {
    for name in ["config.d", "users.d", "user_files", "data"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(io_error("create", &path))?;
    }
    if let Some(overlay) = overlay {
        for name in ["config.d", "users.d", "user_files"] {
            copy_directory(&overlay.join(name), &directory.join(name))?;
        }
    }
    let files = [
        ("config.xml", config_text(directory)),
        ("users.xml", USERS.to_owned()),
        ("users.d/devstack.xml", more_users_text(users)?),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).map_err(io_error("write", &path))?;
    }
    Ok(())
}

fn data_path(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// System logs (`query_log`, `trace_log`, …) are off as long as no configuration names them: they cost processor time.
fn config_text(directory: &Path) -> String {
    format!(
        "\
<clickhouse>
    <path>{data}</path>
    <users_config>{users}</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <timezone>UTC</timezone>
    <max_server_memory_usage>4294967296</max_server_memory_usage>
    <mark_cache_size>268435456</mark_cache_size>
</clickhouse>
",
        data = data_path(directory).display(),
        users = directory.join("users.xml").display(),
    )
}

const USERS: &str = "\
<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </default>
    </users>
</clickhouse>
";

fn more_users_text(users: &[ClickHouseUser]) -> Result<String, Error> {
    let mut text = "<clickhouse>\n    <users>\n".to_owned();
    for ClickHouseUser { name, password } in users {
        let starts_as_a_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !starts_as_a_name || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
            return Err(Error::BadUserName(name.clone()));
        }
        let password = hex(&Sha256::digest(password));
        text += &format!(
            "        <{name}>
            <password_sha256_hex>{password}</password_sha256_hex>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </{name}>\n"
        );
    }
    text += "    </users>\n</clickhouse>\n";
    Ok(text)
}

/// Copies the files of `from`, also those in directories below; a `from` that does not exist has none.
fn copy_directory(from: &Path, to: &Path) -> Result<(), Error> {
    if !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(to).map_err(io_error("create", to))?;
    for entry in fs::read_dir(from).map_err(io_error("read", from))? {
        let path = entry.map_err(io_error("read", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_directory(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(io_error("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_that_would_break_the_configuration_is_refused() {
        let user = |name: &str| [ClickHouseUser { name: name.to_owned(), password: "secret".to_owned() }];
        for name in ["", "a b", "<x>", "1st", "a-b", "ü"] {
            assert!(matches!(more_users_text(&user(name)), Err(Error::BadUserName(_))), "{name}");
        }
        let text = more_users_text(&user("writer_2")).unwrap();
        assert!(text.contains("<writer_2>") && !text.contains("secret"), "{text}");
    }
}
