//! Puts the stamps of enrich on a batch of clean events: one enriched event for each event, in the same order.
//!
//! A batch passes in columns of work: first all keys, then all duplicates, then all devices, then everything is
//! written. So the memory of a whole batch is prefetched before it is needed. Only events of kind `event` get stamps;
//! duplicates, tests and bots get keys and their kind.
mod counts;
mod decision;
#[cfg(test)]
mod tests;
mod write;

use event::{
    ActivityStatus, Batch, BatchBuilder, Field, IdentityKey, Kind, StageLimits, calendar::BusinessDays,
};
use std::rc::Rc;

pub use self::counts::StampCounts;
use self::{
    decision::{ActivityStamp, EventDecision},
    write::StampWriter,
};
use crate::{
    activity::Activities,
    channel::ChannelRules,
    device::{DeviceEvent, active::Definitions},
    partition::Partition,
    row::{
        AgentCache, AgentFacts, ChannelCache, NameCache, NameFacts, commerce_event, device_hash, event_key,
        fast_event, session,
    },
    user_agent::UserAgents,
};

/// Everything that decides about stamps, except the memory of the partition.
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
    /// The calendar of the business time zone.
    pub days: &'a mut BusinessDays,
    /// Reads user agents.
    pub agents: &'a mut UserAgents,
}

impl<'a> Stamper<'a> {
    /// Stamps a batch. Returns the enriched batch as one message, or as several when it exceeds the limit of a message,
    /// and the number of events of each kind.
    pub fn stamp(&mut self, batch: Batch, partition: &mut Partition) -> (Vec<Vec<u8>>, StampCounts) {
        self.stamp_pending(batch, partition, i64::MAX)
    }

    /// As [`stamp`](Self::stamp), when the events of the batch and those behind it were received at `pending_since_ms` or
    /// later.
    pub(crate) fn stamp_pending(
        &mut self,
        batch: Batch,
        partition: &mut Partition,
        pending_since_ms: i64,
    ) -> (Vec<Vec<u8>>, StampCounts) {
        let mut decisions = self.identify(&batch);
        let counts = self.decide_kinds(&batch, &mut decisions, partition, pending_since_ms);
        self.apply_to_devices(&batch, &mut decisions, partition);
        let mut writer = StampWriter::new(BatchBuilder::stamping(batch));
        for (row, decision) in decisions.iter().enumerate() {
            self.write(row, decision, &mut writer);
        }
        (writer.out.finish_within(StageLimits::MESSAGE_BYTES), counts)
    }

