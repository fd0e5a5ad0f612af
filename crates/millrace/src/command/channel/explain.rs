//! `millrace channel explain`: every rule that is tried on one event.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use console::style;
use enrich::channel::{ChannelRules, TriedRule};
use serde_json::json;

use super::{rules_of, shown::Shown};
use crate::{context::Context, error::Error, output::Output, table::Table};

/// What is said where the device's past would be asked.
const HISTORY: &str = "in the device's history, not in the event: last non-direct touch within 30 days";

#[derive(Debug, Args)]
#[command(after_help = "\
Only what the event itself shows is judged. The channel it is stamped with is that of its session,
fixed by the session's first event, and a session that shows nothing takes the device's last touch of
the 30 days before. Both come from the device's history.

EXAMPLES
  millrace channel explain 'https://www.example.tv/?utm_source=baidu&utm_medium=cpc'
  millrace channel explain https://www.example.tv/ --referrer https://www.zhihu.com/question/1
  millrace channel explain '{\"platform\":\"h5\",\"user_agent\":\"… MicroMessenger/8.0.47\"}' --json
  millrace cat enriched-events -n 1 | millrace channel explain -")]
pub(crate) struct Explain {
    /// A page's address, an event as JSON (as clients send it or as `millrace cat` prints it), @FILE, or - for stdin
    #[arg(value_name = "URL|EVENT")]
    event: String,
    /// The page before, for an address
    #[arg(long, value_name = "URL")]
    referrer: Option<String>,
    /// A file of rules instead of those in use
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let rules = match &self.rules {
            Some(path) => rules_of(path, &context.settings)?,
            None => enrich::channel_rules(&context.settings)?,
        };
        print(&self.shown()?, &rules, &mut context.output)
    }

    fn shown(&self) -> Result<Shown, Error> {
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
            _ if text.starts_with(['{', '[']) => Shown::of_json(text)?,
            _ if text.contains("://") => Shown::of_url(text),
            _ => {
                return Err(Error::Usage(format!(
                    "{text:?} is neither a page's address (https://…) nor an event as JSON: put @ before a file's name"
                )));
            }
        };
        if let Some(referrer) = &self.referrer {
            shown.referrer.clone_from(referrer);
        }
        Ok(shown)
    }
}

fn print(shown: &Shown, rules: &ChannelRules, output: &mut Output) -> Result<(), Error> {
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
        // The session's channel and the last touch are not in the event.
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
    output.table(&table(&tried))?;
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
            "Only when this event begins a session and the device's history has no touch of the 30 days before: a session \
             that is under way keeps its channel, and a touch goes before (rule last_touch)."
        }
        (false, true) => {
            "It decides when this event begins a session, and is the device's touch for 30 days either way; a \
             session that is under way keeps the channel of its first event. Both are in the device's history."
        }
        (false, false) => {
            "It decides when this event begins a session, and is no touch; a session that is under way keeps the channel \
             of its first event, which is in the device's history."
        }
    })?;
    Ok(())
}

fn table(tried: &[TriedRule<'_>]) -> Table {
    let mut table = Table::new(&["", "rule", "group", "reason"]);
    let mut asked_history = false;
    for tried in tried {
        if tried.is_fallback && !asked_history {
            asked_history = true;
            table.row(["?".into(), "last_touch".into(), "that of the touch".into(), HISTORY.into()]);
        }
        let mark = if tried.matched { style("✓").green() } else { style("·").dim() };
        table.row([mark.to_string(), tried.rule.into(), tried.group.into(), tried.reason.clone()]);
    }
    table
}
