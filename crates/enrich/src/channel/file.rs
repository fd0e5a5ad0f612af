//! The rule file as written, and what its patterns match.
use serde::Deserialize;

use super::site::Site;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) version: String,
    #[serde(rename = "rule", default)]
    pub(super) rules: Vec<ChannelRule>,
    #[serde(rename = "site", default)]
    pub(super) sites: Vec<Site>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelRule {
    pub(super) name: String,
    pub(super) evidence: EvidenceKind,
    pub(super) group: String,
    pub(super) medium: Option<Vec<String>>,
    pub(super) click_id_type: Option<Vec<String>>,
    pub(super) install_source: Option<Vec<String>>,
    pub(super) platform: Option<Vec<String>>,
    pub(super) in_app_browser: Option<Vec<String>>,
    pub(super) site: Option<Vec<String>>,
    #[serde(default)]
    pub(super) own: bool,
}

/// The kind of evidence that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EvidenceKind {
    Campaign,
    ClickId,
    InstallSource,
    Referrer,
    Platform,
    InAppBrowser,
    None,
}

impl EvidenceKind {
    /// Whether it is the event's own evidence, which is tried before the device's last touch.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Campaign | Self::ClickId | Self::InstallSource | Self::Referrer)
    }
}

impl ChannelRule {
    /// Its conditions that are lists, by key.
    pub(super) fn lists(&self) -> [(&'static str, &Option<Vec<String>>); 6] {
        [
            ("medium", &self.medium),
            ("click_id_type", &self.click_id_type),
            ("install_source", &self.install_source),
            ("platform", &self.platform),
            ("in_app_browser", &self.in_app_browser),
            ("site", &self.site),
        ]
    }

    /// Whether it matches everything that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let lists = self.lists().into_iter().zip(other.lists());
        self.evidence == other.evidence
            && (!self.own || other.own)
            && lists.into_iter().all(|((_, mine), (_, theirs))| match (mine, theirs) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => {
                    theirs.iter().all(|value| mine.iter().any(|pattern| matches_pattern(pattern, value)))
                }
            })
    }
}

/// Whether `value` equals the pattern, or starts with it when the pattern ends in `*`. Case is ignored.
pub(super) fn matches_pattern(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => value.eq_ignore_ascii_case(pattern),
    }
}
