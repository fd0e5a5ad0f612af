//! The plan as statements, in an order in which nobody has more rights than before or after.
//!
//! Roles, users and settings profiles are created once and then altered, because policies, profiles and grants belong to the
//! object and not to its name. Each statement can be repeated.
use aggregate::table::quoted;

use super::{
    limits::Limits,
    plan::{AccessPlan, PlannedLogin, PlannedRole, PlannedUser, role_prefix, user_prefix},
    xml::CHANGEABLE,
};

/// What the server has of a pipeline, by names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FoundAccess {
    /// Roles with the prefix of the pipeline.
    pub(crate) roles: Vec<String>,
    /// Users whose settings profile has the prefix of the pipeline.
    pub(crate) users: Vec<String>,
    /// Settings profiles with the prefix.
    pub(crate) profiles: Vec<String>,
    /// Quotas with the prefix.
    pub(crate) quotas: Vec<String>,
    /// Row policies of the pipeline's roles: name and view.
    pub(crate) policies: Vec<(String, String)>,
    /// Which user or role has which role, if one of them is of the pipeline.
    pub(crate) granted: Vec<(String, String)>,
    /// Users of `users` with rights that no role gives them.
    pub(crate) with_own_rights: Vec<String>,
    /// Users that are not of the pipeline. Those of files are left out: no statement can change them.
    pub(crate) foreign_users: Vec<String>,
    /// Row policies that are not of the pipeline, on its views and for its roles or users: name and view.
    pub(crate) foreign_policies: Vec<(String, String)>,
    /// The user of the connection.
    pub(crate) current_user: String,
}

/// What only a person can decide, because it was not created by `millrace access`. Nothing must be changed before.
pub(crate) fn conflicts(plan: &AccessPlan, found: &FoundAccess) -> Vec<String> {
    let mut conflicts = Vec::new();
    for user in &plan.users {
        let name = &user.name;
        if *name == found.current_user {
            conflicts.push(format!(
                "user `{name}` is the one of this connection, and would lose the right to manage access: run the command as \
                 another user"
            ));
        } else if found.foreign_users.contains(name) {
            conflicts.push(format!(
                "user `{name}` exists and was not created by millrace access for database `{}`: rename it or drop it",
                plan.database
            ));
        }
    }
    conflicts.extend(found.foreign_policies.iter().map(|(name, view)| {
        format!(
            "row policy `{name}` on {}.{view} concerns users of the file and was not created by millrace access: drop it",
            plan.database
        )
    }));
    conflicts
}

/// The statements that bring a server to the plan. None of them helps against [`conflicts`].
pub(crate) fn statements(plan: &AccessPlan, found: &FoundAccess) -> Vec<String> {
    let mut statements = revocations(plan, found);
    for role in &plan.roles {
        statements.extend(role_statements(plan, role));
    }
    for user in &plan.users {
        statements.extend(user_statements(plan, user));
    }
    statements.extend(leftovers(plan, found));
    statements
}

/// Takes rights away that are not in the plan.
fn revocations(plan: &AccessPlan, found: &FoundAccess) -> Vec<String> {
    let mut statements = Vec::new();
    let has_role = |name: &str| plan.roles.iter().any(|role| role.name == name);
    let user_of = |name: &str| plan.users.iter().find(|user| user.name == name);
    for user in found.users.iter().filter(|user| user_of(user).is_none()) {
        statements.push(format!("DROP USER IF EXISTS {}", quoted(user)));
    }
    for (grantee, role) in &found.granted {
        let keeps = user_of(grantee).is_some_and(|user| user.roles.contains(role));
        let is_dropped = user_of(grantee).is_none() && found.users.contains(grantee);
        if !keeps && !is_dropped {
            statements.push(format!("REVOKE {} FROM {}", quoted(role), quoted(grantee)));
        }
    }
    for user in found.with_own_rights.iter().filter(|user| user_of(user).is_some()) {
        statements.push(format!("REVOKE ALL ON *.* FROM {}", quoted(user)));
    }
    for role in found.roles.iter().filter(|role| !has_role(role)) {
        statements.push(format!("DROP ROLE IF EXISTS {}", quoted(role)));
    }
    statements
}

/// Removes what nobody uses any more: a policy only after the role has lost its right on the view, because without a policy
/// it could read all rows.
fn leftovers(plan: &AccessPlan, found: &FoundAccess) -> Vec<String> {
    let mut statements = Vec::new();
    let user_of = |name: &str| plan.users.iter().find(|user| user.name == name);
    for (name, view) in &found.policies {
        let role = plan.roles.iter().find(|role| role.name == *name);
        if role.is_none_or(|role| !role.filters.contains_key(view)) {
            statements.push(format!(
                "DROP ROW POLICY IF EXISTS {} ON {}.{}",
                quoted(name),
                quoted(&plan.database),
                quoted(view)
            ));
        }
    }
    let prefix = user_prefix(&plan.database);
    let is_limited =
        |name: &str| name.strip_prefix(&prefix).and_then(user_of).is_some_and(|user| user.limits.is_some());
    for name in found.quotas.iter().filter(|name| !is_limited(name)) {
        statements.push(format!("DROP QUOTA IF EXISTS {}", quoted(name)));
    }
    let has_user = |name: &str| name.strip_prefix(&prefix).is_some_and(|user| user_of(user).is_some());
    for name in found.profiles.iter().filter(|name| !has_user(name)) {
        statements.push(format!("DROP SETTINGS PROFILE IF EXISTS {}", quoted(name)));
    }
    statements
}

