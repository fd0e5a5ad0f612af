//! Who may see which numbers: `access.toml`, and what ClickHouse is told of it. ClickHouse enforces all of it.
//!
//! A role has grants on views, and one row policy on each of them. No role of a team has a right on a table: the views read
//! the tables with the rights of the user that created them (`millrace migrate`), so nothing leads around the policies.
//! Limits belong to users, who cannot change a setting.
//!
//! | file | what it holds |
//! |---|---|
//! | [`file`] | `access.toml`, read and checked |
//! | `limits` | the limits of a user |
//! | [`built_in`] | the four roles that every pipeline has |
//! | [`plan`] | the roles and users of a file with their grants, policies and limits |
//! | [`sql`] | the plan as statements |
//! | [`xml`] | the plan as a file for `users.d` |
//! | [`drift`] | the plan and what a server has, compared |
//! | [`version`] | server versions with known ways around row policies |
//!
//! Pure: values in, values out.
pub(crate) mod built_in;
pub(crate) mod drift;
pub(crate) mod file;
mod limits;
pub(crate) mod plan;
pub(crate) mod sql;
pub(crate) mod version;
pub(crate) mod xml;

#[cfg(test)]
mod tests;
