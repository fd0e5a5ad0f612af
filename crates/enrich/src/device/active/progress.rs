//! How far a device is with each definition of active beside `any`.
use std::rc::Rc;

use super::{
    days::{ActiveDays, FirstOf},
    definitions::{Definition, Definitions},
};
use crate::device::{heap::RC_COUNTERS, shared::Shared};

/// The definitions for which a device has done something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ActiveByDefinition(pub(crate) Option<Rc<[DefinitionState]>>);

/// What a device has done for one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefinitionState {
    pub(crate) name: Rc<str>,
    /// None: never active by it.
    pub(crate) active: Option<ActiveDays>,
    pub(crate) unfinished: Vec<UnfinishedDay>,
}

/// A day on which some steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnfinishedDay {
    pub(crate) day: i32,
    pub(crate) steps_done: u32,
}

impl ActiveByDefinition {
    /// Whether one of the fulfilled steps is the next step of its definition.
    pub(crate) fn changes(&self, definitions: &Definitions, fulfilled_steps: u64, day: i32) -> bool {
        let is_next =
            |definition| self.next_step(definition, fulfilled_steps, day, definitions.days()).is_some();
        definitions.iter().any(is_next)
    }

    /// Applies the steps that an event fulfils. Returns each definition that it completes, by index, and what it is the
    /// first of.
    pub(crate) fn apply(
        &mut self,
        definitions: &Definitions,
        fulfilled_steps: u64,
        day: i32,
        shared: &mut Shared,
    ) -> Vec<(usize, FirstOf)> {
        let mut completed = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let Some(step) = self.next_step(definition, fulfilled_steps, day, definitions.days()) else {
                continue;
            };
            let state = self.state_mut(&definition.name, shared);
            state.unfinished.retain(|unfinished| unfinished.day != day);
            if step + 1 < definition.steps {
                state.remember(UnfinishedDay { day, steps_done: step + 1 }, definitions.days());
                continue;
            }
            let first = match &mut state.active {
                Some(active) => active.insert(day, definitions.days()),
                none => {
                    *none = Some(ActiveDays::of(day));
                    FirstOf::ALL
                }
            };
            completed.push((index, first));
        }
        completed
    }

    /// The definition's next step, when the event fulfils it.
    fn next_step(&self, definition: &Definition, fulfilled_steps: u64, day: i32, length: i32) -> Option<u32> {
        let fulfilled = fulfilled_steps >> definition.first & u64::MAX >> (64 - definition.steps);
        if fulfilled == 0 {
            return None;
        }
        let state = self.states().iter().find(|state| *state.name == *definition.name);
        let unfinished = match state {
            Some(state) if state.active.as_ref().is_some_and(|active| active.contains(day, length)) => {
                return None;
            }
            Some(state) => state.unfinished.iter().find(|unfinished| unfinished.day == day),
            None => None,
        };
        // A definition that was shortened by a restart may have fewer steps than are done.
        let next = unfinished.map_or(0, |unfinished| unfinished.steps_done).min(definition.steps - 1);
        (fulfilled >> next & 1 == 1).then_some(next)
    }

    fn state_mut(&mut self, name: &str, shared: &mut Shared) -> &mut DefinitionState {
        let states = self.states();
        let index = states.iter().position(|state| *state.name == *name).unwrap_or(states.len());
        if index == states.len() {
            let new = DefinitionState { name: shared.text(name), active: None, unfinished: Vec::new() };
            self.0 = Some(states.iter().cloned().chain([new]).collect());
        }
        &mut Rc::make_mut(self.0.get_or_insert_default())[index]
    }

    pub(crate) fn states(&self) -> &[DefinitionState] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let of_state = |state: &DefinitionState| {
            let active = state.active.as_ref().map_or(0, ActiveDays::heap_bytes);
            state.unfinished.capacity() * size_of::<UnfinishedDay>() + active
        };
        let of_states: usize = self.states().iter().map(of_state).sum();
        self.0.as_ref().map_or(0, |states| RC_COUNTERS + size_of_val(&**states)) + of_states
    }
}

impl DefinitionState {
    /// Remembers an unfinished day. Of more than `most` the oldest is dropped: its events would be too old.
    fn remember(&mut self, unfinished: UnfinishedDay, most: i32) {
        self.unfinished.push(unfinished);
        if self.unfinished.len() > most as usize {
            let oldest = self.unfinished.iter().map(|unfinished| unfinished.day).min();
            self.unfinished.retain(|unfinished| Some(unfinished.day) != oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Batch, BatchBuilder, Field};

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
        let definitions = Definitions::parse(&toml::from_str(DEFAULTS).unwrap()).unwrap();
        let mut builder = BatchBuilder::default();
        for &(_, name, played_ms) in events {
            builder.text(Field::EventName, name);
            builder.number(Field::PlayedMs, played_ms);
            builder.end_row();
        }
        let batch = Batch::decode(&builder.finish()).unwrap();
        let mut device = ActiveByDefinition::default();
        let mut found = Vec::new();
        for (row, &(day, name, _)) in events.iter().enumerate() {
            let fulfilled = definitions.fulfilled_steps(definitions.possible_steps(name), &batch, row);
            let firsts = device.apply(&definitions, fulfilled, day, &mut Shared::default());
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
}
