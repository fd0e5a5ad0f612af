//! Reads the file of channel rules.
use runtime::{Error, config::Settings};

use crate::channel::{BUILT_IN, ChannelRules};

/// The channel rules in use: those of `enrich.channels_file`, or the built-in rules when it is empty.
///
/// # Errors
/// The file cannot be read, or it is wrong: the error names the rule.
pub fn channel_rules(settings: &Settings) -> Result<ChannelRules, Error> {
    let path = &settings.enrich.channels_file;
    let (origin, text) = if path.is_empty() {
        ("the built-in channel rules", BUILT_IN.to_owned())
    } else {
        let read = std::fs::read_to_string(path);
        let unreadable = |e| Error::Stage(format!("enrich.channels_file {path} cannot be read: {e}"));
        (path.as_str(), read.map_err(unreadable)?)
    };
    ChannelRules::parse(&text, &settings.enrich.own_hosts).map_err(|e| Error::Stage(format!("{origin}: {e}")))
}