fn role_statements(plan: &AccessPlan, role: &PlannedRole) -> Vec<String> {
    let name = quoted(&role.name);
    let mut statements = vec![format!("CREATE ROLE IF NOT EXISTS {name}")];
    // The policies first: no moment in which the role may read a view without one.
    for (view, condition) in &role.filters {
        statements.push(format!(
            "CREATE ROW POLICY OR REPLACE {name} ON {}.{} FOR SELECT USING {condition} TO {name}",
            quoted(&plan.database),
            quoted(view)
        ));
    }
    let grants: Vec<String> = role.grants.iter().map(super::plan::Grant::text).collect();
    statements.push(format!("GRANT {} TO {name} WITH REPLACE OPTION", grants.join(", ")));
    statements.push(format!("ALTER ROLE {name} SETTINGS NONE"));
    statements
}

fn user_statements(plan: &AccessPlan, user: &PlannedUser) -> Vec<String> {
    let name = quoted(&user.name);
    let limits_name = quoted(&(user_prefix(&plan.database) + &user.name));
    let login = match &user.login {
        PlannedLogin::Sha256(hash) => format!("sha256_hash BY '{hash}'"),
        PlannedLogin::Certificate(common_name) => format!("ssl_certificate CN {}", text(common_name)),
        PlannedLogin::Ldap(server) => format!("ldap SERVER {}", text(server)),
    };
    let hosts = if user.hosts.is_empty() {
        "ANY".to_owned()
    } else {
        user.hosts.iter().map(|host| format!("IP '{host}'")).collect::<Vec<_>>().join(", ")
    };
    let roles = user.roles.iter().map(|role| quoted(role)).collect::<Vec<_>>().join(", ");
    let settings = user.limits.as_ref().map_or_else(|| "NONE".to_owned(), settings);
    // The user that creates the database could not log in with a default database.
    let database = if user.limits.is_some() { quoted(&plan.database) } else { "NONE".to_owned() };
    let account = format!("{name} IDENTIFIED WITH {login} HOST {hosts} DEFAULT DATABASE {database}");
    let mut statements = vec![
        format!("CREATE SETTINGS PROFILE IF NOT EXISTS {limits_name}"),
        format!("ALTER SETTINGS PROFILE {limits_name} SETTINGS {settings}"),
        format!("CREATE USER IF NOT EXISTS {account} SETTINGS PROFILE {limits_name}"),
        format!("ALTER USER {account} SETTINGS PROFILE {limits_name}"),
    ];
    if let Some(limits) = &user.limits {
        statements.push(format!(
            "CREATE QUOTA OR REPLACE {limits_name} FOR INTERVAL 1 hour MAX queries = {} TO {name}",
            limits.queries_per_hour
        ));
    }
    statements.push(format!("GRANT {roles} TO {name}"));
    statements.push(format!("ALTER USER {name} DEFAULT ROLE {roles}"));
    statements
}

/// The settings of a profile: nothing can be changed but the few that clients send.
fn settings(limits: &Limits) -> String {
    let seconds = limits.execution_time.as_secs();
    let mut settings = vec![
        "readonly = 1".to_owned(),
        format!("max_execution_time = {seconds} MIN 1 MAX {seconds} CHANGEABLE_IN_READONLY"),
        format!("max_memory_usage = {}", limits.memory.as_u64()),
        format!("max_result_rows = {}", limits.result_rows),
        format!("max_concurrent_queries_for_user = {}", limits.concurrent_queries),
    ];
    settings.extend(CHANGEABLE.iter().map(|name| format!("{name} CHANGEABLE_IN_READONLY")));
    settings.join(", ")
}

/// A statement for the screen: whoever knows a hash can find a weak password by trying.
pub(crate) fn without_hashes(statement: &str) -> String {
    const HASH: &str = "sha256_hash BY '";
    match statement.split_once(HASH).map(|(before, rest)| (before, rest.split_once('\''))) {
        Some((before, Some((_, after)))) => format!("{before}{HASH}…'{after}"),
        _ => statement.to_owned(),
    }
}

/// A text in quotes.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Whether a line of SHOW ACCESS is about the pipeline: its roles, its users, or what they have.
pub(crate) fn concerns(plan: &AccessPlan, found: &FoundAccess, line: &str) -> bool {
    let prefixes = [role_prefix(&plan.database), user_prefix(&plan.database)];
    let users = plan.users.iter().map(|user| &user.name).chain(&found.users);
    let words: Vec<&str> =
        line.split(|char: char| !(char.is_alphanumeric() || "_-".contains(char))).collect();
    prefixes.iter().any(|prefix| words.iter().any(|word| word.starts_with(prefix.as_str())))
        || users.into_iter().any(|user| words.contains(&user.as_str()))
}
