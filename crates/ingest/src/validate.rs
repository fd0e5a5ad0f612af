//! Whether the values of an event are what the contract says, field by field in the order of its table: the first
//! invalid field is reported. Numbers and times are converted in place.
mod age;
mod collection;
mod digits;
mod epoch_millis;
mod identifier;
mod number;
mod requirements;
mod text;
mod time_zone;
mod timestamp;

use event::Rejection;
use uuid::Uuid;

use crate::{
    contract::{ContractField, ENVELOPE, FieldGroup, FieldRule, Required},
    event_time::{EventTime, event_time},
    json::JsonValue,
    policy::EventPolicy,
    raw_event::{RawEvent, places},
    rejection::{invalid, missing, wrong_type},
};

/// What validation found out about an accepted event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Validated {
    /// The event's identifier.
    pub event_id: Uuid,
    /// Whether it is test traffic.
    pub is_test: bool,
    /// When it happened.
    pub time: EventTime,
}

/// Checks all fields of a parsed event. `received_at` is the record's timestamp, epoch milliseconds.
///
/// # Errors
/// The rejection for the first invalid field, or `too_old`.
pub(crate) fn validate(
    event: &mut RawEvent<'_>,
    policy: &EventPolicy,
    received_at: i64,
) -> Result<Validated, Rejection> {
    let mut validator = Validator {
        policy,
        event,
        requirements: Required::Always as u16,
        event_id: Uuid::nil(),
        original: 0,
        sent_at: None,
        is_test: false,
    };
    validator.group(ENVELOPE)?;
    let Validator { event_id, original, sent_at, is_test, .. } = validator;
    let time = event_time(original, sent_at, received_at);
    age::check(original, sent_at.is_some(), time, received_at, policy)?;
    Ok(Validated { event_id, is_test, time })
}

struct Validator<'v, 'a> {
    policy: &'v EventPolicy,
    event: &'v mut RawEvent<'a>,
    /// Bits of the [`Required`] conditions that apply. `event_name` and `platform` set them; the table lists both
    /// before every field that depends on them.
    requirements: u16,
    event_id: Uuid,
    original: i64,
    sent_at: Option<i64>,
    is_test: bool,
}

impl<'a> Validator<'_, 'a> {
    fn group(&mut self, group: &'static FieldGroup) -> Result<(), Rejection> {
        let present = (self.event.present() >> group.first) & ((1 << group.fields.len()) - 1);
        let valid = (self.event.short_texts() >> group.first) & u128::from(group.any_short_text);
        // Most fields are absent and never required, and most of the others have a short text.
        for at in places((present & !valid) | u128::from(group.required)) {
            let (place, field) = (group.first + at, &group.fields[at]);
            let is_required = self.requirements & field.required as u16 != 0;
            match self.event.value(place) {
                JsonValue::Absent | JsonValue::Null if is_required => return Err(missing(field)),
                JsonValue::Absent | JsonValue::Null => (),
                value => {
                    if let Some(read) = self.value(field, value, is_required)? {
                        self.event.set(place, JsonValue::Whole(read));
                    } else if let (FieldRule::CutText(most), JsonValue::Text(text)) = (field.rule, value)
                        && let Some(start) = text.start(most)
                    {
                        self.event.cut(place, start);
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks one value. Returns the converted value of a number or time.
    fn value(
        &mut self,
        field: &ContractField,
        value: JsonValue<'a>,
        is_required: bool,
    ) -> Result<Option<i64>, Rejection> {
        let text = || text::expect(field, &value);
        match field.rule {
            FieldRule::Text(most) => text::check_length(field, text()?, usize::from(is_required), most)?,
            FieldRule::CutText(_) => {
                text::check_length(field, text()?, usize::from(is_required), usize::MAX)?
            }
            FieldRule::AnyText => drop(text()?),
            FieldRule::WholeNumber(least, most) => {
                return number::whole(field, &value, least.into(), most.into()).map(Some);
            }
            // The table has replaced it by the listed rule.
            FieldRule::Listed => (),
            FieldRule::Object(group) => match value {
                JsonValue::Object { .. } => self.group(group)?,
                _ => return Err(wrong_type(field.pointer, &value, "an object")),
            },
            FieldRule::EventIndex => {
                // Stored plus 1. No device counts to the last numbers of the range, so saturating loses nothing.
                let index = number::whole(field, &value, 0, u64::MAX.into())?;
                return Ok(Some(index.saturating_add(1)));
            }
            FieldRule::Word(words) => {
                let text = text()?.read();
                if !words.contains(&&*text) {
                    return Err(invalid(field, &text, &format!("one of {}", words.join(", "))));
                }
            }
            FieldRule::Time => return timestamp::read(field, &value).map(Some),
            FieldRule::OriginalTimestamp => self.original = timestamp::read(field, &value)?,
            FieldRule::SentAt => self.sent_at = Some(timestamp::read(field, &value)?),
            FieldRule::IsTest => match value {
                JsonValue::Bool(is_test) => self.is_test = is_test,
                _ => return Err(wrong_type(field.pointer, &value, "true or false")),
            },
            FieldRule::SchemaVersion => identifier::schema_version(field, &text()?.read())?,
            FieldRule::EventId => self.event_id = identifier::event_id(field, &text()?.read())?,
            FieldRule::EventName => {
                let name = text()?.read();
                identifier::event_name(field, &name, self.policy)?;
                self.requirements |= requirements::of_event_name(&name);
            }
            FieldRule::AppId => identifier::app_id(field, &text()?.read(), self.policy)?,
            FieldRule::Platform => {
                let platform = identifier::platform(field, &text()?.read())?;
                self.requirements |= requirements::of_platform(platform);
            }
            FieldRule::AnonymousId => identifier::anonymous_id(field, text()?, self.policy)?,
            FieldRule::ActivityEventId => identifier::activity_event_id(field, &text()?.read())?,
            FieldRule::Tags => self.event.tags = collection::tags(field, &value)?,
            FieldRule::Experiments => self.event.experiments = collection::experiments(field, &value)?,
            FieldRule::Properties => collection::properties(field, &value)?,
        }
        Ok(None)
    }
}
