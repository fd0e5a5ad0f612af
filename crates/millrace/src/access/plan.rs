//! The roles and users of a file, with everything that ClickHouse is told of them. Both forms, SQL and XML, are made of it.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aggregate::{
    Cubes,
    table::{self, quoted},
};

use super::{
    built_in::BuiltInRole,
    file::{AccessFile, Apps, Login},
    limits::Limits,
};

/// Columns of the view `dead_letters` that hold no payload: where it came from, and why it was rejected. Pointer, app_id,
/// platform and library are texts of clients, short and named by the contract.
const REASON_COLUMNS: &[&str] = &[
    "received_at",
    "code",
    "pointer",
    "origin_topic",
    "origin_partition",
    "origin_offset",
    "origin_index",
    "stage",
    "version",
    "app_id",
    "platform",
    "library",
    "payload_bytes",
];
const DEAD_LETTERS: &str = "dead_letters";
/// The cube that counts dead letters: who may read it may read their reasons.
const QUALITY: &str = "quality";
const EVENTS: &str = "events";
/// The condition of a policy that hides no row.
const ALL_ROWS: &str = "1";
/// The meaning of every metric, for all.
const METRIC_DEFINITIONS: &str = "metric_definitions";

/// Privileges on one table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) privileges: String,
    pub(crate) object: String,
}

impl Grant {
    /// As in GRANT. `SELECT(a, b) ON db.t` has its columns with the privilege.
    pub(crate) fn text(&self) -> String {
        format!("{} ON {}", self.privileges, self.object)
    }
}

/// A role as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRole {
    /// Its name on the server.
    pub(crate) name: String,
    pub(crate) grants: Vec<Grant>,
    /// Which rows it may read, by view.
    pub(crate) filters: BTreeMap<String, String>,
}

/// A user as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedUser {
    pub(crate) name: String,
    /// Names on the server.
    pub(crate) roles: Vec<String>,
    pub(crate) login: PlannedLogin,
    pub(crate) hosts: Vec<String>,
    /// None for users of the pipeline's own processes and for stewards.
    pub(crate) limits: Option<Limits>,
    /// The rows of all its roles, by view.
    pub(crate) filters: BTreeMap<String, String>,
}

/// How a user proves who it is, without the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedLogin {
    /// SHA-256 of the password.
    Sha256(String),
    Certificate(String),
    Ldap(String),
}

/// Roles and users of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessPlan {
    pub(crate) database: String,
    /// Built-in ones first.
    pub(crate) roles: Vec<PlannedRole>,
    pub(crate) users: Vec<PlannedUser>,
}

/// Roles of a pipeline have this prefix on the server, so that two pipelines can share one.
pub(crate) fn role_prefix(database: &str) -> String {
    format!("{database}_role_")
}

/// The settings profile and the quota of a user have this prefix. Who has such a profile was created by this command.
pub(crate) fn user_prefix(database: &str) -> String {
    format!("{database}_user_")
}

/// The views of a pipeline, and grants on them.
pub(crate) struct Views<'a> {
    database: &'a str,
    cubes: &'a Cubes,
}

impl<'a> Views<'a> {
    pub(super) fn database(&self) -> String {
        quoted(self.database)
    }

    pub(super) fn cubes(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.cubes.cubes.iter().map(|cube| cube.name.as_str())
    }

    pub(super) fn on(&self, privileges: &str, table: &str) -> Grant {
        Grant {
            privileges: privileges.to_owned(),
            object: format!("{}.{}", quoted(self.database), quoted(table)),
        }
    }

    /// The grants of who reads these cubes. The reasons of dead letters come with the cube that counts them; `raw` adds
    /// their payloads and single events.
    pub(super) fn of_cubes<'b>(&self, cubes: impl Iterator<Item = &'b str>, raw: bool) -> Vec<Grant> {
        let mut grants = Vec::new();
        for cube in cubes {
            grants.push(self.on("SELECT", cube));
            if cube == QUALITY && !raw {
                let columns: Vec<String> = REASON_COLUMNS.iter().map(|name| quoted(name)).collect();
                grants.push(self.on(&format!("SELECT({})", columns.join(", ")), DEAD_LETTERS));
            }
        }
        if raw {
            grants.extend([self.on("SELECT", DEAD_LETTERS), self.on("SELECT", EVENTS)]);
        }
        grants.push(self.on("SELECT", METRIC_DEFINITIONS));
        grants
    }
}

/// The views with a column `app_id` of who reads these cubes.
fn filtered<'a>(cubes: impl Iterator<Item = &'a str>, raw: bool) -> BTreeSet<&'a str> {
    let mut views: BTreeSet<&str> = cubes.collect();
    if raw {
        views.extend([DEAD_LETTERS, EVENTS]);
    } else if views.contains(QUALITY) {
        views.insert(DEAD_LETTERS);
    }
    views
}

/// The condition of a row policy. Names of applications have no quotes in them.
fn condition(apps: &Apps) -> String {
    match apps {
        Apps::All => ALL_ROWS.to_owned(),
        Apps::Only(apps) => {
            let apps: Vec<String> = apps.iter().map(|app| format!("'{app}'")).collect();
            format!("app_id IN ({})", apps.join(", "))
        }
    }
}

