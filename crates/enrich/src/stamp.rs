//! Puts enrich's stamps on a batch of clean events. Pure: what it needs to know comes as arguments.
//!
//! First every event is held against the partition's memory, one table after the other, then the stamps are written.
//! Only events of kind `event` have stamps beyond who they belong to: duplicates, tests and bots are counted apart.
pub(crate) mod facts;
mod write;

use event::{ActivityStatus, Batch, BatchBuilder, Field, IdentityKey, Kind};
use std::rc::Rc;

use self::{
    facts::{Agent, Agents, Judgements, Name, Names},
    write::Writer,
};
use crate::{
    activity::Activities,
    business_day::BusinessDays,
    channel::ChannelRules,
    device::{Event, Stamps, active::Definitions, shared::Origin},
    partition::{Partition, called, device_hash},
    user_agent::UserAgents,
};

/// What one batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Valid, unique events of real clients.
    pub events: u64,
    /// Events seen before.
    pub duplicates: u64,
    /// Test events.
    pub tests: u64,
    /// Events of crawlers.
    pub bots: u64,
}

impl Counts {
    /// Adds another batch.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.tests += other.tests;
        self.bots += other.bots;
    }

    /// As the ledger of the stage has it: every event travels on, whatever it is.
    pub fn ledger(&self) -> runtime::ledger::Counts {
        let events = self.events + self.duplicates + self.tests + self.bots;
        let duplicates = self.duplicates;
        runtime::ledger::Counts { events, emitted: events, duplicates, ..runtime::ledger::Counts::default() }
    }
}

/// Everything that decides about stamps, except the state of the partition.
#[derive(Debug)]
pub struct Stamper<'a> {
    /// Makes device and user keys.
    pub identity: &'a IdentityKey,
    /// The channel rules.
    pub rules: &'a ChannelRules,
    /// The activity registry as of this batch.
    pub activities: &'a Activities,
    /// The definitions of active.
    pub definitions: &'a Definitions,
    /// Names of events that are attributed to activities.
    pub conversion_events: &'a [String],
    /// Business days.
    pub days: &'a mut BusinessDays,
    /// Reads user agents.
    pub agents: &'a mut UserAgents,
}

/// An event with all that was found out about it.
#[derive(Debug)]
struct Row<'a> {
    kind: Kind,
    /// 0 without an `anonymous_id`.
    device_key: u64,
    event_key: u128,
    agent: Agent,
    name: Name,
    day: i32,
    activity: Option<ActivityStamp<'a>>,
    stamps: Option<Stamps>,
    /// Of an event without a device.
    channel: Option<Rc<Origin>>,
}

/// What an event has to do with an activity.
#[derive(Debug, Clone, Copy)]
struct ActivityStamp<'a> {
    /// Activity and event key as a rule gives them; None: as the client's ID does.
    by_rule: Option<(&'a str, &'a str)>,
    activity_type: &'static str,
    status: ActivityStatus,
}

impl<'a> Stamper<'a> {
    /// Stamps every event of `batch`: one event out for each event in, in the same order.
    pub fn stamp(&mut self, batch: Batch, partition: &mut Partition) -> (Vec<u8>, Counts) {
        let mut rows = self.identify(&batch);
        partition.window.fetch(rows.iter().map(|event| event.event_key));
        let mut agents = Agents::default();
        let mut counts = Counts::default();
        for (row, event) in rows.iter_mut().enumerate() {
            let received_ms = batch.number(Field::ReceivedAt, row);
            partition.received(received_ms, self.days);
            if !partition.window.accept(event.event_key, received_ms) {
                event.kind = Kind::Duplicate;
            } else if event.kind == Kind::Event {
                event.agent = agents.of(&batch, row, self.agents);
                if event.agent.is_bot {
                    event.kind = Kind::Bot;
                }
            }
            let count = match event.kind {
                Kind::Event => &mut counts.events,
                Kind::Duplicate => &mut counts.duplicates,
                Kind::Test => &mut counts.tests,
                Kind::Bot => &mut counts.bots,
            };
            *count += 1;
        }
        self.remember(&batch, &mut rows, partition);
        let mut writer = Writer::new(BatchBuilder::stamping(batch));
        for (row, event) in rows.iter().enumerate() {
            self.write(row, event, &mut writer);
        }
        (writer.out.finish(), counts)
    }

