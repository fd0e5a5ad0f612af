//! `millrace trace`: the whole way of one event, and why each step went as it did.
mod cubes;
mod event;
mod find;
mod stamps;

use std::time::Duration;

use aggregate::Cubes;
use clap::Args;
use console::style;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use self::{
    cubes::Touched,
    event::DeadLetter,
    find::{Found, RawPlace, Source, Wanted},
    stamps::Stamp,
};
use crate::{context::Context, error::Error, output::Output, table::duration};

/// Show the whole way of an event: raw record, time decision, duplicate verdict, every stamp with its reason, and the
/// cubes it counts in; or why it was refused.
///
/// Reads the table `events` where the lane of that name has written it, else the topics enriched-events and
/// dead-letters as far back as --since says. Several devices may send the same ID; each is shown. Cubes are those of the
/// present configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab --since 2d --scan
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab --json | jq '.events[].cubes[].cube' | sort -u")]
pub(crate) struct Trace {
    /// The client's event_id
    event_id: Uuid,
    /// How far back the topics are read, by the time each record was written
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    since: Duration,
    /// Read the topics even where the table `events` knows the event
    #[arg(long)]
    scan: bool,
}

/// A length of time such as `90min`, `1h` or `2d`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let said = "it must be a length of time such as 30min, 1h or 2d";
    let span: jiff::Span = text.parse().map_err(|_| said.to_owned())?;
    let seconds = span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours()));
    Duration::try_from_secs_f64(seconds.map_err(|_| said.to_owned())?).map_err(|_| said.to_owned())
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    event_id: String,
    /// Where it was found.
    source: Source,
    events: Vec<Story<'a>>,
    dead_letters: &'a [DeadLetter],
    /// Raw records that name it when no stage has passed it on yet.
    waiting: &'a [RawPlace],
}

/// The way of one occurrence.
#[derive(Debug, Serialize)]
struct Story<'a> {
    event_name: &'a str,
    app_id: &'a str,
    anonymous_id: &'a str,
    raw: RawPlace,
    enriched: event::EnrichedPlace,
    time: stamps::Time,
    verdict: Stamp,
    stamps: Vec<Stamp>,
    cubes: Vec<Touched>,
    /// Every field it has, as `millrace cat` prints it.
    fields: serde_json::Value,
}

impl Trace {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let now = Timestamp::now().as_millisecond();
        let since_ms = now - i64::try_from(self.since.as_millis()).unwrap_or(now);
        let wanted = Wanted { id: self.event_id.as_u128(), since_ms };
        let found = find::find(settings, tokio, &wanted, self.scan)?;
        let cubes = aggregate::cubes(settings)?;
        let report = self.report(settings, &found, &cubes)?;
        output.json(&report)?;
        report.print(output)?;
        if report.events.is_empty() && report.dead_letters.is_empty() {
            return Err(self.not_found(&found));
        }
        Ok(())
    }

    fn report<'a>(
        &self,
        settings: &runtime::config::Settings,
        found: &'a Found,
        cubes: &Cubes,
    ) -> Result<Report<'a>, Error> {
        let raw_topic = settings.kafka.topic(runtime::topic::Topic::RawEvents);
        let mut events = Vec::with_capacity(found.events.len());
        for (index, traced) in found.events.iter().enumerate() {
            let earlier = found.events[..index].iter().find(|earlier| earlier.is_accepted_before(traced));
            events.push(Story {
                event_name: traced.text(::event::Field::EventName),
                app_id: traced.text(::event::Field::AppId),
                anonymous_id: traced.text(::event::Field::AnonymousId),
                raw: traced.raw_place(&raw_topic),
                enriched: traced.place,
                time: stamps::time(traced),
                verdict: stamps::verdict(traced, earlier, settings),
                stamps: stamps::stamps(traced),
                cubes: cubes::touched(settings, cubes, &traced.batch)?,
                fields: traced.fields()?,
            });
        }
        Ok(Report {
            event_id: self.event_id.to_string(),
            source: found.source,
            events,
            dead_letters: &found.dead_letters,
            waiting: &found.waiting,
        })
    }

    fn not_found(&self, found: &Found) -> Error {
        let id = self.event_id;
        if let Some(place) = found.waiting.first() {
            return Error::Failed(format!(
                "event {id} stands in {place}, but neither enriched-events nor dead-letters has it yet: `millrace \
                 status` shows which stage is behind or not running"
            ));
        }
        let since = duration(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX));
        Error::Failed(format!(
            "event {id} is not in raw-events, enriched-events or dead-letters of the last {since}: look further back with --since \
             (as far as the topics are kept), compare the ID with what the client logs, and the client's brokers and \
             topic with kafka.brokers and kafka.topic_prefix"
        ))
    }
}