    fn identify(&self, batch: &Batch) -> Vec<EventDecision<'a>> {
        let identify = |row| {
            let device = device_hash(self.identity, batch, row);
            let anonymous = batch.text(Field::AnonymousId, row).is_empty();
            let is_test = batch.text(Field::Kind, row) == Kind::Test.as_str();
            EventDecision {
                kind: if is_test { Kind::Test } else { Kind::Event },
                device_key: if anonymous { 0 } else { device as u64 },
                event_key: event_key(device, batch, row),
                agent: AgentFacts::default(),
                name: NameFacts::default(),
                day: 0,
                activity: None,
                device_stamps: None,
                channel: None,
            }
        };
        (0..batch.rows()).map(identify).collect()
    }

    /// Finds duplicates and bots.
    fn decide_kinds(
        &mut self,
        batch: &Batch,
        decisions: &mut [EventDecision<'a>],
        partition: &mut Partition,
        pending_since_ms: i64,
    ) -> StampCounts {
        partition.window.prefetch(decisions.iter().map(|decision| decision.event_key));
        let mut agents = AgentCache::default();
        let mut counts = StampCounts::default();
        for (row, decision) in decisions.iter_mut().enumerate() {
            let received_ms = batch.number(Field::ReceivedAt, row);
            partition.received(received_ms, self.days);
            if !partition.window.accept(decision.event_key, received_ms, pending_since_ms) {
                decision.kind = Kind::Duplicate;
            } else if decision.kind == Kind::Event {
                decision.agent = agents.get(batch, row, self.agents);
                if decision.agent.is_bot {
                    decision.kind = Kind::Bot;
                }
            }
            counts.count(decision.kind);
        }
        counts
    }

    /// Applies the events of kind `event` to their devices.
    fn apply_to_devices(
        &mut self,
        batch: &Batch,
        decisions: &mut [EventDecision<'a>],
        partition: &mut Partition,
    ) {
        let of_device =
            |decision: &&EventDecision<'_>| decision.kind == Kind::Event && decision.device_key != 0;
        partition.devices.prefetch(decisions.iter().filter(of_device).map(|decision| decision.device_key));
        let mut names = NameCache::default();
        let mut channel_cache = ChannelCache::default();
        for (row, decision) in decisions.iter_mut().enumerate() {
            if decision.kind != Kind::Event {
                continue;
            }
            let shared = partition.devices.shared();
            let channels = channel_cache.get(batch, row, decision.agent, self.rules, shared);
            decision.name = names.get(batch, row, self.definitions, self.conversion_events);
            decision.day = self.days.day(batch.number(Field::EventTime, row));
            let touched_activity = self.decide_activity(batch, row, decision);
            if decision.device_key == 0 {
                decision.channel = Some(Rc::clone(channels.without_device()));
                continue;
            }
            let event = DeviceEvent {
                fast: fast_event(batch, row, decision.event_key, touched_activity),
                day: decision.day,
                session: session(batch, row),
                channels,
                install_source: batch.text(Field::InstallSource, row),
                fulfilled_steps: self.definitions.fulfilled_steps(decision.name.possible_steps, batch, row),
                commerce: commerce_event(batch, row, decision.name),
            };
            let stamps = partition.devices.apply(decision.device_key, &event, self.definitions);
            decision.device_stamps = Some(stamps);
        }
    }

    /// Finds the activity of an event. Returns its ID when the event touches it.
    fn decide_activity<'b>(
        &self,
        batch: &'b Batch,
        row: usize,
        decision: &mut EventDecision<'a>,
    ) -> Option<&'b str>
    where
        'a: 'b,
    {
        let client_id = batch.text(Field::ActivityEventId, row);
        let (found, by_rule) = if client_id.is_empty() {
            let found = self.activities.by_rule(batch, row)?;
            (found, Some((found.activity_id, found.event_key)))
        } else {
            let time_ms = batch.number(Field::EventTime, row);
            (self.activities.by_client_id(client_id, batch.text(Field::AppId, row), time_ms)?, None)
        };
        let (activity_type, status) = (found.activity_type, found.status);
        decision.activity = Some(ActivityStamp { by_rule, activity_type, status });
        (status == ActivityStatus::Ok).then_some(found.activity_id)
    }

    fn write(&mut self, row: usize, decision: &EventDecision<'_>, writer: &mut StampWriter) {
        let batch = writer.out.batch();
        let user_key = match batch.text(Field::UserId, row) {
            "" => 0,
            user_id => self.identity.hash(batch.text(Field::AppId, row), user_id) as u64,
        };
        writer.identity(decision.kind, decision.device_key, user_key);
        writer.previous_level(row, decision.name.is_level_change);
        if decision.kind == Kind::Event {
            writer.agent(row, self.agents);
            match (&decision.device_stamps, &decision.channel) {
                (Some(stamps), _) => writer.device(row, decision.day, stamps, self.definitions, self.days),
                (None, Some(channel)) => writer.channel(channel),
                (None, None) => {}
            }
            writer.activity(row, decision, self.activities);
            writer.publish_day(row, decision, self.days);
            if decision.name.is_order {
                writer.payer(if user_key == 0 { decision.device_key } else { user_key });
            }
        }
        writer.out.end_row();
    }
}
