//! The four roles that every pipeline has. No process needs more rights than its role.

use aggregate::table::TableSpec;

use super::plan::{Grant, Views};

/// A role that is not in `access.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BuiltInRole {
    /// `aggregate`: inserts rows and reads their markers. Also enough for `millrace reconcile`.
    Writer,
    /// `millrace migrate` and `millrace activity`: creates tables and views, which then read with its rights.
    Migrator,
    /// `millrace metrics`, `millrace report` and dashboards: the cubes of all applications, nothing of one person.
    Reader,
    /// `millrace forget`, `millrace audit` and `millrace trace`: single events, dead letters, erasure, the query log.
    Steward,
}

impl BuiltInRole {
    pub(crate) const ALL: [Self; 4] = [Self::Writer, Self::Migrator, Self::Reader, Self::Steward];

    /// Its name in `access.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Migrator => "migrator",
            Self::Reader => "reader",
            Self::Steward => "steward",
        }
    }

    /// The role of this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether its users have the limits of readers and may change no setting.
    pub(super) fn is_limited(self) -> bool {
        self == Self::Reader
    }

    /// Whether it reads views. Then it has a row policy on each: without one it would see no row where ClickHouse is
    /// configured so.
    pub(super) fn reads_views(self) -> bool {
        matches!(self, Self::Reader | Self::Steward)
    }

    /// Its rights.
    pub(super) fn grants(self, views: &Views<'_>, tables: &[TableSpec]) -> Vec<Grant> {
        match self {
            Self::Writer => tables.iter().flat_map(|table| writer(views, table)).collect(),
            Self::Migrator => migrator(views),
            Self::Reader => views.of_cubes(views.cubes(), false),
            Self::Steward => {
                let mut grants = views.of_cubes(views.cubes(), true);
                grants.push(views.on("SELECT", "activity_history"));
                grants.push(views.on("SELECT, ALTER DELETE", "events_local"));
                grants.push(views.on("SELECT, ALTER UPDATE", "dead_letters_local"));
                grants.push(views.on("SELECT, INSERT", "erasures"));
                grants.extend(
                    ["query_log", "mutations", "parts"].map(|table| Grant {
                        privileges: "SELECT".into(),
                        object: format!("system.{table}"),
                    }),
                );
                grants
            }
        }
    }
}

/// The markers of a table, by the columns that find them, and its ledger.
fn writer(views: &Views<'_>, table: &TableSpec) -> [Grant; 2] {
    /// `millrace reconcile` names the batches that cannot be decoded.
    const UNDECODABLE: [&str; 5] = ["stage", "message", "origin_topic", "origin_partition", "origin_offset"];
    let of_marker = |name: &str| {
        table.order[..table.primary].iter().any(|key| key == name)
            || name == table.time
            || name.starts_with("src")
            || name.starts_with("ledger_")
            || (table.name == "dead_letters_local" && UNDECODABLE.contains(&name))
    };
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(|column| of_marker(&column.name))
        .map(|column| aggregate::table::quoted(&column.name))
        .collect();
    [views.on("INSERT", &table.name), views.on(&format!("SELECT({})", columns.join(", ")), &table.name)]
}

fn migrator(views: &Views<'_>) -> Vec<Grant> {
    const ENGINES: [&str; 6] = [
        "MergeTree",
        "AggregatingMergeTree",
        "ReplacingMergeTree",
        "ReplicatedMergeTree",
        "ReplicatedAggregatingMergeTree",
        "ReplicatedReplacingMergeTree",
    ];
    const PRIVILEGES: &str =
        "SELECT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER ADD COLUMN, ALTER ORDER BY";
    let mut grants = vec![Grant { privileges: PRIVILEGES.into(), object: format!("{}.*", views.database()) }];
    grants.extend(["metric_definitions", "activity_history_local"].map(|table| views.on("INSERT", table)));
    // CREATE OR REPLACE VIEW creates the view under another name, swaps both and drops the old one. INSERT is what the swap
    // needs; nobody can insert into a view.
    grants.push(Grant {
        privileges: "DROP TABLE".into(),
        object: format!("{}._tmp_replace_*", views.database()),
    });
    let others = ["dead_letters", "events", "activity_history"];
    grants.extend(views.cubes().chain(others).map(|view| views.on("INSERT", view)));
    grants.extend(ENGINES.map(|engine| Grant { privileges: "TABLE ENGINE".into(), object: engine.into() }));
    grants
}
