//! `millrace channel diff`: what a changed file of rules would decide otherwise on recent events.
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Args;
use enrich::channel::{Channel, ChannelRules, Evidence, host};
use event::{Batch, Field, Kind};
use jiff::Timestamp;
use rdkafka::Message;
use runtime::topic::Topic;
use serde::Serialize;

use super::rules_of;
use crate::{
    command::trace::span,
    context::Context,
    error::Error,
    kafka::{self, Read, Reader},
    output::note,
    table::{Table, count},
};

/// Examples kept of each change.
const EXAMPLES: usize = 3;

#[derive(Debug, Args)]
#[command(after_help = "\
Reads the topic enriched-events, by the time each record was written, and judges every event of kind
`event` by the rules in use and by the new ones: what it shows itself, else platform and built-in
browser. What sessions and last touches make of it depends on the devices' history and is not
computed anew. Exit code 0, whether or not anything changes.

EXAMPLES
  millrace channel diff channels.toml --since 1d
  millrace channel diff channels.toml --since 2h --json | jq '.changes[] | {from, to, events}'")]
pub(crate) struct Diff {
    /// The changed file of rules
    #[arg(value_name = "NEW.toml")]
    new: PathBuf,
    /// How far back to read
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = span)]
    since: Duration,
}

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Differences {
    /// Events of kind `event` that were judged.
    events: u64,
    /// Of those, in another group.
    changed: u64,
    /// Of the others, with another source.
    renamed: u64,
    /// The most frequent first, once they are sorted.
    changes: Vec<Change>,
    #[serde(skip)]
    by_groups: BTreeMap<(String, String), usize>,
}

/// Events that move from one group to another.
#[derive(Debug, Serialize)]
struct Change {
    from: String,
    to: String,
    events: u64,
    examples: Vec<Example>,
}

/// One kind of evidence that is judged otherwise.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Example {
    shown: String,
    old_rule: String,
    new_rule: String,
}

impl Diff {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, .. } = context;
        let new = rules_of(&self.new, settings)?;
        let old = enrich::channel_rules(settings)?;
        let now_ms = Timestamp::now().as_millisecond();
        let since_ms = now_ms.saturating_sub(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX));
        let topic = settings.kafka.topic(Topic::EnrichedEvents);
        let consumer = kafka::connect(settings)?;
        let partitions = kafka::partitions(settings, &consumer, &topic)?;
        let spans = kafka::spans_since(&consumer, &topic, &partitions, since_ms)?;
        let mut reader = Reader::new(consumer, &topic, &spans, false)?;
        let mut differences = Differences::default();
        loop {
            match reader.next(Duration::from_millis(100))? {
                Read::Record(message) => match Batch::decode(message.payload().unwrap_or_default()) {
                    Ok(batch) => (0..batch.rows()).for_each(|row| differences.judge(&batch, row, &old, &new)),
                    Err(error) => note(format!(
                        "{topic} {}@{}: not read: {error}",
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
        output.line(differences.in_one_line(&versions))?;
        if !differences.changes.is_empty() {
            output.line("")?;
            output.table(&differences.table())?;
        }
        output.line("\nBy what the events themselves show; sessions keep the channel of their first event, and those that show \
                     nothing take the device's last touch, which is not computed anew.")?;
        Ok(())
    }
}

impl Differences {
    fn judge(&mut self, batch: &Batch, row: usize, old: &ChannelRules, new: &ChannelRules) {
        if batch.text(Field::Kind, row) != Kind::Event.as_str() {
            return;
        }
        self.events += 1;
        // enrich writes a device's install source on all its events; only the first one is judged by it.
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
            self.changes.push(Change { from, to, events: 0, examples: Vec::new() });
        }
        let change = &mut self.changes[place_in_list];
        change.events += 1;
        if change.examples.len() < EXAMPLES {
            let shown = in_words(&evidence, place);
            let example = Example { shown, old_rule: before.rule.into(), new_rule: after.rule.into() };
            if !change.examples.contains(&example) {
                change.examples.push(example);
            }
        }
    }

    fn in_one_line(&self, versions: &str) -> String {
        let Self { events, changed, renamed, .. } = self;
        if *events == 0 {
            return format!("{versions}: no event in this time");
        }
        let share = *changed as f64 * 100.0 / *events as f64;
        let (events, changed, renamed) = (count(*events), count(*changed), count(*renamed));
        format!(
            "{versions}: {changed} of {events} events ({share:.2} %) would be in another group, {renamed} in the same with \
             another source"
        )
    }

    fn table(&self) -> Table {
        let mut table =
            Table::new(&["old group", "new group", ">events", "old rule", "new rule", "for example"]);
        for change in &self.changes {
            for (place, example) in change.examples.iter().enumerate() {
                let [from, to, events] = match place {
                    0 => [change.from.clone(), change.to.clone(), count(change.events)],
                    _ => Default::default(),
                };
                let Example { shown, old_rule, new_rule } = example;
                table.row([from, to, events, old_rule.clone(), new_rule.clone(), shown.clone()]);
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
    rules.own(evidence).unwrap_or_else(|| rules.fallback(platform, in_app_browser))
}

/// What counts first of what is shown.
fn in_words(evidence: &Evidence<'_>, [platform, in_app_browser]: [&str; 2]) -> String {
    let text = if evidence.has_campaign() {
        let parts = [&evidence.campaign_source, &evidence.campaign_medium, &evidence.campaign_name];
        let parts = parts.map(|text| if text.is_empty() { "-" } else { text.as_ref() });
        format!("campaign {}", parts.join(" / "))
    } else if !evidence.click_id_type.is_empty() {
        format!("click id {}", evidence.click_id_type)
    } else if !evidence.install_source.is_empty() {
        format!("install source {}", evidence.install_source)
    } else if !evidence.referrer.is_empty() {
        // The rest of the address decides nothing, and can be private.
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
                // Not a device's first event: tells nothing.
                builder.text(Field::InstallSource, "com.huawei.appmarket");
                builder.end_row();
            }
        }
        let batch = Batch::decode(&builder.finish()).unwrap();
        let mut differences = Differences::default();
        (0..batch.rows()).for_each(|row| differences.judge(&batch, row, &old, &new));
        assert_eq!((differences.events, differences.changed, differences.renamed), (10, 4, 0));
        let [change] = &differences.changes[..] else { panic!("{differences:?}") };
        assert_eq!(
            (change.from.as_str(), change.to.as_str(), change.events),
            ("organic_video", "organic_social", 4)
        );
        let shown: Vec<&str> = change.examples.iter().map(|example| example.shown.as_str()).collect();
        assert_eq!(shown, ["referrer www.bilibili.com", "referrer t.bilibili.com"]);
        assert_eq!(
            differences.in_one_line("rules 2 → 3"),
            "rules 2 → 3: 4 of 10 events (40.00 %) would be in another group, 0 in the same with another source"
        );
    }
}
