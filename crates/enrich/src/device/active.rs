//! Active devices: with which event a device becomes active on a business day, in an ISO week, in a month.
//!
//! `any` is active with every event. Every other definition is a list of steps, fulfilled in the order events are
//! processed, each by an event of its own, all of one business day of event time; the event that fulfils the last step
//! is the one. A day, week or month is stamped once, however late its events come.
use event::{
    Batch, Field,
    predicate::{self, Condition, PropertyReader, Where},
};
use std::{collections::BTreeMap, ops::RangeInclusive, rc::Rc};

use super::{recent::RC, shared::Shared};
use crate::business_day::{month_of, week_of};

/// The definition that every event fulfils.
pub const ANY: &str = "any";
/// Days of the bitmap; older ones count as active already.
const DAYS: i32 = 64;
/// Unfinished days that are remembered, the newest ones: more than events may be late.
const UNFINISHED_DAYS: usize = 10;
/// Steps of all definitions together.
const MOST_STEPS: usize = 64;

/// Why definitions of active cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("enrich.active.{name}: {problem}")]
pub struct DefinitionError {
    /// Name of the definition.
    pub name: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// The definitions of active beside `any`, by name.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    definitions: Vec<Definition>,
    /// Conditions of each step, those of the first definition first.
    steps: Vec<Vec<Condition>>,
    /// Reads the properties that all steps ask for at once.
    properties: PropertyReader,
}

#[derive(Debug, Clone)]
struct Definition {
    name: Box<str>,
    /// Place of its first step among all steps.
    first: u32,
    steps: u32,
}

impl Definitions {
    /// Reads and checks what is configured.
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
                if let Some(stamp) = conditions.iter().find(|one| one.field.source() == event::Source::Enrich)
                {
                    let name = stamp.field.name();
                    return Err(wrong(format!(
                        "step {number}: {name} is stamped after this is decided; use a field of the client or of ingest"
                    )));
                }
                read.steps.push(conditions);
            }
            if read.steps.len() > MOST_STEPS {
                return Err(wrong(format!("all definitions together have more than {MOST_STEPS} steps")));
            }
            let (first, steps) = (first as u32, steps.len() as u32);
            read.definitions.push(Definition { name: name.as_str().into(), first, steps });
        }
        read.properties = predicate::properties_of(read.steps.iter().flatten());
        Ok(read)
    }

    /// Name of the definition at this place.
    pub fn name(&self, place: usize) -> &str {
        self.definitions.get(place).map_or("", |definition| &definition.name)
    }

    /// The steps that events of this name may fulfil, a bit each.
    pub fn possible(&self, event_name: &str) -> u64 {
        let may = |conditions: &Vec<Condition>| {
            let of_name = |condition: &&Condition| condition.field == Field::EventName;
            conditions.iter().filter(of_name).all(|condition| condition.test.text(event_name))
        };
        bits(self.steps.iter().map(may))
    }

    /// The steps that an event fulfils, among the `possible` ones.
    pub fn fulfilled(&self, possible: u64, batch: &Batch, row: usize) -> u64 {
        let event = predicate::Event::new(batch, row, &self.properties);
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
}

fn bits(values: impl Iterator<Item = bool>) -> u64 {
    values.zip(0..64).fold(0, |bits, (value, place)| bits | u64::from(value) << place)
}

/// Whether an event is the first qualifying one of its day, week and month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct First {
    /// Of its business day.
    pub day: bool,
    /// Of its ISO week.
    pub week: bool,
    /// Of its calendar month.
    pub month: bool,
}

/// The last 64 days up to the newest active one, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveDays {
    pub(crate) newest: i32,
    /// Bit i: day `newest - i`.
    pub(crate) days: u64,
}

impl ActiveDays {
    /// Active on one day only.
    pub(crate) fn of(day: i32) -> Self {
        Self { newest: day, days: 1 }
    }

    /// Adds a day and says what it is the first of. Days too old for the bitmap count as there.
    pub(crate) fn insert(&mut self, day: i32) -> First {
        if self.contains(day) {
            return First::default();
        }
        let first = First { day: true, week: !self.any_of(week_of(day)), month: !self.any_of(month_of(day)) };
        let age = i64::from(self.newest) - i64::from(day);
        if age < 0 {
            self.days = if age > -i64::from(DAYS) { self.days << -age | 1 } else { 1 };
            self.newest = day;
        } else {
            self.days |= 1 << age;
        }
        first
    }

    /// Whether the device was active on this day, as far as the bitmap knows.
    fn contains(&self, day: i32) -> bool {
        let age = i64::from(self.newest) - i64::from(day);
        age >= i64::from(DAYS) || age >= 0 && self.days >> age & 1 == 1
    }

