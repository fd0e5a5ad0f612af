//! `millrace channel`: explains the channel of an event, and compares channel rules.
use clap::Subcommand;

use crate::{context::Context, error::Error};

mod diff;
mod event_evidence;
mod explain;
mod rules_file;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Channel rules come from the file enrich.channels_file or are built in. Both commands apply them to the fields of the event. \
Enrich stamps an event with the channel of its session, which the first event of the session decides. If no rule matches that \
event's own fields, the device's last touch within 30 days decides.

EXAMPLES
  millrace channel explain 'https://www.example.tv/?utm_source=baidu&utm_medium=cpc'
  millrace channel diff channels.toml --since 1d")]
pub(crate) enum ChannelCommand {
    /// Show each rule that is tried on an event, and which one matches
    Explain(explain::ExplainChannel),
    /// Show for which recent events another file of rules gives another channel
    Diff(diff::DiffChannels),
}

impl ChannelCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Explain(explain) => explain.run(context),
            Self::Diff(diff) => diff.run(context),
        }
    }
}