    fn identify(&self, batch: &Batch) -> Vec<Row<'a>> {
        let identify = |row| {
            let device = device_hash(self.identity, batch, row);
            let anonymous = batch.text(Field::AnonymousId, row).is_empty();
            let is_test = batch.text(Field::Kind, row) == Kind::Test.as_str();
            Row {
                kind: if is_test { Kind::Test } else { Kind::Event },
                device_key: if anonymous { 0 } else { device as u64 },
                event_key: device ^ batch.uuid(Field::EventId, row),
                agent: Agent::default(),
                name: Name::default(),
                day: 0,
                activity: None,
                stamps: None,
                channel: None,
            }
        };
        (0..batch.rows()).map(identify).collect()
    }

    /// Asks the partition's memory what each event is to its device.
    fn remember(&mut self, batch: &Batch, rows: &mut [Row<'a>], partition: &mut Partition) {
        let of_devices = |event: &&Row<'_>| event.kind == Kind::Event && event.device_key != 0;
        partition.devices.fetch(rows.iter().filter(of_devices).map(|event| event.device_key));
        let mut names = Names::default();
        let mut judgements = Judgements::default();
        for (row, event) in rows.iter_mut().enumerate() {
            if event.kind != Kind::Event {
                continue;
            }
            let shared = partition.devices.shared();
            let judgement = judgements.of(batch, row, event.agent, self.rules, shared);
            let name = names.of(batch, row, self.definitions, self.conversion_events);
            let time_ms = batch.number(Field::EventTime, row);
            event.name = name;
            event.day = self.days.day(time_ms);
            let touched = self.activity(batch, row, event);
            if event.device_key == 0 {
                event.channel = Some(Rc::clone(judgement.without_device()));
                continue;
            }
            let device_event = Event {
                day: event.day,
                time_ms,
                received_ms: batch.number(Field::ReceivedAt, row),
                session: facts::session(batch, row),
                called: called(event.event_key),
                number: batch.number(Field::EventNumber, row),
                judgement,
                install_source: batch.text(Field::InstallSource, row),
                fulfilled: self.definitions.fulfilled(name.possible_steps, batch, row),
                playback: if name.is_playback { facts::playback(batch, row) } else { None },
                commerce: facts::commerce(batch, row, name),
                touched_activity: touched,
            };
            event.stamps = Some(partition.devices.touch(event.device_key, &device_event, self.definitions));
        }
    }

    /// Finds the activity of an event; gives its ID when the event touches it.
    fn activity<'b>(&self, batch: &'b Batch, row: usize, event: &mut Row<'a>) -> Option<&'b str>
    where
        'a: 'b,
    {
        let client_id = batch.text(Field::ActivityEventId, row);
        let (touch, by_rule) = if client_id.is_empty() {
            let touch = self.activities.by_rule(batch, row)?;
            (touch, Some((touch.activity_id, touch.event_key)))
        } else {
            let time_ms = batch.number(Field::EventTime, row);
            (self.activities.touch(client_id, batch.text(Field::AppId, row), time_ms)?, None)
        };
        let (activity_type, status) = (touch.activity_type, touch.status);
        event.activity = Some(ActivityStamp { by_rule, activity_type, status });
        (status == ActivityStatus::Ok).then_some(touch.activity_id)
    }

    fn write(&mut self, row: usize, event: &Row<'_>, writer: &mut Writer) {
        let batch = writer.out.batch();
        let user_key = match batch.text(Field::UserId, row) {
            "" => 0,
            user_id => self.identity.hash(batch.text(Field::AppId, row), user_id) as u64,
        };
        writer.identity(event.kind, event.device_key, user_key);
        writer.previous_level(row, event.name.is_level_change);
        if event.kind == Kind::Event {
            writer.agent(row, self.agents);
            match (&event.stamps, &event.channel) {
                (Some(stamps), _) => writer.device(row, event, stamps, self.definitions, self.days),
                (None, Some(channel)) => writer.channel(channel),
                (None, None) => {}
            }
            writer.activity(row, event, self.activities);
            writer.publish_day(row, event, self.days);
            if event.name.is_order {
                writer.payer(if user_key == 0 { event.device_key } else { user_key });
            }
        }
        writer.out.end_row();
    }
}

#[cfg(test)]
mod tests;
