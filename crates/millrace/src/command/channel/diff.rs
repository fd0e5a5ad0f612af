//! `millrace channel diff`: for which recent events another file of rules gives another channel.
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Args;
use enrich::channel::{Channel, ChannelRules, Evidence, host};
use event::{Batch, Field, Kind, Topic};
use jiff::Timestamp;
use rdkafka::Message;
use serde::Serialize;

use super::rules_file;
use crate::{
    command::value_parsers,
    context::Context,
    error::Error,
    output::{
        note,
        table::{
            Column::{Number, Text},
            Table, table,
        },
        text::count,
    },
    topic_reader::{self, Read, TopicReader},
};

/// Examples to show for each pair of groups.
const EXAMPLES: usize = 3;

#[derive(Debug, Args)]
#[command(after_help = "\
Reads the records that were written to enriched-events within --since. Applies the current rules and the new rules to every \
event of kind `event`, by its own fields, else by platform and in-app browser. Sessions and last touches are not recomputed, \
because they depend on the history of the device. Exits with 0 whether or not anything differs.

EXAMPLES
  millrace channel diff channels.toml --since 1d
  millrace channel diff channels.toml --since 2h --json | jq '.changes[] | {from, to, events}'")]
pub(crate) struct DiffChannels {
    /// File of the new rules
    #[arg(value_name = "NEW.toml")]
    new: PathBuf,
    /// How far back to read
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = value_parsers::duration)]
    since: Duration,
}

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct ChannelDifferences {
    /// Events of kind `event` that were read.
    events: u64,
    /// Events whose group differs.
    changed: u64,
    /// Events whose group is the same and whose source differs.
    renamed: u64,
    /// Sorted by frequency before they are printed.
    changes: Vec<ChannelMove>,
    #[serde(skip)]
    by_groups: BTreeMap<(String, String), usize>,
}

/// Events that move from one channel group to another.
#[derive(Debug, Serialize)]
struct ChannelMove {
    from: String,
    to: String,
    events: u64,
    examples: Vec<MoveExample>,
}

/// Evidence of an event that moves, and the rules that decide.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct MoveExample {
    shown: String,
    old_rule: String,
    new_rule: String,
}

impl DiffChannels {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, .. } = context;
        let new = rules_file::read(&self.new, settings)?;
        let old = enrich::channel_rules(settings)?;
        let now_ms = Timestamp::now().as_millisecond();
        let since_ms = now_ms.saturating_sub(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX));
        let topic = settings.kafka.topic(Topic::EnrichedEvents);
        let consumer = topic_reader::connect(settings)?;
        let partitions = topic_reader::partitions(settings, &consumer, &topic)?;
        let ranges = topic_reader::ranges_since(&consumer, &topic, &partitions, since_ms)?;
        let mut reader = TopicReader::new(settings, consumer, &topic, &ranges, false)?;
        let mut differences = ChannelDifferences::default();
        loop {
            match reader.next(Duration::from_millis(100))? {
                Read::Record(message) => match Batch::decode(message.payload().unwrap_or_default()) {
                    Ok(batch) => (0..batch.rows()).for_each(|row| differences.add(&batch, row, &old, &new)),
                    Err(error) => note(format!(
                        "skipped {topic} partition {}, offset {}: {error}",
                        message.partition(),
                        message.offset()
                    )),
                },
                Read::Idle => (),
                Read::End => break,
            }
        }
        differences.changes.sort_by_key(|change| std::cmp::Reverse(change.events));
        output.json(&differences)?;
        let versions = format!("rules {} → {}", old.version(), new.version());
        output.line(differences.summary(&versions))?;
        if !differences.changes.is_empty() {
            output.line("")?;
            output.table(&differences.moves_table())?;
        }
        output.line("")?;
        output.line(
            "By the events' own fields. Sessions keep the channel of their first event, and sessions without evidence take \
             the device's last touch; neither is recomputed.",
        )?;
        Ok(())
    }
}

impl ChannelDifferences {
    fn add(&mut self, batch: &Batch, row: usize, old: &ChannelRules, new: &ChannelRules) {
        if batch.text(Field::Kind, row) != Kind::Event.as_str() {
            return;
        }
        self.events += 1;
        // Enrich copies the install source to all events of a device. Rules look at it on the first one only.
        let install_source = match batch.number(Field::IsNewDevice, row) {
            0 => "",
            _ => batch.text(Field::InstallSource, row),
        };
        let evidence = Evidence::of_event(batch, row, install_source);
        let place = [Field::Platform, Field::InAppBrowser].map(|field| batch.text(field, row));
        let [before, after] = [old, new].map(|rules| decide(rules, &evidence, place));
        if before.group == after.group {
            self.renamed += u64::from(before.source != after.source);
            return;
        }
        self.changed += 1;
        let groups = (before.group.to_owned(), after.group.to_owned());
        let place_in_list = *self.by_groups.entry(groups).or_insert(self.changes.len());
        if place_in_list == self.changes.len() {
            let (from, to) = (before.group.to_owned(), after.group.to_owned());
            self.changes.push(ChannelMove { from, to, events: 0, examples: Vec::new() });
        }
        let change = &mut self.changes[place_in_list];
        change.events += 1;
        if change.examples.len() < EXAMPLES {
            let shown = describe(&evidence, place);
            let example = MoveExample { shown, old_rule: before.rule.into(), new_rule: after.rule.into() };
            if !change.examples.contains(&example) {
                change.examples.push(example);
            }
        }
    }

