//! The same decision, told step by step: every rule that was tried and why it did not match.
use super::{Channel, ChannelRules, file::Rule};
use crate::evidence::Evidence;

/// The first condition of a rule that an event did not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The event shows no evidence of the kind.
    NotShown,
    /// The campaign's medium is not in the list.
    Medium,
    /// The click ID is of another type.
    ClickIdType,
    /// The install source is not in the list.
    InstallSource,
    /// The source, store or referrer is no site of the classes.
    Site,
    /// The referrer is not one of the platform's own hosts.
    NotOwn,
    /// Another platform.
    Platform,
    /// Another app's browser.
    InAppBrowser,
}

/// One rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried<'r> {
    /// Its name.
    pub rule: &'r str,
    /// The group it stands for.
    pub group: &'r str,
    /// Whether it belongs to the fallback, which is asked only when the device has no touch either.
    pub is_fallback: bool,
    /// Whether it matched; else the first condition that was not met, in words.
    pub outcome: Result<(), String>,
}

impl ChannelRules {
    /// Every rule up to the one that decides about an event that shows `evidence`, and what it decides.
    pub fn explain(
        &self,
        evidence: &Evidence<'_>,
        platform: &str,
        in_app_browser: &str,
    ) -> (Vec<Tried<'_>>, Channel<'_>) {
        let seen = self.see(evidence);
        let mut tried = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let is_fallback = place >= self.own;
            let judged = match is_fallback {
                false => rule.judge_own(&seen),
                true => rule.judge_fallback(platform, in_app_browser),
            };
            let matched = judged.is_ok();
            let outcome = judged.map_err(|miss| {
                let site = match rule.evidence {
                    super::Kind::Campaign => seen.campaign_site,
                    super::Kind::InstallSource => seen.store,
                    _ => seen.referrer_site,
                };
                let shown = match miss {
                    Miss::Medium => evidence.campaign_medium.to_string(),
                    Miss::ClickIdType => evidence.click_id_type.to_string(),
                    Miss::InstallSource => evidence.install_source.to_owned(),
                    Miss::NotOwn => seen.referrer_host.as_deref().unwrap_or_default().to_owned(),
                    Miss::Platform => platform.to_owned(),
                    Miss::InAppBrowser => in_app_browser.to_owned(),
                    Miss::Site => match site {
                        Some(site) => format!("{} ({})", site.name, site.class),
                        None => "unknown".to_owned(),
                    },
                    Miss::NotShown => String::new(),
                };
                rule.in_words(miss, &shown)
            });
            tried.push(Tried { rule: &rule.name, group: &rule.group, is_fallback, outcome });
            if matched {
                break;
            }
        }
        let channel = self.own(evidence).unwrap_or_else(|| self.fallback(platform, in_app_browser));
        (tried, channel)
    }
}

impl Rule {
    fn in_words(&self, miss: Miss, shown: &str) -> String {
        let list = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join(", ");
        match miss {
            Miss::NotShown => match self.evidence {
                super::Kind::Campaign => "the event names no campaign".into(),
                super::Kind::ClickId => "no click id".into(),
                super::Kind::InstallSource => "no install source".into(),
                super::Kind::Referrer => "no referrer with a host".into(),
                super::Kind::InAppBrowser => "no app's built-in browser".into(),
                super::Kind::Platform | super::Kind::None => "not asked".into(),
            },
            Miss::Medium => format!("medium {shown:?} is none of {}", list(&self.medium)),
            Miss::ClickIdType => format!("click id {shown:?} is none of {}", list(&self.click_id_type)),
            Miss::InstallSource => {
                format!("install source {shown:?} is none of {}", list(&self.install_source))
            }
            Miss::Site => format!("its site is {shown}, not one of class {}", list(&self.site)),
            Miss::NotOwn => format!("{shown} is not an own host"),
            Miss::Platform => format!("platform {shown:?} is none of {}", list(&self.platform)),
            Miss::InAppBrowser => format!("browser of {shown} is none of {}", list(&self.in_app_browser)),
        }
    }
}
