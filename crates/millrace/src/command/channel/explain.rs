//! `millrace channel explain`: the rules that are tried on one event.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use comfy_table::{Attribute, Cell, Color};
use console::style;
use enrich::channel::{ChannelRules, TriedRule};
use serde_json::json;

use super::{event_evidence::EventEvidence, rules_file};
use crate::{
    context::Context,
    error::Error,
    output::{
        Output,
        table::{Column::Text, Table, table},
    },
};

/// The reason for the one rule that needs the history of the device.
const HISTORY: &str = "needs the history of the device: its last touch within 30 days";

#[derive(Debug, Args)]
#[command(after_help = "\
Applies the rules to the fields of the event. Enrich stamps an event with the channel of its session, which the first event \
of the session decides. A session without evidence takes the device's last touch within 30 days. Both need the history of the \
device, which this command does not read.

EXAMPLES
  millrace channel explain 'https://www.example.tv/?utm_source=baidu&utm_medium=cpc'
  millrace channel explain https://www.example.tv/ --referrer https://www.zhihu.com/question/1
  millrace channel explain '{\"platform\":\"h5\",\"user_agent\":\"… MicroMessenger/8.0.47\"}' --json
  millrace cat enriched-events -n 1 | millrace channel explain -")]
pub(crate) struct ExplainChannel {
    /// URL of a page, an event as JSON (as clients send it or as `millrace cat` prints it), @FILE, or - for stdin
    #[arg(value_name = "URL|EVENT")]
    event: String,
    /// Referrer of the page
    #[arg(long, value_name = "URL")]
    referrer: Option<String>,
    /// File of rules to use instead of the current ones
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl ExplainChannel {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let rules = match &self.rules {
            Some(path) => rules_file::read(path, &context.settings)?,
            None => enrich::channel_rules(&context.settings)?,
        };
        print(&self.evidence()?, &rules, &mut context.output)
    }

    fn evidence(&self) -> Result<EventEvidence, Error> {
        let text = match self.event.as_str() {
            "-" => io::read_to_string(io::stdin().lock().take(1 << 20))
                .map_err(|source| Error::System { action: "reading stdin", source })?,
            event => match event.strip_prefix('@') {
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|source| Error::File { path: Path::new(path).to_owned(), source })?,
                None => event.to_owned(),
            },
        };
        let text = text.trim();
        let mut shown = match text {
            _ if text.starts_with(['{', '[']) => EventEvidence::of_json(text)?,
            _ if text.contains("://") => EventEvidence::of_url(text),
            _ => {
                return Err(Error::Usage(format!(
                    "{text:?} is neither a URL (https://…) nor an event as JSON; write @FILE to read a file"
                )));
            }
        };
        if let Some(referrer) = &self.referrer {
            shown.referrer.clone_from(referrer);
        }
        Ok(shown)
    }
}

fn print(shown: &EventEvidence, rules: &ChannelRules, output: &mut Output) -> Result<(), Error> {
    let evidence = shown.evidence();
    let (tried, channel) = rules.explain(&evidence, &shown.platform, &shown.in_app_browser);
    let winner = tried.last().map_or("", |tried| tried.reason.as_str());
    output.json(&json!({
        "rules_version": rules.version(),
        "shown": {
            "campaign_source": evidence.campaign_source, "campaign_medium": evidence.campaign_medium,
            "campaign_name": evidence.campaign_name, "click_id_type": evidence.click_id_type,
            "install_source": evidence.install_source, "referrer": evidence.referrer,
            "platform": shown.platform, "in_app_browser": shown.in_app_browser,
        },
        "tried": tried.iter().map(|tried| json!({
            "rule": tried.rule, "group": tried.group, "fallback": tried.is_fallback,
            "matched": tried.matched, "reason": tried.reason,
        })).collect::<Vec<_>>(),
        "channel": {
            "group": channel.group, "source": channel.source, "medium": channel.medium,
            "campaign": channel.campaign, "rule": channel.rule, "is_touch": channel.is_touch,
        },
        "needs_history": tried.last().is_some_and(|tried| tried.is_fallback),
    }))?;
    for (name, value) in [
        (
            "campaign",
            [&evidence.campaign_source, &evidence.campaign_medium, &evidence.campaign_name]
                .map(|text| if text.is_empty() { "-" } else { text.as_ref() })
                .join(" / "),
        ),
        ("click id", evidence.click_id_type.to_string()),
        ("install source", evidence.install_source.to_owned()),
        ("referrer", evidence.referrer.to_owned()),
        ("platform", shown.platform.clone()),
        ("in-app browser", shown.in_app_browser.clone()),
    ] {
        if !value.is_empty() && value != "- / - / -" {
            output.line(format!("{name:<15} {value}"))?;
        }
    }
    output.line("")?;
    output.table(&rules_table(&tried))?;
    output.line("")?;
    let named = [("source", &channel.source), ("medium", &channel.medium), ("campaign", &channel.campaign)];
    let named: String = named
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!(", {name} {text}"))
        .collect();
    output.line(format!("{}{named}", style(channel.group).bold()))?;
    output.line(format!("by rule {} (rules version {}): {winner}", channel.rule, rules.version()))?;
    let is_fallback = tried.last().is_some_and(|tried| tried.is_fallback);
    output.line(match (is_fallback, channel.is_touch) {
        (true, _) => {
            "Applies when this event begins a session and the device has no touch within 30 days. A session that has begun \
             keeps its channel, and a touch has priority (rule last_touch)."
        }
        (false, true) => {
            "Applies when this event begins a session. In any case it becomes the device's last touch for 30 days. A session \
             that has begun keeps the channel of its first event."
        }
        (false, false) => {
            "Applies when this event begins a session. It is not a touch. A session that has begun keeps the channel of its \
             first event."
        }
    })?;
    Ok(())
}

fn rules_table(tried: &[TriedRule<'_>]) -> Table {
    let mut table = table(&[Text(""), Text("rule"), Text("group"), Text("reason")]);
    let mut has_last_touch = false;
    for tried in tried {
        if tried.is_fallback && !has_last_touch {
            has_last_touch = true;
            table.add_row(["?", "last_touch", "group of the touch", HISTORY]);
        }
        let mark = if tried.matched {
            Cell::new("✓").fg(Color::Green)
        } else {
            Cell::new("·").add_attribute(Attribute::Dim)
        };
        table.add_row([mark, tried.rule.into(), tried.group.into(), tried.reason.as_str().into()]);
    }
    table
}
