//! What `millrace trace` prints.
use ::event::Field;
use aggregate::Cubes;
use console::style;
use event::Topic;
use runtime::config::Settings;
use serde::Serialize;
use uuid::Uuid;

use super::{
    contributions::{CubeContribution, contributions},
    dead_letter::TracedDeadLetter,
    position::{EnrichedPosition, RawPosition},
    reasons::{self, StampReason, TimeDecision},
    result::{FoundIn, TraceResult},
};
use crate::{error::Error, output::Output};

/// Width of the labels.
const LABEL: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct TraceReport<'a> {
    event_id: String,
    /// Where the events were found.
    source: FoundIn,
    events: Vec<EventTrace<'a>>,
    dead_letters: &'a [TracedDeadLetter],
    /// Raw records that contain the ID, if no stage has processed them yet.
    waiting: &'a [RawPosition],
}

/// One event with that ID.
#[derive(Debug, Serialize)]
struct EventTrace<'a> {
    event_name: &'a str,
    app_id: &'a str,
    anonymous_id: &'a str,
    raw: RawPosition,
    enriched: EnrichedPosition,
    time: TimeDecision,
    verdict: StampReason,
    stamps: Vec<StampReason>,
    cubes: Vec<CubeContribution>,
    /// Every field that is set, as `millrace cat` prints it.
    fields: serde_json::Value,
}

impl<'a> TraceReport<'a> {
    pub(super) fn new(
        event_id: Uuid,
        found: &'a TraceResult,
        settings: &Settings,
        cubes: &Cubes,
    ) -> Result<Self, Error> {
        let raw_topic = settings.kafka.topic(Topic::RawEvents);
        let mut events = Vec::with_capacity(found.events.len());
        for (index, event) in found.events.iter().enumerate() {
            let original = found.events[..index].iter().find(|earlier| earlier.is_original_of(event));
            events.push(EventTrace {
                event_name: event.text(Field::EventName),
                app_id: event.text(Field::AppId),
                anonymous_id: event.text(Field::AnonymousId),
                raw: event.raw_position(&raw_topic),
                enriched: event.position,
                time: reasons::time(event),
                verdict: reasons::kind(event, original, settings),
                stamps: reasons::stamps(event),
                cubes: contributions(settings, cubes, &event.batch),
                fields: event.fields()?,
            });
        }
        Ok(Self {
            event_id: event_id.to_string(),
            source: found.source,
            events,
            dead_letters: &found.dead_letters,
            waiting: &found.waiting,
        })
    }

    pub(super) fn print(&self, output: &mut Output) -> Result<(), Error> {
        let mut devices: Vec<_> =
            self.events.iter().map(|event| (event.app_id, event.anonymous_id)).collect();
        devices.sort_unstable();
        devices.dedup();
        let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        if !self.events.is_empty() || !self.dead_letters.is_empty() {
            output.line(format!(
                "{}: {} of {}, {} (from {})",
                style(&self.event_id).bold(),
                plural(self.events.len(), "event"),
                plural(devices.len(), "device"),
                plural(self.dead_letters.len(), "dead letter"),
                self.source.description(),
            ))?;
        }
        for event in &self.events {
            output.line("")?;
            event.print(output)?;
        }
        for letter in self.dead_letters {
            output.line("")?;
            print_dead_letter(letter, output)?;
        }
        Ok(())
    }
}

fn print_entry(output: &mut Output, label: &str, value: &str, reason: &str) -> Result<(), Error> {
    let reason =
        if reason.is_empty() { String::new() } else { style(format!("  {reason}")).dim().to_string() };
    Ok(output.line(format!("  {label:<LABEL$}{value}{reason}"))?)
}

impl EventTrace<'_> {
    fn print(&self, output: &mut Output) -> Result<(), Error> {
        let sender = if self.anonymous_id.is_empty() { "a server" } else { self.anonymous_id };
        output.line(format!("{} of {} by {sender}", style(self.event_name).bold(), self.app_id))?;
        print_entry(output, "raw record", &self.raw.to_string(), "")?;
        print_entry(output, "enriched", &self.enriched.to_string(), "")?;
        print_entry(output, "received", &self.time.received, "")?;
        print_entry(output, "event time", &self.time.event, &self.time.reason)?;
        print_entry(output, "verdict", &self.verdict.value, &self.verdict.reason)?;
        for stamp in &self.stamps {
            print_entry(output, stamp.stamp, &stamp.value, &stamp.reason)?;
        }
        if self.cubes.is_empty() {
            print_entry(output, "cubes", "none", "the event passes the `where` of no cube")?;
        }
        let mut label = "cubes";
        for contribution in &self.cubes {
            let group = contribution.dimensions.iter().filter(|(_, value)| !value.is_empty());
            let group: Vec<String> = group.map(|(name, value)| format!("{name}={value}")).collect();
            let measures: Vec<String> =
                contribution.measures.iter().map(|(name, value)| format!("{name} {value:+}")).collect();
            let value = format!("{}  {}", style(contribution.cube.as_str()).bold(), measures.join(", "));
            print_entry(output, label, &value, "")?;
            label = "";
            print_entry(output, label, &format!("  {}", contribution.panes()), "")?;
            print_entry(output, label, &format!("  {}", group.join(" ")), "")?;
        }
        Ok(())
    }
}

fn print_dead_letter(letter: &TracedDeadLetter, output: &mut Output) -> Result<(), Error> {
    let name = if letter.event_name.is_empty() { "an event" } else { &letter.event_name };
    let sender = if letter.anonymous_id.is_empty() { "an unknown client" } else { &letter.anonymous_id };
    output.line(format!("{} of {} by {sender}", style(name).bold(), letter.app_id))?;
    print_entry(output, "raw record", &letter.raw.to_string(), "")?;
    print_entry(output, "rejected by", &letter.stage, "")?;
    let pointer = if letter.pointer.is_empty() { "the whole event" } else { &letter.pointer };
    print_entry(output, "code", &letter.code, &letter.meaning())?;
    print_entry(output, "where", pointer, "")?;
    print_entry(output, "message", &letter.message, "")?;
    if !letter.is_its_own {
        print_entry(
            output,
            "note",
            "the rejected bytes contain the ID, but are not this one event as valid JSON",
            "",
        )?;
    }
    if letter.cut_from_bytes > 0 {
        let bytes = letter.cut_from_bytes;
        let note = format!(
            "only the first of the {bytes} rejected bytes are shown here: the raw record has them all"
        );
        print_entry(output, "note", &note, "")?;
    }
    Ok(())
}
