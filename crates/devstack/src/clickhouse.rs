//! ClickHouse as one process with its whole HTTP interface, configured by files as a production server is.
//!
//! The generated `config.xml` and `users.xml` hold what differs on a small machine; everything else comes from an
//! overlay directory with the layout of `/etc/clickhouse-server`: `config.d/*.xml`, `users.d/*.xml`, and `user_files/`
//! beside them. ClickHouse merges the first two and serves static pages from the third.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cache::hex;
use crate::error::{Error, io_error};
use crate::ports;
use crate::server::{Plan, Server};
use crate::spawn::Host;
use crate::sql::query_within;

const PORT_ATTEMPTS: usize = 3;

/// Starts the HTTP interface and sleeps: the server runs as long as this query does.
const SERVE: &str = "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(3600) FROM numbers(100000000) SETTINGS \
                     function_sleep_max_microseconds_per_block=1000000000000000, max_block_size=1 FORMAT Null";

/// A user with a password, in addition to `default`, which has none.
#[derive(Debug, Clone)]
pub struct ClickHouseUser {
    /// Letters, digits and underscores.
    pub name: String,
    /// In the configuration it stands as SHA-256.
    pub password: String,
}

/// The files of one ClickHouse and its port.
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
        let reserved = ports::reserve(1).map_err(io_error("reserve a port for", directory))?;
        let ports = reserved.release();
        let plan = ClickHousePlan {
            host: host.clone(),
            library: library.to_path_buf(),
            directory: directory.to_path_buf(),
            port: ports[0],
        };
        match Server::start(plan) {
            // Another process took the port between its release and ClickHouse's bind.
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
        // It also sets the format of HTTP responses without FORMAT; TabSeparated is the default of a server.
        command.args(["--multiquery", "--output-format=TabSeparated", "--listen_host=127.0.0.1"]);
        command.arg(format!("--query={SERVE}"));
        command.arg(format!("--config-file={}", self.directory.join("config.xml").display()));
        command.arg(format!("--path={}", self.data().display()));
        command.arg(format!("--http_port={}", self.port));
        // The embedded server uses its working directory as `user_files` and ignores the setting.
        command.current_dir(self.directory.join("user_files"));
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("clickhouse.log")
    }

    fn is_ready(&self, _output: &str) -> bool {
        let sql = "SELECT value FROM system.server_settings WHERE name = 'path' FORMAT TSVRaw";
        let path = query_within(2, &self.url(), sql);
        path.is_ok_and(|path| Path::new(path.trim_end()) == self.data())
    }

    fn error_line(output: &str) -> Option<&str> {
        let is_error = |line: &&str| {
            line.contains("Exception: ") || line.contains("Received signal") || line.starts_with("error: ")
        };
        output.lines().rev().find(is_error)
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

/// System logs (`query_log`, `trace_log`, …) cost CPU time and are off unless a configuration names them.
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
        let starts_with_a_letter = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !starts_with_a_letter || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
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

/// Copies all files below `from`; does nothing if `from` does not exist.
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
    fn a_user_name_that_would_break_the_configuration_is_an_error() {
        let user = |name: &str| [ClickHouseUser { name: name.to_owned(), password: "secret".to_owned() }];
        for name in ["", "a b", "<x>", "1st", "a-b", "ü"] {
            assert!(matches!(more_users_text(&user(name)), Err(Error::BadUserName(_))), "{name}");
        }
        let text = more_users_text(&user("writer_2")).unwrap();
        assert!(text.contains("<writer_2>") && !text.contains("secret"), "{text}");
    }
}
