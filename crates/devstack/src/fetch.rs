//! Where the servers come from: Maven Central and npm, through the user's own tools, so that proxies, mirrors and
//! caches work as they do elsewhere on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cache::{self, Artifact};
use crate::error::{Error, io_error};
use crate::spawn::{Host, spawn};
use crate::stack::Progress;

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

/// The directory of Kafka's jars.
pub(crate) fn kafka(host: &Host, cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let fetch = |directory: &Path| {
        let maven = find_program("mvn").ok_or(Error::MissingProgram {
            program: "mvn",
            needed_for: "it downloads kafka",
            package: "maven",
            variable: "MILLRACE_TEST_KAFKA",
        })?;
        progress.say("downloading kafka 4.2.0 (55 MB, maven)");
        let pom = directory.join("pom.xml");
        fs::write(&pom, pom_text()).map_err(io_error("write", &pom))?;
        let mut command = host.exec(&maven);
        command.args(["-q", "-B", MAVEN_GOAL, "-DoutputDirectory=."]).current_dir(directory);
        run("mvn", "kafka", command)
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
        progress.say("downloading clickhouse 26.7 (178 MB, npm)");
        for (name, text) in npm_project() {
            let path = directory.join(name);
            fs::write(&path, text).map_err(io_error("write", &path))?;
        }
        let mut command = host.exec(&npm);
        // `ci` installs exactly the lock file and refuses a tarball whose hash differs from the pinned one.
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=1000"]);
        command.current_dir(directory);
        run("npm", "clickhouse", command)?;
        let modules = directory.join("node_modules");
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
    let answer = String::from_utf8_lossy(&output.stderr).into_owned();
    if java_major(&answer).is_none_or(|major| major < OLDEST_JAVA) {
        let found = quoted_version(&answer).unwrap_or("unknown").to_owned();
        return Err(Error::JavaTooOld { java: java.display().to_string(), found });
    }
    Ok(java)
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

fn quoted_version(answer: &str) -> Option<&str> {
    answer.split('"').nth(1)
}

/// `17.0.15` is 17; what called itself `1.8.0_402` is 8.
fn java_major(answer: &str) -> Option<u32> {
    let mut numbers = quoted_version(answer)?.split(['.', '-', '+', '_']);
    let first: u32 = numbers.next()?.parse().ok()?;
    if first == 1 { numbers.next()?.parse().ok() } else { Some(first) }
}

fn run(tool: &'static str, what: &'static str, mut command: Command) -> Result<(), Error> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command)
        .and_then(|child| child.wait_with_output())
        .map_err(io_error("run", Path::new(tool)))?;
    if output.status.success() { Ok(()) } else { Err(classify(tool, what, &output)) }
}

/// The tools tell their reasons in words only.
fn classify(tool: &'static str, what: &'static str, output: &Output) -> Error {
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
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let says = |words: &str| text.contains(words);
    let detail = telling_line(&text);
    if says("ENOSPC") || says("No space left on device") {
        return Error::DiskFull { path: PathBuf::from(format!("the cache of {tool} or ours")), detail };
    }
    if UNREACHABLE.into_iter().any(says) {
        let registry = if tool == "npm" { "the npm registry" } else { "maven central" };
        return Error::NoNetwork { registry, what, detail };
    }
    Error::Download { tool, what, detail }
}

/// The first line that is an error and says more than a bare code.
fn telling_line(text: &str) -> String {
    let errors = text.lines().filter(|line| line.contains("ERROR") || line.starts_with("npm error"));
    let telling = errors.clone().find(|line| line.len() > 60).or_else(|| errors.clone().next());
    let line = telling.or_else(|| text.lines().next_back()).unwrap_or("it wrote nothing");
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
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn the_major_version_of_java_is_read_from_every_vendors_answer() {
        for (answer, major) in [
            ("openjdk version \"17.0.15\" 2025-04-15\n", Some(17)),
            ("openjdk version \"21\" 2023-09-19\n", Some(21)),
            ("java version \"1.8.0_402\"\n", Some(8)),
            ("openjdk version \"25-ea\" 2025-09-16\n", Some(25)),
            ("no java here", None),
        ] {
            assert_eq!(java_major(answer), major, "{answer}");
        }
    }

    #[test]
    fn the_words_of_the_tools_become_errors_that_say_what_to_do() {
        for (tool, words, expected) in [
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
                "disk full: the cache of npm or ours: ",
            ),
            (
                "npm",
                "npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512: wanted a but got b",
                "npm could not fetch clickhouse: Integrity checksum failed when using sha512: wanted a but got b",
            ),
        ] {
            let output = Output { status: ExitStatus::from_raw(256), stdout: vec![], stderr: words.into() };
            let error = classify(tool, "clickhouse", &output).to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
