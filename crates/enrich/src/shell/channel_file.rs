//! Reads the file of channel rules.
use runtime::config::{ConfigError, Settings};

use crate::channel::{BUILT_IN, ChannelRules};

/// The channel rules in use: those of `enrich.channels_file`, or the built-in rules when it is empty.
///
/// # Errors
/// The file cannot be read, or it is wrong: the error names the rule.
pub fn channel_rules(settings: &Settings) -> Result<ChannelRules, ConfigError> {
    const KEY: &str = "enrich.channels_file";
    let path = &settings.enrich.channels_file;
    let text = if path.is_empty() {
        BUILT_IN.to_owned()
    } else {
        let read = std::fs::read_to_string(path);
        read.map_err(|error| ConfigError::value(KEY, path, format!("a file that can be read: {error}")))?
    };
    ChannelRules::parse(&text, &settings.enrich.own_hosts)
        .map_err(|error| ConfigError::value(KEY, path, format!("a file of valid channel rules: {error}")))
}
