//! Explains a decision: every rule that is tried, and why it matches or does not.
use super::{
    evidence::Evidence,
    file::{ChannelRule, EvidenceKind},
    matching::{Mismatch, ResolvedEvidence, match_fallback, match_own},
    rules::{Channel, ChannelRules},
};

/// A rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedRule<'r> {
    /// Its name.
    pub rule: &'r str,
    /// Its channel group.
    pub group: &'r str,
    /// Whether it belongs to the fallback, which is tried only when the device has no touch.
    pub is_fallback: bool,
    /// Whether it matched.
    pub matched: bool,
    /// In words: what matched, or the first condition that failed.
    pub reason: String,
}

impl ChannelRules {
    /// Every rule up to the one that decides about an event with this evidence, and the channel.
    pub fn explain(
        &self,
        evidence: &Evidence<'_>,
        platform: &str,
        in_app_browser: &str,
    ) -> (Vec<TriedRule<'_>>, Channel<'_>) {
        let is_in_mini_program = self.is_in_mini_program(evidence.referrer);
        let platform = self.platform(evidence, platform);
        let facts = Facts { resolved: self.resolve(evidence), platform, in_app_browser, is_in_mini_program };
        let own = self.own_rules().iter().map(|rule| (rule, match_own(rule, &facts.resolved), false));
        let fallback = self.fallback_rules().iter();
        let fallback = fallback.map(|rule| (rule, match_fallback(rule, platform, in_app_browser), true));
        let mut tried = Vec::new();
        for (rule, result, is_fallback) in own.chain(fallback) {
            let matched = result.is_ok();
            let reason = match result {
                Ok(()) => facts.why_matched(rule),
                Err(mismatch) => facts.why_not(rule, mismatch),
            };
            tried.push(TriedRule { rule: &rule.name, group: &rule.group, is_fallback, matched, reason });
            if matched {
                break;
            }
        }
        let channel = self.own(evidence).unwrap_or_else(|| self.fallback(evidence, platform, in_app_browser));
        (tried, channel)
    }
}

/// Everything that rules look at.
struct Facts<'a> {
    resolved: ResolvedEvidence<'a>,
    platform: &'a str,
    in_app_browser: &'a str,
    /// The platform is known by the referrer.
    is_in_mini_program: bool,
}

impl Facts<'_> {
    fn why_matched(&self, rule: &ChannelRule) -> String {
        let Self { platform, in_app_browser, .. } = self;
        let evidence = self.resolved.evidence;
        let listed = |list: &Option<Vec<String>>, text: String| list.as_ref().map(|_| text);
        let medium = match &*self.resolved.campaign_medium {
            "" => "no medium".to_owned(),
            medium => format!("medium {medium:?}"),
        };
        let mut reasons: Vec<String> = match rule.evidence {
            EvidenceKind::Campaign => listed(&rule.medium, medium),
            EvidenceKind::ClickId => Some(format!("click id {:?}", evidence.click_id_type)),
            EvidenceKind::InstallSource => Some(format!("install source {:?}", evidence.install_source)),
            EvidenceKind::Referrer if rule.own => Some(format!("{} is an own host", self.host())),
            EvidenceKind::Referrer => Some(format!("referrer {}", self.host())),
            EvidenceKind::Platform if self.is_in_mini_program => {
                Some(format!("{} is a container of mini programs", self.host()))
            }
            EvidenceKind::Platform => Some(format!("platform {platform:?}")),
            EvidenceKind::InAppBrowser => Some(format!("the in-app browser of {in_app_browser}")),
            EvidenceKind::None => Some("always matches".into()),
        }
        .into_iter()
        .collect();
        reasons.extend(listed(&rule.site, self.site(rule)));
        if reasons.is_empty() {
            reasons.push("any campaign".into());
        }
        reasons.join(", ")
    }

    fn why_not(&self, rule: &ChannelRule, mismatch: Mismatch) -> String {
        let Self { platform, in_app_browser, .. } = self;
        let evidence = self.resolved.evidence;
        let not_in = |what: String, list: &Option<Vec<String>>| {
            format!("{what} is none of {}", list.as_deref().unwrap_or_default().join(", "))
        };
        match mismatch {
            Mismatch::NotShown => match rule.evidence {
                EvidenceKind::Campaign => "the event names no campaign".into(),
                EvidenceKind::ClickId => "no click id".into(),
                EvidenceKind::InstallSource => "no install source".into(),
                EvidenceKind::Referrer => "no referrer with a host".into(),
                EvidenceKind::InAppBrowser => "no in-app browser".into(),
                EvidenceKind::Platform | EvidenceKind::None => "not tried".into(),
            },
            Mismatch::Medium => not_in(format!("medium {:?}", self.resolved.campaign_medium), &rule.medium),
            Mismatch::ClickIdType => {
                not_in(format!("click id {:?}", evidence.click_id_type), &rule.click_id_type)
            }
            Mismatch::InstallSource => {
                not_in(format!("install source {:?}", evidence.install_source), &rule.install_source)
            }
            Mismatch::Site => {
                format!("{}, not {}", self.site(rule), rule.site.as_deref().unwrap_or_default().join(", "))
            }
            Mismatch::NoVisit => {
                format!("no visit comes from {}: visitors pass through it ({})", self.host(), self.site(rule))
            }
            Mismatch::NotOwn => format!("{} is not an own host", self.host()),
            Mismatch::Platform => not_in(format!("platform {platform:?}"), &rule.platform),
            Mismatch::InAppBrowser => not_in(format!("browser of {in_app_browser}"), &rule.in_app_browser),
        }
    }

    fn host(&self) -> &str {
        self.resolved.referrer_host.as_deref().unwrap_or_default()
    }

    /// The site that the rule looks at, and its class.
    fn site(&self, rule: &ChannelRule) -> String {
        let (what, site) = match rule.evidence {
            EvidenceKind::Campaign => ("source", self.resolved.campaign_site),
            EvidenceKind::InstallSource => ("store", self.resolved.store),
            _ => ("host", self.resolved.referrer_site),
        };
        match site {
            Some(site) => format!("the {what} is {} of class {}", site.name, site.class),
            None => format!("the {what} is no known site"),
        }
    }
}
