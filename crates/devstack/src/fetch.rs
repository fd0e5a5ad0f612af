//! Downloads the servers from Maven Central and npm with `mvn` and `npm`, so that the proxies, mirrors and caches that
//! the user has set up for them apply.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::cache::{self, Artifact};
use crate::error::{Error, io_error};
use crate::progress::Progress;
use crate::spawn::{Host, spawn};

const KAFKA_VERSION: &str = "4.2.0";
const KAFKA_MANIFEST: &str = include_str!("../manifests/kafka-4.2.0.sha256");
const MAVEN_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

const CLICKHOUSE_PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const CLICKHOUSE_VERSION: &str = "26.7.3-stable.1";
const CLICKHOUSE_INTEGRITY: &str =
    "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==";
const CLICKHOUSE_MANIFEST: &str = include_str!("../manifests/clickhouse-26.7.3-stable.1.sha256");
const CLICKHOUSE_LIBRARY: &str = "libchdb.so";

const OLDEST_JAVA: u32 = 17;

/// How often a download is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// The directory of Kafka's jars.
pub(crate) fn kafka(host: &Host, cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let fetch = |directory: &Path| {
        let maven = find_program("mvn").ok_or(Error::MissingProgram {
            program: "mvn",
            needed_for: "it downloads kafka",
            package: "maven",
            variable: "MILLRACE_TEST_KAFKA",
        })?;
        progress.report("kafka", "downloading", "55 MB");
        let pom = directory.join("pom.xml");
        fs::write(&pom, pom_text()).map_err(io_error("write", &pom))?;
        let mut command = host.exec(&maven);
        command.args(["--batch-mode", MAVEN_GOAL, "-DoutputDirectory=."]).current_dir(directory);
        if std::env::var_os("MAVEN_OPTS").is_none() {
            // Maven runs for seconds: compiling its code well would take longer than it saves.
            command.env("MAVEN_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC");
        }
        let mut bytes = 0;
        run("mvn", "kafka", command, &mut |line| {
            bytes += line.and_then(downloaded_bytes).unwrap_or_default();
            progress.report("kafka", "downloading", &format!("{} of 55 MB", bytes / 1_000_000));
        })
    };
    let name = format!("kafka-{KAFKA_VERSION}");
    cache::ensure(cache, &Artifact { name: &name, manifest: KAFKA_MANIFEST, needed_mb: 200, fetch: &fetch })
}

/// The path of ClickHouse's library.
pub(crate) fn clickhouse(host: &Host, cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let fetch = |directory: &Path| {
        let npm = find_program("npm").ok_or(Error::MissingProgram {
            program: "npm",
            needed_for: "it downloads clickhouse",
            package: "npm",
            variable: "MILLRACE_TEST_CLICKHOUSE",
        })?;
        progress.report("clickhouse", "downloading", "178 MB");
        for (name, text) in npm_project() {
            let path = directory.join(name);
            fs::write(&path, text).map_err(io_error("write", &path))?;
        }
        let mut command = host.exec(&npm);
        // `ci` installs exactly the lock file and refuses a tarball whose hash differs from the pinned one.
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=1000"]);
        command.current_dir(directory);
        let modules = directory.join("node_modules");
        run("npm", "clickhouse", command, &mut |_| {
            // npm unpacks while it downloads; the size of what it downloads is nowhere to be seen.
            let unpacked = largest_file(&modules, 4) / 1_000_000;
            progress.report("clickhouse", "downloading", &format!("{unpacked} of 566 MB unpacked"));
        })?;
        let library = modules.join(CLICKHOUSE_PACKAGE).join(CLICKHOUSE_LIBRARY);
        fs::rename(&library, directory.join(CLICKHOUSE_LIBRARY)).map_err(io_error("move", &library))?;
        fs::remove_dir_all(&modules).map_err(io_error("remove", &modules))
    };
    let name = format!("clickhouse-{CLICKHOUSE_VERSION}");
    // The tarball in npm's cache and the unpacked library exist side by side.
    let artifact = Artifact { name: &name, manifest: CLICKHOUSE_MANIFEST, needed_mb: 900, fetch: &fetch };
    Ok(cache::ensure(cache, &artifact)?.join(CLICKHOUSE_LIBRARY))
}

