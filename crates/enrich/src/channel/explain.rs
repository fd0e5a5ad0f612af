//! The same decision, told step by step: every rule that was tried and why it did not match.
use super::{
    Channel, ChannelRules, Seen,
    file::{Kind, Rule},
};
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
    /// Whether it matched.
    pub matched: bool,
    /// In words: what matched, or the first condition that was not met.
    pub reason: String,
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
            let reason = match judged {
                Ok(()) => seen.why(rule, platform, in_app_browser),
                Err(miss) => seen.why_not(rule, miss, platform, in_app_browser),
            };
            tried.push(Tried { rule: &rule.name, group: &rule.group, is_fallback, matched, reason });
            if matched {
                break;
            }
        }
        let channel = self.own(evidence).unwrap_or_else(|| self.fallback(platform, in_app_browser));
        (tried, channel)
    }
}

impl Seen<'_> {
    fn why(&self, rule: &Rule, platform: &str, in_app_browser: &str) -> String {
        let evidence = self.evidence;
        let listed = |list: &Option<Vec<String>>, text: String| list.as_ref().map(|_| text);
        let mut reasons: Vec<String> = match rule.evidence {
            Kind::Campaign => listed(&rule.medium, format!("medium {:?}", evidence.campaign_medium)),
            Kind::ClickId => Some(format!("click id {:?}", evidence.click_id_type)),
            Kind::InstallSource => Some(format!("install source {:?}", evidence.install_source)),
            Kind::Referrer if rule.own => Some(format!("{} is an own host", self.host())),
            Kind::Referrer => Some(format!("referrer {}", self.host())),
            Kind::Platform => Some(format!("platform {platform:?}")),
            Kind::InAppBrowser => Some(format!("the built-in browser of {in_app_browser}")),
            Kind::None => Some("always matches".into()),
        }
        .into_iter()
        .collect();
        reasons.extend(listed(&rule.site, self.site(rule)));
        if reasons.is_empty() {
            reasons.push("any campaign".into());
        }
        reasons.join(", ")
    }

    fn why_not(&self, rule: &Rule, miss: Miss, platform: &str, in_app_browser: &str) -> String {
        let evidence = self.evidence;
        let list = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join(", ");
        match miss {
            Miss::NotShown => match rule.evidence {
                Kind::Campaign => "the event names no campaign".into(),
                Kind::ClickId => "no click id".into(),
                Kind::InstallSource => "no install source".into(),
                Kind::Referrer => "no referrer with a host".into(),
                Kind::InAppBrowser => "no app's built-in browser".into(),
                Kind::Platform | Kind::None => "not asked".into(),
            },
            Miss::Medium => {
                format!("medium {:?} is none of {}", evidence.campaign_medium, list(&rule.medium))
            }
            Miss::ClickIdType => {
                format!("click id {:?} is none of {}", evidence.click_id_type, list(&rule.click_id_type))
            }
            Miss::InstallSource => {
                format!(
                    "install source {:?} is none of {}",
                    evidence.install_source,
                    list(&rule.install_source)
                )
            }
            Miss::Site => format!("{}, not {}", self.site(rule), list(&rule.site)),
            Miss::NotOwn => format!("{} is not an own host", self.host()),
            Miss::Platform => format!("platform {platform:?} is none of {}", list(&rule.platform)),
            Miss::InAppBrowser => {
                format!("browser of {in_app_browser} is none of {}", list(&rule.in_app_browser))
            }
        }
    }

    fn host(&self) -> &str {
        self.referrer_host.as_deref().unwrap_or_default()
    }

    /// The site that the rule asks for, and its class.
    fn site(&self, rule: &Rule) -> String {
        let (what, site) = match rule.evidence {
            Kind::Campaign => ("source", self.campaign_site),
            Kind::InstallSource => ("store", self.store),
            _ => ("host", self.referrer_site),
        };
        match site {
            Some(site) => format!("the {what} is {} of class {}", site.name, site.class),
            None => format!("the {what} is no known site"),
        }
    }
}
