//! `access.toml`, read and checked. Reading goes on after a mistake, so that all of them are reported together.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use aggregate::Cubes;
use serde::Deserialize;

use super::{built_in::BuiltInRole, limits::Limits};
use crate::nearest::nearest;

/// All applications, or all subjects.
const ALL: &str = "*";

/// A file without mistakes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AccessFile {
    /// By their names in the file.
    pub(crate) roles: BTreeMap<String, TeamRole>,
    /// By their names.
    pub(crate) users: BTreeMap<String, User>,
}

/// A role of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TeamRole {
    pub(crate) apps: Apps,
    /// Names of cubes.
    pub(crate) cubes: BTreeSet<String>,
    /// Whether it may read single events, and the payloads of dead letters.
    pub(crate) raw: bool,
    pub(crate) limits: Limits,
}

/// Whose rows a role may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Apps {
    All,
    Only(BTreeSet<String>),
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Roles of the file and built-in ones.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) login: Login,
    /// Addresses and networks from which the user may connect; none for any.
    pub(crate) hosts: Vec<String>,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// The password is in this file.
    PasswordFile(PathBuf),
    /// The SHA-256 of the password, in hexadecimal.
    PasswordSha256(String),
    /// The common name of a client certificate.
    Certificate(String),
    /// A server of the section `ldap_servers` of ClickHouse's configuration.
    Ldap(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    subject: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    role: BTreeMap<String, WrittenRole>,
    #[serde(default)]
    user: BTreeMap<String, WrittenUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRole {
    apps: Vec<String>,
    subjects: Vec<String>,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenUser {
    roles: BTreeSet<String>,
    password_file: Option<PathBuf>,
    password_sha256: Option<String>,
    certificate: Option<String>,
    ldap: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
}

impl AccessFile {
    /// Reads a file for a pipeline with these cubes. `known_apps` are those of `ingest.apps`; empty for any.
    ///
    /// # Errors
    /// Every mistake, with what to do.
    pub(crate) fn parse(text: &str, cubes: &Cubes, known_apps: &[String]) -> Result<Self, Vec<String>> {
        let written: WrittenFile = toml::from_str(text).map_err(|error| vec![toml_problem(text, &error)])?;
        let mut problems = Vec::new();
        let subjects: BTreeMap<&str, BTreeSet<&str>> = written
            .subject
            .iter()
            .map(|(name, cubes)| (name.as_str(), cubes.iter().map(String::as_str).collect()))
            .collect();
        for (name, views) in &subjects {
            let mut found = check_name(name);
            found.extend(views.iter().filter(|view| cubes.get(view).is_none()).map(|view| {
                let known = cubes.cubes.iter().map(|cube| cube.name.as_str());
                unknown("cube", view, known)
            }));
            problems.extend(found.into_iter().map(|problem| format!("subject `{name}`: {problem}")));
        }
        let mut roles = BTreeMap::new();
        for (name, role) in written.role {
            let mut found = check_name(&name);
            if BuiltInRole::of_name(&name).is_some() {
                found.push("this is the name of a built-in role: choose another".to_owned());
            }
            let role = team_role(role, &subjects, cubes, known_apps, &mut found);
            problems.extend(found.into_iter().map(|problem| format!("role `{name}`: {problem}")));
            roles.insert(name, role);
        }
        let mut users = BTreeMap::new();
        for (name, user) in written.user {
            let (user, found) = account(&name, user, &roles);
            problems.extend(found.into_iter().map(|problem| format!("user `{name}`: {problem}")));
            users.extend(user.map(|user| (name, user)));
        }
        if problems.is_empty() { Ok(Self { roles, users }) } else { Err(problems) }
    }
}

/// With the number of the line and not its text, in which a password may be.
fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', " "))
}

fn team_role(
    written: WrittenRole,
    subjects: &BTreeMap<&str, BTreeSet<&str>>,
    cubes: &Cubes,
    known_apps: &[String],
    problems: &mut Vec<String>,
) -> TeamRole {
    let apps = apps(written.apps, known_apps, problems);
    let mut of_subjects = BTreeSet::new();
    if written.subjects.is_empty() {
        problems.push("subjects is empty: name at least one, or [\"*\"] for all cubes".into());
    }
    for subject in &written.subjects {
        if subject == ALL {
            of_subjects.extend(cubes.cubes.iter().map(|cube| cube.name.clone()));
        } else if let Some(views) = subjects.get(subject.as_str()) {
            of_subjects.extend(views.iter().map(|view| (*view).to_owned()));
        } else {
            let of_cube = cubes.get(subject).map(|_| format!(
                "`{subject}` is a cube, not a subject: add it to a subject, [subject] {subject} = [\"{subject}\"]"
            ));
            problems.push(of_cube.unwrap_or_else(|| unknown("subject", subject, subjects.keys().copied())));
        }
    }
    if apps != Apps::All {
        let without_app = of_subjects.iter().filter(|name| {
            let app_id =
                |cube: &aggregate::cube::Cube| cube.dimensions.iter().any(|one| one.name == "app_id");
            cubes.get(name).is_some_and(|cube| !app_id(cube))
        });
        problems.extend(without_app.map(|name| {
            format!("cube `{name}` has no dimension app_id, so only a role with apps = [\"*\"] can read it")
        }));
    }
    problems.extend(written.limits.problems());
    TeamRole { apps, cubes: of_subjects, raw: written.raw, limits: written.limits }
}

fn apps(written: Vec<String>, known: &[String], problems: &mut Vec<String>) -> Apps {
    if written.is_empty() {
        problems.push("apps is empty: name at least one application, or [\"*\"] for all".into());
    }
    if written.iter().any(|app| app == ALL) {
        if written.len() > 1 {
            problems.push("apps has \"*\" and others: \"*\" stands alone".into());
        }
        return Apps::All;
    }
    for app in &written {
        let plain = |char: char| char.is_ascii_alphanumeric() || "_.:-".contains(char);
        if app.is_empty() || !app.chars().all(plain) {
            problems.push(format!("app `{app}` must be of letters, digits and _ . : -"));
        } else if !known.is_empty() && !known.contains(app) {
            problems.push(format!(
                "{} in ingest.apps",
                unknown("application", app, known.iter().map(String::as_str))
            ));
        }
    }
    Apps::Only(written.into_iter().collect())
}

fn account(
    name: &str,
    written: WrittenUser,
    roles: &BTreeMap<String, TeamRole>,
) -> (Option<User>, Vec<String>) {
    let mut problems = Vec::new();
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || !name.chars().all(plain) {
        problems.push("a user name must be of letters, digits, _ and -, and begin with a letter".into());
    }
    if name == "default" {
        problems.push("this user belongs to the server: choose another name".into());
    }
    if written.roles.is_empty() {
        problems.push("roles is empty: without a role the user can read nothing".into());
    }
    for role in &written.roles {
        if BuiltInRole::of_name(role).is_none() && !roles.contains_key(role) {
            let built_in = BuiltInRole::ALL.iter().map(|role| role.name());
            problems.push(unknown("role", role, roles.keys().map(String::as_str).chain(built_in)));
        }
    }
    for host in &written.hosts {
        if !is_network(host) {
            problems.push(format!("host `{host}` must be an address or a network, such as 10.1.0.0/16"));
        }
    }
    let WrittenUser { password_file, password_sha256, certificate, ldap, .. } = written;
    let given = [
        password_file.map(Login::PasswordFile),
        password_sha256.map(|hash| Login::PasswordSha256(hash.to_ascii_lowercase())),
        certificate.map(Login::Certificate),
        ldap.map(Login::Ldap),
    ];
    let mut given: Vec<Login> = given.into_iter().flatten().collect();
    if given.len() != 1 {
        problems.push(format!(
            "it has {} of password_file, password_sha256, certificate and ldap: give exactly one",
            given.len()
        ));
    }
    let login = given.pop();
    match &login {
        Some(Login::PasswordSha256(hash))
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            problems.push(
                "password_sha256 must have 64 hexadecimal digits: printf %s PASSWORD | sha256sum".into(),
            );
        }
        Some(Login::Certificate(text) | Login::Ldap(text)) if text.is_empty() => {
            problems.push("certificate and ldap must not be empty".into());
        }
        _ => (),
    }
    (login.map(|login| User { roles: written.roles, login, hosts: written.hosts }), problems)
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn check_name(name: &str) -> Vec<String> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 64;
    let problem = "its name must be of a-z, 0-9 and _, begin with a letter and have at most 64 characters";
    if plain { Vec::new() } else { vec![problem.to_owned()] }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        "" => format!("there is no {what} `{name}`"),
        nearest => format!("there is no {what} `{name}`; the nearest is `{nearest}`"),
    }
}
