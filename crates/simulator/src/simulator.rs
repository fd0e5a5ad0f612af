//! The generator: chooses the next record, writes it and counts it.

use crate::activity::{Activities, ActivityPlan};
use crate::broken::Broken;
use crate::catalogue::videos;
use crate::clock::Calendar;
use crate::config::Config;
use crate::dice::Dice;
use crate::population::Memory;
use crate::record::{RawRecord, RecordSummary};
use crate::resend::Resends;
use crate::session::ClientSession;
use crate::truth::{ExpectedCounts, Truth, kept_in_dead_letter, payload_hash};
use crate::truth_tally::{Element, TruthTally};
use crate::world::World;

/// Seeded clients and the truth about what they sent.
pub struct Simulator {
    world: World,
    sessions: Vec<ClientSession>,
    calendar: Calendar,
    resends: Resends,
    broken: Broken,
    tally: TruthTally,
    /// The events of the record being written.
    elements: Vec<Element>,
}

impl Simulator {
    /// Creates the clients. None of them has sent an event yet.
    pub fn new(config: Config) -> Self {
        let most = (config.devices / 4).max(1);
        let sessions = config.concurrent_sessions.clamp(1, most);
        let mut simulator = Self {
            calendar: Calendar::new(config.timing),
            resends: Resends::default(),
            broken: Broken::new(&config),
            tally: TruthTally::new(config.detail),
            elements: Vec::new(),
            sessions: Vec::with_capacity(sessions as usize),
            world: World {
                dice: Dice::new(config.seed),
                videos: videos(&config),
                activities: Activities::new(config.activities.clone()),
                memory: vec![Memory::default(); config.devices.max(1) as usize],
                lost: 0,
                config,
            },
        };
        for _ in 0..sessions {
            let session = simulator.world.begin_session();
            simulator.sessions.push(session);
        }
        simulator
    }

    /// Writes the record that is sent at `now_ms` (epoch milliseconds) into `out`. The record must reach the broker
    /// within 40 s of `now_ms`, and `now_ms` must not decrease: otherwise `time_source` differs from the truth.
    pub fn next(&mut self, now_ms: i64, out: &mut RawRecord) -> RecordSummary {
        out.key.clear();
        out.value.clear();
        self.elements.clear();
        let records = self.tally.counts.records;
        let duplicate = self.resends.due(records, now_ms, out, &mut self.elements);
        if !duplicate {
            self.compose(now_ms, out);
            if self.world.dice.chance(self.world.config.duplicates) {
                self.resends.plan(&mut self.world.dice, records, out, &self.elements, now_ms);
            }
        }
        self.tally.record(&self.elements, out.value.len(), now_ms, duplicate);
        let rejected = self.elements.iter().filter(|element| matches!(element, Element::Bad { .. })).count();
        RecordSummary { events: self.elements.len() as u32, rejected: rejected as u32, duplicate }
    }

    /// Changes the share of records that are sent a second time, from the next record on. Real clients that lose
    /// acknowledgements do so at the same time.
    pub fn set_duplicates(&mut self, share: f64) {
        self.world.config.duplicates = share;
    }

    /// The registered activities, as configured.
    pub fn activities(&self) -> &[ActivityPlan] {
        &self.world.config.activities
    }

    /// What a correct pipeline must count so far. It builds every cell, so do not call it for every record.
    pub fn truth(&self) -> Truth {
        let mut truth = self.tally.truth(&self.world.activities);
        truth.counts = self.counts();
        truth
    }

    /// The counts so far. Cheap.
    pub fn counts(&self) -> ExpectedCounts {
        ExpectedCounts { lost: self.world.lost, ..self.tally.counts }
    }

    fn compose(&mut self, now_ms: i64, out: &mut RawRecord) {
        let moment = self.calendar.moment(now_ms, self.tally.counts.sent);
        let world = &mut self.world;
        let config = &world.config;
        let (bad, server, arrays) = (config.bad, config.server, config.arrays);
        let slot = world.dice.below(self.sessions.len() as u32) as usize;
        let session = &mut self.sessions[slot];
        if session.over() {
            world.memory[session.number as usize].in_session = false;
            *session = world.begin_session();
        }
        if world.dice.chance(bad) {
            out.key.extend_from_slice(session.device.anonymous_id.as_bytes());
            let code = self.broken.write_record(&mut world.dice, &session.device, moment, now_ms, out);
            let kept = kept_in_dead_letter(&out.value, 0);
            self.elements.push(Element::Bad { code, hash: payload_hash(kept) });
        } else if world.dice.chance(server) {
            let fact = world.write_server_event(moment, now_ms, &mut out.key, &mut out.value);
            self.elements.push(Element::Valid(fact));
        } else {
            out.key.extend_from_slice(session.device.anonymous_id.as_bytes());
            if world.dice.chance(arrays) {
                self.compose_array(slot, moment, now_ms, &mut out.value);
            } else {
                let fact = world.write_event(session, moment, now_ms, &mut out.value);
                self.elements.push(Element::Valid(fact));
            }
        }
    }

    /// Writes several events of one device into one record, some of them invalid or repeated.
    fn compose_array(&mut self, slot: usize, moment: i64, now_ms: i64, out: &mut Vec<u8>) {
        let world = &mut self.world;
        let session = &mut self.sessions[slot];
        let (open, between, close) =
            world.dice.pick(&[("[", ",", "]"), ("[ ", " , ", " ]"), ("[\n  ", ",\n  ", "\n]\n")]);
        let length = if world.dice.chance(0.02) { 60 } else { world.dice.spread(2, 16) };
        out.extend_from_slice(open.as_bytes());
        for at in 0..length {
            if at > 0 {
                out.extend_from_slice(between.as_bytes());
            }
            let start = out.len();
            if world.dice.chance(world.config.bad) {
                let code = self.broken.write_element(&mut world.dice, &session.device, moment, now_ms, out);
                let kept = kept_in_dead_letter(&out[start..], session.device.anonymous_id.len());
                self.elements.push(Element::Bad { code, hash: payload_hash(kept) });
                continue;
            }
            let fact = world.write_event(session, moment, now_ms, out);
            if world.dice.chance(world.config.duplicates * 0.1) {
                let end = out.len();
                out.extend_from_slice(between.as_bytes());
                out.extend_from_within(start..end);
                self.elements.push(Element::Valid(fact.clone()));
                self.elements.push(Element::Again(fact));
            } else {
                self.elements.push(Element::Valid(fact));
            }
        }
        out.extend_from_slice(close.as_bytes());
    }
}
