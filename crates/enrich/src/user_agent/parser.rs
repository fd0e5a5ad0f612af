//! Parses one user agent, by our own lists first and then by the rules of uap-core.
use std::fmt;

use ua_parser::{Extractor, Regexes};

use super::{agent::UserAgent, crawler, overlay};

/// The rules of <https://github.com/ua-parser/uap-core>, Apache-2.0, as of release 0.18.
const REGEXES: &str = include_str!("regexes.yaml");

/// Why the built-in rules cannot be used. A build with such rules is broken.
#[derive(Debug, thiserror::Error)]
pub enum UserAgentError {
    /// The rules are not the expected YAML.
    #[error("the user agent rules cannot be read: {0}")]
    Yaml(#[from] serde_saphyr::Error),
    /// A regular expression is malformed.
    #[error("the user agent rules cannot be compiled: {0}")]
    Regex(#[from] ua_parser::Error),
}

/// The compiled rules: about 30 MB, compiled in a quarter of a second, so a process has one and shares it.
pub struct Parser {
    rules: Extractor<'static>,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// Compiles the rules.
    ///
    /// # Errors
    /// The built-in rules are broken.
    pub fn new() -> Result<Self, UserAgentError> {
        let regexes: Regexes<'static> = serde_saphyr::from_str(REGEXES)?;
        Ok(Self { rules: Extractor::try_from(regexes)? })
    }

    /// Parses a user agent.
    pub fn read(&self, text: &str) -> UserAgent {
        if text.is_empty() {
            return UserAgent::default();
        }
        let product = overlay::product(text);
        let (os_name, os_version) = self.system(text);
        let device = self.device(text, &os_name);
        let is_bot = device.is_none() || crawler::is_crawler(&text.to_ascii_lowercase());
        // A crawler reports a device that it does not run on.
        let (device_brand, device_model) = device.filter(|_| !is_bot).unwrap_or_default();
        UserAgent {
            browser: product.map_or_else(|| self.browser(text), |product| product.browser.to_owned()),
            in_app_browser: product.map_or("", |product| product.app),
            os_name,
            os_version,
            device_brand,
            device_model,
            is_bot,
        }
    }

    fn browser(&self, text: &str) -> String {
        match self.rules.ua.extract(text) {
            // Some rules take part of an address for a name.
            Some(found) if found.family != "Other" && !found.family.contains('/') => {
                found.family.into_owned()
            }
            _ => String::new(),
        }
    }

    fn system(&self, text: &str) -> (String, String) {
        if let Some(version) = after(text, "OpenHarmony ") {
            return ("HarmonyOS".into(), version.to_owned());
        }
        // Before version 5, HarmonyOS reports the Android version that it is compatible with, not its own.
        if text.contains("HarmonyOS") {
            return ("HarmonyOS".into(), String::new());
        }
        let Some(found) = self.rules.os.extract(text) else { return Default::default() };
        let name = match found.os.as_ref() {
            "Other" => return Default::default(),
            "Mac OS X" => "macOS",
            name => name,
        };
        let parts = [found.major, found.minor, found.patch];
        let parts: Vec<_> =
            parts.into_iter().map_while(|part| part.filter(|text| !text.is_empty())).collect();
        (name.to_owned(), parts.join("."))
    }

    /// Brand and model; None for a known crawler.
    fn device(&self, text: &str, os_name: &str) -> Option<(String, String)> {
        let found = self.rules.dev.extract(text);
        if found.as_ref().is_some_and(|found| found.device == "Spider") {
            return None;
        }
        let (brand, model) = match &found {
            Some(found) => {
                (found.brand.as_deref().unwrap_or_default(), found.model.as_deref().unwrap_or_default())
            }
            None => ("", ""),
        };
        let (brand, model) =
            if brand.starts_with("Generic") { ("", "") } else { (overlay::brand(brand), model) };
        if !matches!(os_name, "Android" | "HarmonyOS") {
            return Some((brand.to_owned(), model.to_owned()));
        }
        // uap-core shortens model names or returns other words as names; apps send the whole name.
        let (own_model, build) = android_model(text).unwrap_or_default();
        let own_brand =
            [build, own_model].map(overlay::brand_of_model).into_iter().find(|brand| !brand.is_empty());
        Some((own_brand.unwrap_or(brand).to_owned(), own_model.to_owned()))
    }
}

/// The digits and dots that follow `word`.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(word)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The model of an Android device as the device reports it, and its build: in the first parentheses, behind the version of Android.
fn android_model(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once('(')?;
    // Models contain parentheses too. The device ends where a word of the engine follows, or at the end of the text.
    let end = rest.find(") ").unwrap_or_else(|| rest.trim_end_matches(')').len());
    let mut parts = rest[..end].split(';').map(str::trim);
    parts.find(|part| is_system(part))?;
    let part = parts.find(|part| !is_no_model(part))?;
    let (model, build) = part.split_once("Build/").unwrap_or((part, ""));
    Some((model.trim(), build))
}

/// A system and its version. HarmonyOS names the Android version that it is compatible with beside its own.
fn is_system(part: &str) -> bool {
    part.starts_with("Android") || part.starts_with("OpenHarmony")
}

/// Parts that may stand between version and model: another system, a language, a web view, and the placeholders of browsers that hide
/// the model.
fn is_no_model(part: &str) -> bool {
    let is_language = |part: &str| {
        let (language, country) = part.split_once(['-', '_']).unwrap_or((part, ""));
        language.len() == 2
            && language.bytes().all(|byte| byte.is_ascii_lowercase())
            && country.len() <= 4
            && country.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let others = ["", "U", "K", "wv", "Mobile", "Tablet", "HarmonyOS", "Linux", "arm_64", "arm"];
    others.contains(&part)
        || is_system(part)
        || part.starts_with("rv:")
        || part.starts_with("HMSCore")
        || is_language(part)
}