    fn summary(&self, versions: &str) -> String {
        let Self { events, changed, renamed, .. } = self;
        if *events == 0 {
            return format!("{versions}: no events since then");
        }
        let share = *changed as f64 * 100.0 / *events as f64;
        let (events, changed, renamed) = (count(*events), count(*changed), count(*renamed));
        format!(
            "{versions}: {changed} of {events} events ({share:.2} %) would be in another group, {renamed} in the same group \
             with another source"
        )
    }

    fn moves_table(&self) -> Table {
        let mut table = table(&[
            Text("old group"),
            Text("new group"),
            Number("events"),
            Text("old rule"),
            Text("new rule"),
            Text("example"),
        ]);
        for change in &self.changes {
            for (place, example) in change.examples.iter().enumerate() {
                let [from, to, events] = match place {
                    0 => [change.from.clone(), change.to.clone(), count(change.events)],
                    _ => Default::default(),
                };
                let MoveExample { shown, old_rule, new_rule } = example;
                table.add_row([from, to, events, old_rule.clone(), new_rule.clone(), shown.clone()]);
            }
        }
        table
    }
}

fn decide<'r>(
    rules: &'r ChannelRules,
    evidence: &Evidence<'_>,
    [platform, in_app_browser]: [&str; 2],
) -> Channel<'r> {
    rules.own(evidence).unwrap_or_else(|| rules.fallback(evidence, platform, in_app_browser))
}

/// The evidence with the highest priority.
fn describe(evidence: &Evidence<'_>, [platform, in_app_browser]: [&str; 2]) -> String {
    let text = if evidence.has_campaign() {
        let parts = [&evidence.campaign_source, &evidence.campaign_medium, &evidence.campaign_name];
        let parts = parts.map(|text| if text.is_empty() { "-" } else { text.as_ref() });
        format!("campaign {}", parts.join(" / "))
    } else if !evidence.click_id_type.is_empty() {
        format!("click id {}", evidence.click_id_type)
    } else if !evidence.install_source.is_empty() {
        format!("install source {}", evidence.install_source)
    } else if !evidence.referrer.is_empty() {
        // No rule looks at the rest of the URL, and it can be private.
        format!("referrer {}", host(evidence.referrer).unwrap_or_default())
    } else {
        format!("platform {platform} {in_app_browser}")
    };
    text.trim_end().chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use enrich::channel::BUILT_IN;
    use event::BatchBuilder;

    use super::*;

    #[test]
    fn events_that_move_are_counted_by_their_groups_with_examples() {
        let old = ChannelRules::parse(BUILT_IN, &[]).unwrap();
        let changed = BUILT_IN.replacen("class = \"video\"", "class = \"social\"", 1);
        let new = ChannelRules::parse(&changed, &[]).unwrap();
        let mut builder = BatchBuilder::default();
        for (kind, referrer, times) in [
            ("event", "https://www.bilibili.com/video/1?private=1", 3),
            ("event", "https://t.bilibili.com/2", 1),
            ("event", "https://www.douyin.com/video/1", 2),
            ("event", "", 4),
            ("bot", "https://www.bilibili.com/video/1", 5),
        ] {
            for _ in 0..times {
                builder.text(Field::Kind, kind);
                builder.text(Field::Platform, "web");
                builder.text(Field::PageReferrer, referrer);
                // Ignored: not the device's first event.
                builder.text(Field::InstallSource, "com.huawei.appmarket");
                builder.end_row();
            }
        }
        let batch = Batch::decode(&builder.finish()).unwrap();
        let mut differences = ChannelDifferences::default();
        (0..batch.rows()).for_each(|row| differences.add(&batch, row, &old, &new));
        assert_eq!((differences.events, differences.changed, differences.renamed), (10, 4, 0));
        let [change] = &differences.changes[..] else { panic!("{differences:?}") };
        assert_eq!(
            (change.from.as_str(), change.to.as_str(), change.events),
            ("organic_video", "organic_social", 4)
        );
        let shown: Vec<&str> = change.examples.iter().map(|example| example.shown.as_str()).collect();
        assert_eq!(shown, ["referrer www.bilibili.com", "referrer t.bilibili.com"]);
        assert_eq!(
            differences.summary("rules 2 → 3"),
            "rules 2 → 3: 4 of 10 events (40.00 %) would be in another group, 0 in the same group with another source"
        );
    }
}
