//! What a server has of a pipeline's access, read from its system tables as the sentences of [`crate::access::drift`].
use clickhouse::{Client, RowOwned, RowRead, error::Error};

use crate::access::{
    drift::{self, Facts, Storage},
    plan::{AccessPlan, role_prefix, user_prefix},
};

/// Rights of the pipeline's roles, and rights that a user has without a role.
const RIGHTS: &str = "\
SELECT if(role_name IS NULL, assumeNotNull(user_name), assumeNotNull(role_name)) AS grantee, \
  concat(if(is_partial_revoke, 'NOT ', ''), toString(access_type), if(grant_option, ' WITH GRANT OPTION', '')) AS privilege, \
  arrayStringConcat(arraySort(groupArrayIf(ifNull(column, ''), column IS NOT NULL)), ', '), \
  if(ifNull(access_object, '') != '', assumeNotNull(access_object), concat(ifNull(database, '*'), '.', ifNull(table, ''))) AS object \
FROM system.grants WHERE startsWith(ifNull(role_name, ''), ?) OR has(?, ifNull(user_name, '')) \
GROUP BY grantee, privilege, object";

/// Every row policy in the database that concerns a role or a user of the file: another one can show more rows.
const POLICIES: &str = "\
SELECT short_name, concat(table, if(is_restrictive, ' (restrictive)', '')), \
  if(apply_to_all, 'ALL', arrayStringConcat(arraySort(apply_to_list), ', ')), \
  ifNull(select_filter, '') FROM system.row_policies \
WHERE database = ? AND (apply_to_all OR startsWith(short_name, ?) OR hasAny(apply_to_list, ?) \
  OR arrayExists(name -> startsWith(name, ?), apply_to_list))";

const ELEMENTS: &str = "\
SELECT coalesce(profile_name, user_name, role_name, ''), assumeNotNull(setting_name), \
  concat(if(value IS NULL, '', concat(' = ', ifNull(value, ''))), if(min IS NULL, '', concat(' from ', ifNull(min, ''))), \
    if(max IS NULL, '', concat(' to ', ifNull(max, ''))), if(writability IS NULL, '', concat(' ', ifNull(toString(writability), '')))) \
FROM system.settings_profile_elements WHERE setting_name IS NOT NULL AND \
  (startsWith(ifNull(profile_name, ''), ?) OR has(?, ifNull(user_name, '')) OR startsWith(ifNull(role_name, ''), ?))";

type FourTexts = (String, String, String, String);

/// Whether the user may see roles and users.
pub(super) async fn may_read(client: &Client) -> Result<bool, Error> {
    Ok(client.query_raw("CHECK GRANT SHOW ACCESS ON *.*").fetch_one::<u8>().await? == 1)
}

/// The storage and the sentences.
pub(super) async fn read(client: &Client, plan: &AccessPlan) -> Result<(Storage, Facts), Error> {
    let (roles, of_users) = (role_prefix(&plan.database), user_prefix(&plan.database));
    let users: Vec<&str> = plan.users.iter().map(|user| user.name.as_str()).collect();
    let limited: Vec<&str> =
        plan.users.iter().filter(|user| user.limits.is_some()).map(|user| user.name.as_str()).collect();
    let found: Vec<(String, String)> =
        rows(client.query("SELECT name, storage FROM system.roles WHERE startsWith(name, ?)").bind(&roles))
            .await?;
    let in_files = !found.is_empty() && found.iter().all(|(_, storage)| storage == "users_xml");
    let mut facts: Facts = found.iter().map(|(name, _)| drift::role(name)).collect();

    let rights = client.query(RIGHTS).bind(&roles).bind(&users);
    for (grantee, privilege, columns, object) in rows::<FourTexts>(rights).await? {
        facts.insert(drift::right(&grantee, &privilege, &columns, &object));
    }
    let policies = client.query(POLICIES).bind(&plan.database).bind(&roles).bind(&users).bind(&roles);
    for (name, view, readers, condition) in rows::<FourTexts>(policies).await? {
        facts.insert(drift::policy(&name, &view, &readers, &condition));
    }
    let granted = client
        .query(
            "SELECT coalesce(user_name, role_name, ''), granted_role_name FROM system.role_grants \
             WHERE startsWith(granted_role_name, ?) OR has(?, ifNull(user_name, '')) OR startsWith(ifNull(role_name, ''), ?)",
        )
        .bind(&roles)
        .bind(&users)
        .bind(&roles);
    facts.extend(
        rows::<(String, String)>(granted).await?.iter().map(|(user, role)| drift::membership(user, role)),
    );
    let accounts = client
        .query(
            "SELECT name, arrayStringConcat(arrayMap(kind -> toString(kind), auth_type), ', '), \
             arrayStringConcat(arraySort(arrayConcat(host_ip, host_names, host_names_regexp, host_names_like)), ', ') FROM system.users WHERE has(?, name)",
        )
        .bind(&users);
    for (name, kind, hosts) in rows::<(String, String, String)>(accounts).await? {
        facts.extend([drift::login(&name, &kind), drift::hosts(&name, &hosts)]);
    }
    let elements = client.query(ELEMENTS).bind(&of_users).bind(&users).bind(&roles);
    for (owner, name, terms) in rows::<(String, String, String)>(elements).await? {
        facts.insert(drift::setting(&owner, &name, &terms));
    }
    let profiles = client
        .query(
            "SELECT assumeNotNull(user_name), assumeNotNull(inherit_profile) FROM system.settings_profile_elements \
             WHERE inherit_profile IS NOT NULL AND has(?, ifNull(user_name, ''))",
        )
        .bind(&limited);
    facts.extend(
        rows::<(String, String)>(profiles).await?.iter().map(|(user, name)| drift::profile(user, name)),
    );
    let quotas = client
        .query(
            "SELECT quota_name, duration, ifNull(max_queries, 0) FROM system.quota_limits WHERE startsWith(quota_name, ?)",
        )
        .bind(&of_users);
    for (name, seconds, queries) in rows::<(String, u32, u64)>(quotas).await? {
        facts.insert(drift::quota(&name, seconds, queries));
    }
    Ok((if in_files { Storage::File } else { Storage::Sql }, facts))
}

async fn rows<T: RowOwned + RowRead>(query: clickhouse::query::Query) -> Result<Vec<T>, Error> {
    query.fetch_all::<T>().await
}
