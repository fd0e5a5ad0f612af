//! Reads a file of channel rules.
use std::path::Path;

use enrich::channel::ChannelRules;
use runtime::config::Settings;

use crate::error::Error;

/// The rules of a file.
pub(super) fn read(path: &Path, settings: &Settings) -> Result<ChannelRules, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    ChannelRules::parse(&text, &settings.enrich.own_hosts)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}