    fn any_of(&self, days: RangeInclusive<i32>) -> bool {
        let age = |day: i32| i64::from(self.newest) - i64::from(day);
        let (youngest, oldest) = (age(*days.end()).max(0), age(*days.start()).min(i64::from(DAYS) - 1));
        if youngest > oldest {
            return false;
        }
        self.days >> youngest & u64::MAX >> (63 - (oldest - youngest)) != 0
    }
}

/// What a device has done for the definitions beside `any`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Defined(pub(crate) Option<Rc<[DefinedDays]>>);

/// What it has done for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefinedDays {
    pub(crate) name: Rc<str>,
    /// None: never active yet.
    pub(crate) active: Option<ActiveDays>,
    pub(crate) unfinished: Vec<Progress>,
}

/// A day on which some steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) day: i32,
    pub(crate) steps_done: u32,
}

impl Defined {
    /// Whether one of the steps an event fulfils is the next of its definition.
    pub(crate) fn moves(&self, definitions: &Definitions, fulfilled: u64, day: i32) -> bool {
        definitions.definitions.iter().any(|definition| self.next(definition, fulfilled, day).is_some())
    }

    /// Takes the steps an event fulfils; gives, by the place of its definition, what it is the first of.
    pub(crate) fn take(
        &mut self,
        definitions: &Definitions,
        fulfilled: u64,
        day: i32,
        shared: &mut Shared,
    ) -> Vec<(usize, First)> {
        let mut firsts = Vec::new();
        for (place, definition) in definitions.definitions.iter().enumerate() {
            let Some(next) = self.next(definition, fulfilled, day) else { continue };
            let known = self.of(&definition.name, shared);
            known.unfinished.retain(|progress| progress.day != day);
            if next + 1 < definition.steps {
                known.remember(Progress { day, steps_done: next + 1 });
                continue;
            }
            let first = match &mut known.active {
                Some(active) => active.insert(day),
                none => {
                    *none = Some(ActiveDays::of(day));
                    First { day: true, week: true, month: true }
                }
            };
            firsts.push((place, first));
        }
        firsts
    }

    /// The step an event does next for a definition; None when it does none.
    fn next(&self, definition: &Definition, fulfilled: u64, day: i32) -> Option<u32> {
        let steps = fulfilled >> definition.first & u64::MAX >> (64 - definition.steps);
        if steps == 0 {
            return None;
        }
        let known = self.known().iter().find(|one| *one.name == *definition.name);
        let steps_done = match known {
            Some(known) if known.active.is_some_and(|active| active.contains(day)) => return None,
            Some(known) => known.unfinished.iter().find(|progress| progress.day == day),
            None => None,
        };
        // With fewer steps than before a restart there may be more done than there are.
        let next = steps_done.map_or(0, |progress| progress.steps_done).min(definition.steps - 1);
        (steps >> next & 1 == 1).then_some(next)
    }

    fn of(&mut self, name: &str, shared: &mut Shared) -> &mut DefinedDays {
        let known = self.known();
        let place = known.iter().position(|one| *one.name == *name).unwrap_or(known.len());
        if place == known.len() {
            let new = DefinedDays { name: shared.text(name), active: None, unfinished: Vec::new() };
            self.0 = Some(known.iter().cloned().chain([new]).collect());
        }
        &mut Rc::make_mut(self.0.get_or_insert_default())[place]
    }

    pub(crate) fn known(&self) -> &[DefinedDays] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let unfinished = |one: &DefinedDays| one.unfinished.capacity() * size_of::<Progress>();
        let beside: usize = self.known().iter().map(unfinished).sum();
        self.0.as_ref().map_or(0, |all| RC + size_of_val(&**all)) + beside
    }
}

