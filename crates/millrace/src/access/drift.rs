//! A plan and what a server has, as sentences: a sentence of one side only is a difference. Passwords are not compared,
//! because the server does not show them.
use std::{collections::BTreeSet, net::IpAddr};

use super::{
    plan::{AccessPlan, Grant, PlannedLogin, user_prefix},
    xml::CHANGEABLE,
};

/// The sentences of one side.
pub(crate) type Facts = BTreeSet<String>;

/// How a server keeps roles and users. In a file, row policies belong to users; in SQL, to roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    File,
    Sql,
}

pub(crate) fn role(name: &str) -> String {
    format!("role {name}")
}

pub(crate) fn login(user: &str, kind: &str) -> String {
    format!("user {user} logs in with {kind}")
}

/// `networks` in alphabetical order.
pub(crate) fn hosts(user: &str, networks: &str) -> String {
    format!("user {user} connects from {networks}")
}

pub(crate) fn membership(user: &str, role: &str) -> String {
    format!("user {user} has role {role}")
}

/// `columns` in alphabetical order, empty for all; `object` without quotes, and without the `*` at its end.
pub(crate) fn right(grantee: &str, privilege: &str, columns: &str, object: &str) -> String {
    let columns = if columns.is_empty() { String::new() } else { format!("({columns})") };
    format!("{grantee} may {privilege}{columns} on {object}")
}

pub(crate) fn policy(name: &str, view: &str, readers: &str, condition: &str) -> String {
    format!("row policy {name} on {view} for {readers}: {condition}")
}

/// `terms`: the value, and what it can be changed to.
pub(crate) fn setting(owner: &str, name: &str, terms: &str) -> String {
    format!("{owner} sets {name}{terms}")
}

pub(crate) fn profile(user: &str, profile: &str) -> String {
    format!("user {user} has settings profile {profile}")
}

pub(crate) fn quota(name: &str, seconds: u32, queries: u64) -> String {
    format!("quota {name} allows {queries} queries in {seconds} s")
}

/// What the server of a plan has.
pub(crate) fn expected(plan: &AccessPlan, storage: Storage) -> Facts {
    let mut facts = Facts::new();
    for planned in &plan.roles {
        facts.insert(role(&planned.name));
        for grant in &planned.grants {
            facts.extend(rights(&planned.name, grant));
        }
        if storage == Storage::Sql {
            let of_role =
                |(view, condition): (&String, &String)| policy(&planned.name, view, &planned.name, condition);
            facts.extend(planned.filters.iter().map(of_role));
        }
    }
    for user in &plan.users {
        let kind = match &user.login {
            PlannedLogin::Sha256(_) => "sha256_password",
            PlannedLogin::Certificate(_) => "ssl_certificate",
            PlannedLogin::Ldap(_) => "ldap",
        };
        facts.insert(login(&user.name, kind));
        facts.insert(hosts(&user.name, &networks(&user.hosts).join(", ")));
        facts.extend(user.roles.iter().map(|role| membership(&user.name, role)));
        if storage == Storage::File {
            let of_user =
                |(view, condition): (&String, &String)| policy(&user.name, view, &user.name, condition);
            facts.extend(user.filters.iter().map(of_user));
        }
        let Some(limits) = &user.limits else { continue };
        let limits_name = user_prefix(&plan.database) + &user.name;
        let seconds = limits.execution_time.as_secs();
        let mut settings = vec![
            ("readonly", " = 1".to_owned()),
            ("max_execution_time", format!(" = {seconds} from 1 to {seconds} CHANGEABLE_IN_READONLY")),
            ("max_memory_usage", format!(" = {}", limits.memory.as_u64())),
            ("max_result_rows", format!(" = {}", limits.result_rows)),
            ("max_concurrent_queries_for_user", format!(" = {}", limits.concurrent_queries)),
        ];
        settings.extend(CHANGEABLE.map(|name| (name, " CHANGEABLE_IN_READONLY".to_owned())));
        facts.extend(settings.iter().map(|(name, terms)| setting(&limits_name, name, terms)));
        facts.insert(profile(&user.name, &limits_name));
        facts.insert(quota(&limits_name, 3600, limits.queries_per_hour));
    }
    facts
}

/// One sentence for each privilege of a grant.
fn rights(grantee: &str, grant: &Grant) -> Vec<String> {
    let object = grant.object.replace('`', "");
    let object = object.trim_end_matches('*');
    if let Some((privilege, columns)) = grant.privileges.split_once('(') {
        let mut columns: Vec<String> =
            columns.trim_end_matches(')').split(", ").map(|column| column.replace('`', "")).collect();
        columns.sort_unstable();
        return vec![right(grantee, privilege, &columns.join(", "), object)];
    }
    grant.privileges.split(", ").map(|privilege| right(grantee, privilege, "", object)).collect()
}

/// Addresses and networks as ClickHouse shows them: without the bits of a host, and this machine as `localhost`.
fn networks(hosts: &[String]) -> Vec<String> {
    if hosts.is_empty() {
        return vec!["::/0".into()];
    }
    let shown = |host: &String| {
        let (address, bits) =
            host.split_once('/').map_or((host.as_str(), None), |(one, two)| (one, Some(two)));
        let (Ok(address), bits) = (address.parse::<IpAddr>(), bits.and_then(|bits| bits.parse::<u32>().ok()))
        else {
            return host.clone();
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        match bits.filter(|bits| *bits < width) {
            None if address.is_loopback() => "localhost".to_owned(),
            None => address.to_string(),
            Some(bits) => format!("{}/{bits}", network(address, bits)),
        }
    };
    let mut networks: Vec<String> = hosts.iter().map(shown).collect();
    networks.sort_unstable();
    networks
}

fn network(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            IpAddr::from((address.to_bits() & !u32::MAX.checked_shr(bits).unwrap_or(0)).to_be_bytes())
        }
        IpAddr::V6(address) => {
            IpAddr::from((address.to_bits() & !u128::MAX.checked_shr(bits).unwrap_or(0)).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_as_the_server_shows_them() {
        let hosts =
            ["127.0.0.1", "::1", "10.1.2.3", "10.1.2.3/32", "10.1.2.3/16", "0.0.0.0/0", "2001:DB8::1/32"];
        let expected =
            ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.3", "10.1.2.3", "2001:db8::/32", "localhost", "localhost"];
        assert_eq!(networks(&hosts.map(str::to_owned)), expected);
        assert_eq!(networks(&[]), ["::/0"]);
    }
}