const LABEL: usize = 20;

impl Report<'_> {
    fn print(&self, output: &mut Output) -> Result<(), Error> {
        let mut devices: Vec<_> =
            self.events.iter().map(|story| (story.app_id, story.anonymous_id)).collect();
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
                self.source.described(),
            ))?;
        }
        for story in &self.events {
            output.line("")?;
            story.print(output)?;
        }
        for letter in self.dead_letters {
            output.line("")?;
            print_letter(letter, output)?;
        }
        Ok(())
    }
}

fn entry(output: &mut Output, label: &str, value: &str, reason: &str) -> Result<(), Error> {
    let reason =
        if reason.is_empty() { String::new() } else { style(format!("  {reason}")).dim().to_string() };
    Ok(output.line(format!("  {label:<LABEL$}{value}{reason}"))?)
}

impl Story<'_> {
    fn print(&self, output: &mut Output) -> Result<(), Error> {
        let sender = if self.anonymous_id.is_empty() { "a server" } else { self.anonymous_id };
        output.line(format!("{} of {} by {sender}", style(self.event_name).bold(), self.app_id))?;
        entry(output, "raw record", &self.raw.to_string(), "")?;
        entry(output, "enriched", &self.enriched.to_string(), "")?;
        entry(output, "received", &self.time.received, "")?;
        entry(output, "event time", &self.time.event, &self.time.reason)?;
        entry(output, "verdict", &self.verdict.value, &self.verdict.reason)?;
        for stamp in &self.stamps {
            entry(output, stamp.stamp, &stamp.value, &stamp.reason)?;
        }
        if self.cubes.is_empty() {
            entry(output, "cubes", "none", "no cube's `where` lets it in")?;
        }
        let mut label = "cubes";
        for touched in &self.cubes {
            let group = touched.dimensions.iter().filter(|(_, value)| !value.is_empty());
            let group: Vec<String> = group.map(|(name, value)| format!("{name}={value}")).collect();
            let measures: Vec<String> =
                touched.measures.iter().map(|(name, value)| format!("{name} {value:+}")).collect();
            let value = format!("{}  {}", style(touched.cube.as_str()).bold(), measures.join(", "));
            entry(output, label, &value, "")?;
            label = "";
            entry(output, label, &format!("  {}", touched.panes()), "")?;
            entry(output, label, &format!("  {}", group.join(" ")), "")?;
        }
        Ok(())
    }
}

fn print_letter(letter: &DeadLetter, output: &mut Output) -> Result<(), Error> {
    let name = if letter.event_name.is_empty() { "an event" } else { &letter.event_name };
    let sender = if letter.anonymous_id.is_empty() { "somebody" } else { &letter.anonymous_id };
    output.line(format!("{} of {} by {sender}", style(name).bold(), letter.app_id))?;
    entry(output, "raw record", &letter.raw.to_string(), "")?;
    entry(output, "refused by", &letter.stage, "")?;
    let pointer = if letter.pointer.is_empty() { "the whole event" } else { &letter.pointer };
    entry(output, "code", &letter.code, &letter.meaning())?;
    entry(output, "where", pointer, "")?;
    entry(output, "message", &letter.message, "")?;
    if !letter.is_its_own {
        entry(output, "note", "the refused bytes cannot be read as this one event; they name its ID", "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_in_days_hours_and_minutes() {
        for (text, seconds) in [("1h", 3_600), ("2d", 172_800), ("90min", 5_400), ("1d12h", 129_600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "5", "-1h", "1mo"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