impl DefinedDays {
    fn remember(&mut self, progress: Progress) {
        self.unfinished.push(progress);
        if self.unfinished.len() > UNFINISHED_DAYS {
            let oldest = self.unfinished.iter().map(|progress| progress.day).min();
            self.unfinished.retain(|progress| Some(progress.day) != oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::BatchBuilder;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    pub(super) fn definitions(text: &str) -> Result<Definitions, DefinitionError> {
        Definitions::parse(&toml::from_str(text).unwrap())
    }

    const DEFAULTS: &str = r#"
        any = []
        login = [{ event_name = "login" }]
        core_flow = [
          { event_name = "app_open" },
          { event_name = "content_view" },
          { event_name = "playback_ping", played_ms = { gte = 10000 } },
        ]"#;

    /// Day, event name and played_ms of each event; which definitions it is the first of its day for.
    fn firsts(events: &[(i32, &str, i64)]) -> Vec<Vec<String>> {
        let definitions = definitions(DEFAULTS).unwrap();
        let mut builder = BatchBuilder::default();
        for &(_, name, played_ms) in events {
            builder.text(Field::EventName, name);
            builder.number(Field::PlayedMs, played_ms);
            builder.end_row();
        }
        let batch = Batch::decode(&builder.finish()).unwrap();
        let mut device = Defined::default();
        let mut found = Vec::new();
        for (row, &(day, name, _)) in events.iter().enumerate() {
            let fulfilled = definitions.fulfilled(definitions.possible(name), &batch, row);
            let firsts = device.take(&definitions, fulfilled, day, &mut Shared::default());
            assert!(firsts.iter().all(|(_, first)| first.day));
            found.push(firsts.iter().map(|&(place, _)| definitions.name(place).to_owned()).collect());
        }
        found
    }

    #[test]
    fn the_last_step_in_order_within_one_business_day_makes_active() {
        let (open, view, ping) = ((1, "app_open", 0), (1, "content_view", 0), (1, "playback_ping", 10_000));
        let short = (1, "playback_ping", 9_999);
        for (name, events, active_at) in [
            ("in order", vec![open, view, ping], Some(2)),
            ("once a day", vec![open, view, ping, open, view, ping], Some(2)),
            ("others between", vec![open, short, (1, "login", 0), view, short, ping], Some(5)),
            ("not in order", vec![view, open, ping], None),
            ("not in order, and then in order", vec![view, open, ping, view, ping], Some(4)),
            ("watched too little", vec![open, view, short, short], None),
            ("another day's step", vec![(0, "app_open", 0), view, ping], None),
            ("two days in turn", vec![open, (2, "app_open", 0), view, (2, "content_view", 0), ping], Some(4)),
        ] {
            let found = firsts(&events);
            let at = found.iter().position(|names| names.iter().any(|name| name == "core_flow"));
            assert_eq!(at, active_at, "{name}");
            let times = found.iter().flatten().filter(|name| *name == "core_flow").count();
            assert_eq!(times, usize::from(active_at.is_some()), "{name}");
        }
    }

    #[test]
    fn a_definition_of_one_step_is_stamped_with_the_first_such_event_of_the_day() {
        let found =
            firsts(&[(1, "app_open", 0), (1, "login", 0), (1, "login", 0), (0, "login", 0), (1, "login", 0)]);
        let names: Vec<Vec<&str>> = found.iter().map(|of| of.iter().map(String::as_str).collect()).collect();
        assert_eq!(names, [vec![], vec!["login"], vec![], vec!["login"], vec![]]);
    }

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_its_first_in_any_order_of_days() {
        // 2026-03-01 is a Sunday and day 20513.
        let march = |day: i32| 20_512 + day;
        let mut days = ActiveDays::of(march(2));
        for (day, week, month) in [
            (march(3), false, false),
            (march(8), false, false),
            (march(9), true, false),
            (march(1), true, false),
            (march(0), false, true),
            (march(-5), false, false),
            (march(31), true, false),
            (march(32), false, true),
        ] {
            assert_eq!(days.insert(day), First { day: true, week, month }, "{}", day - march(0));
            assert_eq!(days.insert(day), First::default(), "again {}", day - march(0));
        }
    }

    #[test]
    fn what_cannot_be_a_definition_is_refused_by_name() {
        for (text, expected) in [
            ("any = [{ event_name = 'x' }]", "enrich.active.any: it has no steps"),
            ("nothing = []", "enrich.active.nothing: without steps"),
            (
                "x = [{ event_name = 'a' }, { event_nam = 'b' }]",
                "enrich.active.x: step 2: there is no field `event_nam`",
            ),
            ("x = [{ kind = 'event' }]", "enrich.active.x: step 1: kind is stamped after"),
        ] {
            let problem = definitions(text).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn in_any_order_every_day_week_and_month_is_first_exactly_once(first in 0..200_i32, days in prop::collection::vec(0..200_i32, 0..300)) {
            let mut active = ActiveDays::of(first);
            let mut seen = BTreeSet::from([first]);
            for day in days {
                let newest = *seen.last().unwrap();
                let reached = newest - day < DAYS && !seen.contains(&day);
                let known: BTreeSet<i32> = seen.iter().copied().filter(|day| newest - day < DAYS).collect();
                let expected = First {
                    day: reached,
                    week: reached && !known.iter().any(|other| week_of(*other) == week_of(day)),
                    month: reached && !known.iter().any(|other| month_of(*other) == month_of(day)),
                };
                prop_assert_eq!(active.insert(day), expected, "day {} of {:?}", day, seen);
                if newest - day < DAYS {
                    seen.insert(day);
                }
            }
            let expected: BTreeSet<i32> = seen.iter().copied().filter(|day| seen.last().unwrap() - day < DAYS).collect();
            let found: BTreeSet<i32> =
                (0..DAYS).filter(|age| active.days >> age & 1 == 1).map(|age| active.newest - age).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
