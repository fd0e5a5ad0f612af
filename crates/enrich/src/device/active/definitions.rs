//! The definitions of active as configured in `enrich.active`, and which of their steps an event fulfils.
use event::{
    Batch, Field,
    predicate::{self, Condition, PropertyReader, Where},
};
use std::collections::BTreeMap;

use super::days::WORD;

/// The definition that every event fulfils.
pub(crate) const ANY: &str = "any";
/// Most steps of all definitions together: an event's fulfilled steps are the bits of a u64.
const MAX_STEPS: usize = 64;

/// Why definitions of active cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("enrich.active.{name}: {problem}")]
pub struct DefinitionError {
    /// Name of the definition.
    pub name: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// The definitions of active beside `any`, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    definitions: Vec<Definition>,
    /// The conditions of each step, those of the first definition first.
    steps: Vec<Vec<Condition>>,
    /// Reads the properties that any step names, all at once.
    properties: PropertyReader,
    /// Days that a device remembers, when they are more than the least.
    days: i32,
}

#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) name: Box<str>,
    /// Index of its first step among all steps.
    pub(super) first: u32,
    pub(super) steps: u32,
}

impl Definitions {
    /// Makes devices remember so many active days that an event of this age is still the first of its day, week and month
    /// exactly once.
    #[must_use]
    pub fn for_events_of_age(mut self, most: std::time::Duration) -> Self {
        const DAY_SECONDS: u64 = 86_400;
        /// The longest month, and a day each because age and device clock begin within a day.
        const MORE_DAYS: i32 = 33;
        let days = i32::try_from(most.as_secs().div_ceil(DAY_SECONDS)).unwrap_or(i32::MAX);
        self.days = days.saturating_add(MORE_DAYS);
        self
    }

    /// Active days that a device remembers, up to the newest.
    pub(crate) fn days(&self) -> i32 {
        self.days.max(WORD)
    }

    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`DefinitionError`] names the definition and what is wrong with it.
    pub fn parse(written: &BTreeMap<String, Vec<Where>>) -> Result<Self, DefinitionError> {
        let mut read = Self::default();
        for (name, steps) in written {
            let wrong = |problem: String| DefinitionError { name: name.clone(), problem };
            if name == ANY {
                if !steps.is_empty() {
                    return Err(wrong("it has no steps: every event counts for it".into()));
                }
                continue;
            }
            if steps.is_empty() {
                return Err(wrong("without steps it would be the same as `any`".into()));
            }
            let first = read.steps.len();
            for (number, step) in (1..).zip(steps) {
                let conditions =
                    predicate::parse(step).map_err(|problem| wrong(format!("step {number}: {problem}")))?;
                if let Some(stamp) =
                    conditions.iter().find(|one| one.field.origin() == event::FieldOrigin::Enrich)
                {
                    let name = stamp.field.name();
                    return Err(wrong(format!(
                        "step {number}: {name} is stamped after this is decided; use a field of the client or of ingest"
                    )));
                }
                read.steps.push(conditions);
            }
            if read.steps.len() > MAX_STEPS {
                return Err(wrong(format!("all definitions together have more than {MAX_STEPS} steps")));
            }
            let (first, steps) = (first as u32, steps.len() as u32);
            read.definitions.push(Definition { name: name.as_str().into(), first, steps });
        }
        read.properties = predicate::properties_of(read.steps.iter().flatten());
        Ok(read)
    }

    /// Name of the definition at this index.
    pub(crate) fn name(&self, index: usize) -> &str {
        self.definitions.get(index).map_or("", |definition| &definition.name)
    }

    /// The steps that an event of this name can fulfil, one bit each.
    pub(crate) fn possible_steps(&self, event_name: &str) -> u64 {
        let can_fulfil = |conditions: &Vec<Condition>| {
            let of_name = |condition: &&Condition| condition.field == Field::EventName;
            conditions.iter().filter(of_name).all(|condition| condition.test.text(event_name))
        };
        bits(self.steps.iter().map(can_fulfil))
    }

    /// Those of the `possible` steps that the event of a row fulfils, one bit each.
    pub(crate) fn fulfilled_steps(&self, possible: u64, batch: &Batch, row: usize) -> u64 {
        let event = predicate::EventValues::new(batch, row, &self.properties);
        let mut fulfilled = possible;
        let mut left = possible;
        while left != 0 {
            let step = left.trailing_zeros();
            left &= left - 1;
            let Some(conditions) = self.steps.get(step as usize) else { continue };
            let others = || conditions.iter().filter(|condition| condition.field != Field::EventName);
            if !others().all(|condition| condition.holds(&event)) {
                fulfilled &= !(1 << step);
            }
        }
        fulfilled
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter()
    }
}

fn bits(values: impl Iterator<Item = bool>) -> u64 {
    values.zip(0..64).fold(0, |bits, (value, place)| bits | u64::from(value) << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_definition_is_an_error_that_names_it() {
        for (text, expected) in [
            ("any = [{ event_name = 'x' }]", "enrich.active.any: it has no steps"),
            ("nothing = []", "enrich.active.nothing: without steps"),
            (
                "x = [{ event_name = 'a' }, { event_nam = 'b' }]",
                "enrich.active.x: step 2: there is no field `event_nam`",
            ),
            ("x = [{ kind = 'event' }]", "enrich.active.x: step 1: kind is stamped after"),
        ] {
            let problem = Definitions::parse(&toml::from_str(text).unwrap()).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }
}