impl AccessPlan {
    /// The plan of a file. `sha256_of` returns the hash of the password in a file.
    ///
    /// # Errors
    /// Those of `sha256_of`, users whose roles would show more together than each of them, and a database whose name cannot
    /// be in XML.
    pub(crate) fn new(
        file: &AccessFile,
        database: &str,
        cubes: &Cubes,
        mut sha256_of: impl FnMut(&Path) -> Result<String, String>,
    ) -> Result<Self, Vec<String>> {
        let views = Views { database, cubes };
        let mut tables = table::tables(cubes);
        tables.push(table::events_table());
        let named = |name: &str| role_prefix(database) + name;
        let mut roles = Vec::new();
        for role in BuiltInRole::ALL {
            let read = if role.reads_views() {
                filtered(views.cubes(), role == BuiltInRole::Steward)
            } else {
                BTreeSet::new()
            };
            roles.push(PlannedRole {
                name: named(role.name()),
                grants: role.grants(&views, &tables),
                filters: read.into_iter().map(|view| (view.to_owned(), condition(&Apps::All))).collect(),
            });
        }
        for (name, role) in &file.roles {
            let read = || role.cubes.iter().map(String::as_str);
            let condition = condition(&role.apps);
            roles.push(PlannedRole {
                name: named(name),
                grants: views.of_cubes(read(), role.raw),
                filters: filtered(read(), role.raw)
                    .into_iter()
                    .map(|view| (view.to_owned(), condition.clone()))
                    .collect(),
            });
        }
        let mut problems = Vec::new();
        if !is_xml_name(database) {
            problems.push(format!(
                "clickhouse.database `{database}`: names of roles and users begin with it, so it must be of letters, digits, \
                 _ and -, and begin with a letter or _"
            ));
        }
        let mut users = Vec::new();
        for (name, user) in &file.users {
            problems.extend(
                payload_problem(file, &user.roles).map(|problem| format!("user `{name}`: {problem}")),
            );
            let login = match &user.login {
                Login::PasswordFile(path) => sha256_of(path).map(PlannedLogin::Sha256),
                Login::PasswordSha256(hash) => Ok(PlannedLogin::Sha256(hash.clone())),
                Login::Certificate(name) => Ok(PlannedLogin::Certificate(name.clone())),
                Login::Ldap(server) => Ok(PlannedLogin::Ldap(server.clone())),
            };
            let login = match login {
                Ok(login) => login,
                Err(problem) => {
                    problems.push(format!("user `{name}`: {problem}"));
                    continue;
                }
            };
            let of_user: Vec<String> = user.roles.iter().map(|role| named(role)).collect();
            users.push(PlannedUser {
                name: name.clone(),
                filters: united(roles.iter().filter(|role| of_user.contains(&role.name))),
                roles: of_user,
                login,
                hosts: user.hosts.clone(),
                limits: limits(file, &user.roles),
            });
        }
        if problems.is_empty() {
            Ok(Self { database: database.to_owned(), roles, users })
        } else {
            Err(problems)
        }
    }
}

/// The form `render --xml` has element names from it.
fn is_xml_name(database: &str) -> bool {
    database.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && database.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Why these roles cannot be together. ClickHouse adds the columns of one role to the rows of another, so a role with
/// payloads would show those of the applications whose reasons another role reads.
fn payload_problem(file: &AccessFile, roles: &BTreeSet<String>) -> Option<String> {
    let (mut with_payloads, mut reasons) = (Vec::new(), Vec::new());
    for name in roles {
        match (BuiltInRole::of_name(name), file.roles.get(name)) {
            (Some(BuiltInRole::Steward), _) => with_payloads.push(&Apps::All),
            (Some(BuiltInRole::Reader), _) => reasons.push((name, &Apps::All)),
            (None, Some(role)) if role.raw => with_payloads.push(&role.apps),
            (None, Some(role)) if role.cubes.contains(QUALITY) => reasons.push((name, &role.apps)),
            _ => (),
        }
    }
    let has_payloads = |app: &String| {
        with_payloads.iter().any(|apps| matches!(apps, Apps::Only(apps) if apps.contains(app)))
    };
    let exceeds = |apps: &Apps| match apps {
        Apps::All => true,
        Apps::Only(apps) => !apps.iter().all(has_payloads),
    };
    if with_payloads.is_empty() || with_payloads.contains(&&Apps::All) {
        return None;
    }
    let (role, _) = reasons.into_iter().find(|(_, apps)| exceeds(apps))?;
    Some(format!(
        "role `{role}` reads the reasons of dead letters (cube `{QUALITY}`) of applications for which no role of the user has \
         raw = true, and the user would read their payloads too: make it two users"
    ))
}

/// A row is visible if one of the roles may read it.
fn united<'a>(roles: impl Iterator<Item = &'a PlannedRole>) -> BTreeMap<String, String> {
    let mut filters: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (view, condition) in roles.flat_map(|role| &role.filters) {
        filters.entry(view.clone()).or_default().insert(condition);
    }
    // As the server shows it.
    let joined = |conditions: BTreeSet<&str>| match conditions
        .iter()
        .find(|condition| **condition == ALL_ROWS)
    {
        Some(all) => (*all).to_owned(),
        None if conditions.len() == 1 => conditions.into_iter().collect(),
        None => conditions.iter().map(|condition| format!("({condition})")).collect::<Vec<_>>().join(" OR "),
    };
    filters.into_iter().map(|(view, conditions)| (view, joined(conditions))).collect()
}

/// The highest limits of the roles; none if one of them has none.
fn limits(file: &AccessFile, roles: &BTreeSet<String>) -> Option<Limits> {
    let mut highest: Option<Limits> = None;
    for name in roles {
        let limits = match BuiltInRole::of_name(name) {
            Some(role) if !role.is_limited() => return None,
            Some(_) => Limits::default(),
            None => file.roles.get(name)?.limits.clone(),
        };
        highest = Some(highest.map_or_else(|| limits.clone(), |highest| highest.highest(&limits)));
    }
    highest
}
