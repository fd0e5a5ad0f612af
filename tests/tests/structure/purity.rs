//! Which files may use Kafka, ClickHouse, Tokio, HTTP, files, threads and clocks. All others compute values from values,
//! and time is an argument.

use crate::{imports::paths, source::Source, workspace::TextFile};

/// A library or type with effects, and the beginnings of the paths of the files that may use it.
pub(crate) struct Effect {
    pub(crate) path: &'static str,
    pub(crate) allowed: &'static [&'static str],
}

/// Crates that exist to run servers and processes: they may use everything.
const SHELLS: &[&str] = &["crates/devstack/src/", "crates/bench/src/", "tests/src/"];

pub(crate) const EFFECTS: &[Effect] = &[
    Effect {
        path: "rdkafka",
        allowed: &[
            "crates/kafka/src/",
            "crates/enrich/src/shell/",
            "crates/aggregate/src/lane/worker.rs",
            "crates/millrace/src/backlog/",
            "crates/millrace/src/command/",
            "crates/millrace/src/error.rs",
            "crates/millrace/src/json_lines/",
            "crates/millrace/src/registry.rs",
            "crates/millrace/src/topic_reader.rs",
            "crates/simulator/src/produce.rs",
        ],
    },
    Effect {
        path: "clickhouse",
        allowed: &[
            "crates/aggregate/src/insert.rs",
            "crates/aggregate/src/migrate.rs",
            "crates/aggregate/src/server",
            "crates/millrace/src/command/",
            "crates/millrace/src/metrics/clickhouse.rs",
            "crates/millrace/src/tables.rs",
            "crates/millrace/src/tables/",
        ],
    },
    Effect {
        path: "tokio",
        allowed: &[
            "crates/kafka/src/topic/check.rs",
            "crates/runtime/src/http.rs",
            "crates/runtime/src/process.rs",
            "crates/runtime/src/shutdown.rs",
            "crates/aggregate/src/insert.rs",
            "crates/aggregate/src/lane.rs",
            "crates/aggregate/src/lane/delivery.rs",
            "crates/aggregate/src/lane/worker.rs",
            "crates/aggregate/src/process.rs",
            "crates/aggregate/src/server.rs",
            "crates/millrace/src/command/",
            "crates/millrace/src/context.rs",
            "crates/millrace/src/metrics/clickhouse.rs",
            "crates/millrace/src/report/data.rs",
            "crates/millrace/src/tables/",
        ],
    },
    Effect { path: "axum", allowed: &["crates/runtime/src/http.rs"] },
    Effect { path: "std::net::TcpListener", allowed: &[] },
    Effect { path: "std::net::TcpStream", allowed: &["crates/runtime/src/tls.rs"] },
    Effect {
        path: "std::fs",
        allowed: &[
            "crates/runtime/src/config/",
            "crates/enrich/src/shell/",
            "crates/aggregate/src/process.rs",
            "crates/millrace/src/command/",
        ],
    },
    Effect {
        path: "std::thread",
        allowed: &[
            "crates/kafka/src/",
            "crates/runtime/src/crash.rs",
            "crates/runtime/src/rebuild.rs",
            "crates/runtime/src/stage",
            "crates/enrich/src/shell/",
            "crates/aggregate/src/process.rs",
            "crates/millrace/src/command/",
            "crates/millrace/src/topic_reader.rs",
            "crates/simulator/src/produce.rs",
        ],
    },
    Effect {
        path: "std::time::Instant",
        allowed: &[
            "crates/kafka/src/",
            "crates/runtime/src/health.rs",
            "crates/runtime/src/rebuild.rs",
            "crates/runtime/src/shutdown.rs",
            "crates/runtime/src/stage/",
            "crates/ingest/src/rejection_log.rs",
            "crates/ingest/src/shell/",
            "crates/enrich/src/shell/",
            "crates/aggregate/src/insert.rs",
            "crates/aggregate/src/lane.rs",
            "crates/aggregate/src/lane/assignment.rs",
            "crates/aggregate/src/lane/commit.rs",
            "crates/aggregate/src/lane/execute.rs",
            "crates/aggregate/src/lane/stop.rs",
            "crates/aggregate/src/lane/unwritten.rs",
            "crates/aggregate/src/lane/worker.rs",
            "crates/aggregate/src/server.rs",
            "crates/millrace/src/command/",
            "crates/millrace/src/topic_reader.rs",
            "crates/simulator/src/produce.rs",
        ],
    },
    Effect {
        path: "std::time::SystemTime",
        allowed: &[
            "crates/aggregate/src/time.rs",
            "crates/enrich/src/shell/raw_progress.rs",
            "crates/simulator/src/produce.rs",
        ],
    },
];

/// Every use by a file that is not listed.
pub(crate) fn findings(files: &[TextFile], effects: &[Effect]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        if SHELLS.iter().any(|shell| file.path.starts_with(shell)) {
            continue;
        }
        let source = Source::parse(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        let paths = paths(&source.tokens);
        let is_of_crate = |path: &[String]| ["crate", "self", "super"].contains(&path[0].as_str());
        let own_names: Vec<&String> =
            paths.iter().filter(|(path, _)| is_of_crate(path)).filter_map(|(path, _)| path.last()).collect();
        for (path, line) in &paths {
            // A module of the crate may have the name of a library.
            if own_names.contains(&&path[0]) {
                continue;
            }
            let path = path.join("::");
            let forbidden = effects.iter().find(|effect| {
                let is_it = path == effect.path || path.starts_with(&format!("{}::", effect.path));
                is_it && !effect.allowed.iter().any(|allowed| file.path.starts_with(allowed))
            });
            if forbidden.is_some() {
                found.push(format!("{}:{line}: uses {path}", file.path));
            }
        }
    }
    found
}

/// Every listed path without a use.
pub(crate) fn stale(files: &[TextFile], effects: &[Effect]) -> Vec<String> {
    let mut found = Vec::new();
    for effect in effects {
        for allowed in effect.allowed {
            let without = Effect { path: effect.path, allowed: &[] };
            let own: Vec<TextFile> =
                files.iter().filter(|file| file.path.starts_with(allowed)).cloned().collect();
            if findings(&own, &[without]).is_empty() {
                found.push(format!("{allowed} does not use {}", effect.path));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Effect = Effect { path: "std::time::Instant", allowed: &["crates/a/src/shell.rs"] };

    #[track_caller]
    fn check(path: &str, text: &str, expected: usize) {
        let files = [TextFile { path: path.into(), text: text.into() }];
        assert_eq!(findings(&files, &[CLOCK]).len(), expected, "{path}: {text}");
    }

    #[test]
    fn only_listed_files_may_use_it() {
        let text = "use std::{fs, time::{Duration, Instant}};";
        check("crates/a/src/pure.rs", text, 1);
        check("crates/a/src/shell.rs", text, 0);
        check("crates/a/src/pure.rs", "fn f() { std::time::Instant::now(); }", 1);
        check("crates/a/src/pure.rs", "use std::time::Duration; // Instant", 0);
        check("crates/a/src/pure.rs", "#[cfg(test)] mod tests { use std::time::Instant; }", 0);
    }

    #[test]
    fn a_listed_file_that_does_not_use_it_is_found() {
        let file = |text: &str| [TextFile { path: "crates/a/src/shell.rs".into(), text: text.into() }];
        assert_eq!(stale(&file("use std::time::Instant;"), &[CLOCK]), Vec::<String>::new());
        assert_eq!(stale(&file("use std::time::Duration;"), &[CLOCK]).len(), 1);
    }
}
