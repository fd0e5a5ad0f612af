//! `millrace channel`: why an event is credited to a channel, and what other rules would do.
use std::path::Path;

use clap::Subcommand;
use enrich::channel::ChannelRules;
use runtime::config::Settings;

use crate::{context::Context, error::Error};

mod diff;
mod explain;
mod shown;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
The rules are data: a file (enrich.channels_file), else those built in. Both commands judge what an
event itself shows. The channel it is stamped with is that of its session, fixed by the session's
first event; where that shows nothing, the device's last touch of the 30 days before counts.

EXAMPLES
  millrace channel explain 'https://www.example.tv/?utm_source=baidu&utm_medium=cpc'
  millrace channel diff channels.toml --since 1d")]
pub(crate) enum Channel {
    /// Show every rule that is tried on an event and why the winner wins
    Explain(explain::Explain),
    /// Show what a changed file of rules would decide otherwise on recent events
    Diff(diff::Diff),
}

impl Channel {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Explain(explain) => explain.run(context),
            Self::Diff(diff) => diff.run(context),
        }
    }
}

/// The rules of a file.
fn rules_of(path: &Path, settings: &Settings) -> Result<ChannelRules, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    ChannelRules::parse(&text, &settings.enrich.own_hosts)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}