/// The `java` to run: of `JAVA_HOME` if set, else of `PATH`; 17 or newer.
pub(crate) fn java() -> Result<PathBuf, Error> {
    let of_home = std::env::var_os("JAVA_HOME")
        .map(|home| Path::new(&home).join("bin/java"))
        .filter(|java| java.is_file());
    let java = of_home.or_else(|| find_program("java")).ok_or(Error::MissingProgram {
        program: "java",
        needed_for: "kafka needs java 17 or newer",
        package: "openjdk-17-jre-headless",
        variable: "MILLRACE_TEST_KAFKA",
    })?;
    let output = Command::new(&java).arg("-version").output().map_err(io_error("run", &java))?;
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    if java_major(&output).is_none_or(|major| major < OLDEST_JAVA) {
        let found = quoted_version(&output).unwrap_or("unknown").to_owned();
        return Err(Error::JavaTooOld { java: java.display().to_string(), found });
    }
    Ok(java)
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

fn quoted_version(output: &str) -> Option<&str> {
    output.split('"').nth(1)
}

/// 17 of `17.0.15`, 8 of `1.8.0_402`.
fn java_major(output: &str) -> Option<u32> {
    let mut numbers = quoted_version(output)?.split(['.', '-', '+', '_']);
    let first: u32 = numbers.next()?.parse().ok()?;
    if first == 1 { numbers.next()?.parse().ok() } else { Some(first) }
}

/// Runs a tool to its end. `watch` is called with each line of its output, and without a line every
/// [`MEASURE_EVERY`].
fn run(
    tool: &'static str,
    what: &'static str,
    mut command: Command,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<(), Error> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = || io_error("run", Path::new(tool));
    let mut child = spawn(command).map_err(failed())?;
    let (sender, lines) = mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for pipe in outputs.into_iter().flatten() {
        let sender = sender.clone();
        // Ends with the tool: it closes its pipes.
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
    drop(sender);
    let mut output = String::new();
    loop {
        match lines.recv_timeout(MEASURE_EVERY) {
            Ok(line) => {
                watch(Some(&line));
                output.extend([line.as_str(), "\n"]);
            }
            Err(RecvTimeoutError::Timeout) => watch(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if child.wait().map_err(failed())?.success() { Ok(()) } else { Err(classify(tool, what, &output)) }
}

/// The size in a line such as `Downloaded from central: https://… (1.2 MB at 3.4 MB/s)`.
fn downloaded_bytes(line: &str) -> Option<u64> {
    let (_, size) = line
        .strip_prefix("Downloaded from ")
        .or(line.strip_prefix("[INFO] Downloaded from "))?
        .rsplit_once('(')?;
    let mut words = size.split(' ');
    let (number, unit) = (words.next()?.parse::<f64>().ok()?, words.next()?);
    let bytes = match unit {
        "MB" => number * 1e6,
        "kB" | "KB" => number * 1e3,
        _ => number,
    };
    Some(bytes as u64)
}

/// Bytes of the largest file below `directory`, at most `depth` directories deep.
fn largest_file(directory: &Path, depth: u32) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        if metadata.is_dir() && depth > 0 {
            Some(largest_file(&entry.path(), depth - 1))
        } else {
            Some(metadata.len())
        }
    });
    sizes.max().unwrap_or_default()
}

/// The tools give their reasons only as text.
fn classify(tool: &'static str, what: &'static str, text: &str) -> Error {
    const UNREACHABLE: [&str; 12] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "Name or service not known",
        "Unknown host",
        "Connection refused",
        "timed out",
        "unreachable",
    ];
    let contains = |words: &str| text.contains(words);
    let detail = error_line(text);
    if contains("ENOSPC") || contains("No space left on device") {
        let path = PathBuf::from(format!("the cache of {tool} or of millrace"));
        return Error::DiskFull { path, detail };
    }
    if UNREACHABLE.into_iter().any(contains) {
        let registry = if tool == "npm" { "the npm registry" } else { "maven central" };
        return Error::NoNetwork { registry, what, detail };
    }
    Error::Download { tool, what, detail }
}

/// The first line that is an error and longer than a bare code.
fn error_line(text: &str) -> String {
    let errors = text.lines().filter(|line| line.contains("ERROR") || line.starts_with("npm error"));
    let long = errors.clone().find(|line| line.len() > 60).or_else(|| errors.clone().next());
    let line = long.or_else(|| text.lines().next_back()).unwrap_or("it wrote nothing");
    let line =
        line.trim_start_matches("\u{1b}[0m").trim_start_matches("[ERROR] ").trim_start_matches("npm error ");
    line.chars().take(300).collect()
}

fn pom_text() -> String {
    let dependency = |group: &str, name: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
        dependency("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
        dependency("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{}</dependencies></project>\n",
        dependencies.concat()
    )
}

fn npm_project() -> [(&'static str, String); 2] {
    let dependencies = serde_json::json!({ CLICKHOUSE_PACKAGE: CLICKHOUSE_VERSION });
    let package =
        serde_json::json!({ "name": "clickhouse", "version": "1.0.0", "dependencies": dependencies });
    let lock = serde_json::json!({
        "name": "clickhouse",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {
            "": package,
            (format!("node_modules/{CLICKHOUSE_PACKAGE}")): {
                "version": CLICKHOUSE_VERSION,
                "integrity": CLICKHOUSE_INTEGRITY,
            },
        },
    });
    [("package.json", package.to_string()), ("package-lock.json", lock.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_java_is_read_from_the_output_of_every_vendor() {
        for (output, major) in [
            ("openjdk version \"17.0.15\" 2025-04-15\n", Some(17)),
            ("openjdk version \"21\" 2023-09-19\n", Some(21)),
            ("java version \"1.8.0_402\"\n", Some(8)),
            ("openjdk version \"25-ea\" 2025-09-16\n", Some(25)),
            ("no java here", None),
        ] {
            assert_eq!(java_major(output), major, "{output}");
        }
    }

    #[test]
    fn a_line_of_maven_tells_how_much_was_downloaded() {
        for (line, bytes) in [
            ("Downloaded from central: https://repo/a.jar (1.2 MB at 3.4 MB/s)", Some(1_200_000)),
            ("[INFO] Downloaded from mirror: https://mirror/a.pom (813 B at 4.0 kB/s)", Some(813)),
            ("Downloaded from central: https://repo/a.jar (45 kB at 99 kB/s)", Some(45_000)),
            ("Downloading from central: https://repo/a.jar", None),
        ] {
            assert_eq!(downloaded_bytes(line), bytes, "{line}");
        }
    }

    #[test]
    fn the_output_of_the_tools_becomes_an_error_that_says_what_to_do() {
        for (tool, output, expected) in [
            (
                "npm",
                "npm error code ENOTFOUND\nnpm error network request to http://x.invalid/y failed, reason: getaddrinfo ENOTFOUND",
                "the npm registry cannot be reached to download clickhouse",
            ),
            (
                "mvn",
                "[ERROR] Plugin a:b could not be resolved: Could not transfer artifact: Connect to 127.0.0.1:9 failed: Connection refused",
                "maven central cannot be reached to download clickhouse",
            ),
            (
                "npm",
                "npm error code ENOSPC\nnpm error no space left",
                "disk full: the cache of npm or of millrace: ",
            ),
            (
                "npm",
                "npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512: wanted a but got b",
                "npm could not fetch clickhouse: Integrity checksum failed when using sha512: wanted a but got b",
            ),
        ] {
            let error = classify(tool, "clickhouse", output).to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
