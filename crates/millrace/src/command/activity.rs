//! `millrace activity`: changes and reads the activity registry. Every change goes through [`write`], so every change is
//! in the history.
use clap::Subcommand;

use crate::{context::Context, error::Error};

mod change;
mod create;
mod describe;
mod end;
mod export;
#[cfg(test)]
mod fixture;
mod history;
mod import;
mod list;
mod lookup;
mod show;
mod write;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Enrich processes apply a change within two seconds. ClickHouse keeps each change, in the view activity_history.

EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
  millrace activity list
  millrace activity end summer-draw --reason \"out of prizes\"
  millrace activity export > activities.jsonl && millrace activity import activities.jsonl
  millrace activity history summer-draw")]
pub(crate) enum ActivityCommand {
    Create(create::CreateActivity),
    List(list::ListActivities),
    Show(show::ShowActivity),
    End(end::EndActivity),
    Import(import::ImportActivities),
    Export(export::ExportActivities),
    History(history::ActivityHistory),
}

impl ActivityCommand {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List(list) => list.run(context),
            Self::Show(show) => show.run(context),
            Self::End(end) => end.run(context),
            Self::Import(import) => import.run(context),
            Self::Export(export) => export.run(context),
            Self::History(history) => history.run(context),
        }
    }
}
