//! Texts with a form of their own: versions, identifiers and names.
use event::{Platform, RejectCode, Rejection, is_app_id, is_event_name};
use uuid::Uuid;

use super::text;
use crate::{
    contract::{ANONYMOUS_ID_CHARACTERS, ContractField, STANDARD_NAMES},
    json::JsonText,
    policy::EventPolicy,
    rejection::{invalid, quoted},
};

/// The major version of the contract that this program reads.
const SCHEMA_MAJOR: &str = "1";

pub(super) fn schema_version(field: &ContractField, version: &str) -> Result<(), Rejection> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (1..=9).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
    };
    let mut numbers = version.split('-');
    let (major, minor, patch, rest) = (numbers.next(), numbers.next(), numbers.next(), numbers.next());
    let (Some(major), Some(minor), Some(patch), None) = (major, minor, patch, rest) else {
        return Err(invalid(field, version, "MAJOR-MINOR-PATCH such as 1-0-0"));
    };
    if ![major, minor, patch].into_iter().all(number) {
        return Err(invalid(field, version, "MAJOR-MINOR-PATCH such as 1-0-0"));
    }
    if major != SCHEMA_MAJOR {
        let message = format!(
            "{} is {}, but this ingest reads major version {SCHEMA_MAJOR}: send that, or ask the operator to upgrade \
             ingest",
            field.pointer,
            quoted(version)
        );
        return Err(Rejection::new(RejectCode::UnsupportedSchema, field.pointer, message));
    }
    Ok(())
}

pub(super) fn event_id(field: &ContractField, text: &str) -> Result<Uuid, Rejection> {
    // `try_parse` accepts other forms too, but only 8-4-4-4-12 has 36 characters.
    let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
    match uuid {
        Some(uuid) if !uuid.is_nil() => Ok(uuid),
        Some(_) => Err(invalid(field, text, "a new UUID for each event, not the nil UUID")),
        None => Err(invalid(field, text, "a UUID in 8-4-4-4-12 form")),
    }
}

pub(super) fn event_name(field: &ContractField, name: &str, policy: &EventPolicy) -> Result<(), Rejection> {
    if !is_event_name(name) {
        return Err(invalid(field, name, "a lowercase letter, then at most 63 of a-z, 0-9 and _"));
    }
    if policy.standard_names_only() && !STANDARD_NAMES.contains(&name) {
        let message = format!(
            "{} is {}, and ingest.unknown_events rejects names outside the standard list: send a standard name",
            field.pointer,
            quoted(name)
        );
        return Err(Rejection::new(RejectCode::UnknownEvent, field.pointer, message));
    }
    Ok(())
}

pub(super) fn app_id(field: &ContractField, app_id: &str, policy: &EventPolicy) -> Result<(), Rejection> {
    if !is_app_id(app_id) {
        return Err(invalid(field, app_id, "1 to 64 of a-z, 0-9 and -"));
    }
    if !policy.accepts_app(app_id) {
        let message = format!(
            "{} is {}, which is not configured: ask the operator to add it to ingest.apps",
            field.pointer,
            quoted(app_id)
        );
        return Err(Rejection::new(RejectCode::UnknownApp, field.pointer, message));
    }
    Ok(())
}

pub(super) fn platform(field: &ContractField, platform: &str) -> Result<Platform, Rejection> {
    let expected = "web, h5, ios, android, pc, mini_program or server";
    Platform::parse(platform).ok_or_else(|| invalid(field, platform, expected))
}

pub(super) fn anonymous_id(
    field: &ContractField,
    text: JsonText<'_>,
    policy: &EventPolicy,
) -> Result<(), Rejection> {
    text::check_length(field, text, 1, ANONYMOUS_ID_CHARACTERS)?;
    let id = text.read();
    if policy.forbids_id(&id) {
        let message = format!(
            "{} is {}, a placeholder that many devices share: generate a random ID once per device and keep it",
            field.pointer,
            quoted(&id)
        );
        return Err(Rejection::new(RejectCode::ForbiddenId, field.pointer, message));
    }
    Ok(())
}

pub(super) fn activity_event_id(field: &ContractField, id: &str) -> Result<(), Rejection> {
    let valid = |half: &str| {
        (1..=40).contains(&half.len())
            && half.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match id.split_once('_') {
        Some((activity, event)) if valid(activity) && valid(event) => Ok(()),
        _ => Err(invalid(field, id, "activityID_eventID, each half 1 to 40 letters, digits and dashes")),
    }
}
