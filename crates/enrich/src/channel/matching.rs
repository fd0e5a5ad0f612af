//! Whether a rule matches an event, and if not, which of its conditions fails first.
use std::borrow::Cow;

use super::{
    evidence::Evidence,
    file::{ChannelRule, EvidenceKind, matches_pattern},
    site::Site,
};

/// The evidence of an event, with the sites found for it.
pub(super) struct ResolvedEvidence<'a> {
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) has_campaign: bool,
    /// Source and medium of the campaign without blanks around them and in lower case, and its name without blanks.
    pub(super) campaign_source: Cow<'a, str>,
    pub(super) campaign_medium: Cow<'a, str>,
    pub(super) campaign_name: &'a str,
    pub(super) campaign_site: Option<&'a Site>,
    pub(super) referrer_host: Option<Cow<'a, str>>,
    pub(super) referrer_site: Option<&'a Site>,
    pub(super) referrer_is_own: bool,
    /// False when the visitor only passed through the referrer's site.
    pub(super) referrer_is_visit: bool,
    pub(super) store: Option<&'a Site>,
}

/// The first condition of a rule that an event does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// The event has no evidence of the rule's kind.
    NotShown,
    /// The campaign's medium is not in the list.
    Medium,
    /// The type of the click ID is not in the list.
    ClickIdType,
    /// The install source is not in the list.
    InstallSource,
    /// The site of the campaign, store or referrer is missing or of another class.
    Site,
    /// The referrer is not one of the platform's own hosts.
    NotOwn,
    /// The visitor only passed through the referrer's site.
    NoVisit,
    /// The platform is not in the list.
    Platform,
    /// The app of the in-app browser is not in the list.
    InAppBrowser,
}

/// Matches a rule against the event's own evidence.
pub(super) fn match_own(rule: &ChannelRule, resolved: &ResolvedEvidence<'_>) -> Result<(), Mismatch> {
    let evidence = resolved.evidence;
    match rule.evidence {
        EvidenceKind::Campaign => {
            is_shown(resolved.has_campaign)?;
            is_one_of(&rule.medium, &resolved.campaign_medium, Mismatch::Medium)?;
            is_of_class(&rule.site, resolved.campaign_site)
        }
        EvidenceKind::ClickId => {
            is_shown(!evidence.click_id_type.is_empty())?;
            is_one_of(&rule.click_id_type, &evidence.click_id_type, Mismatch::ClickIdType)
        }
        EvidenceKind::InstallSource => {
            is_shown(!evidence.install_source.is_empty())?;
            is_one_of(&rule.install_source, evidence.install_source, Mismatch::InstallSource)?;
            is_of_class(&rule.site, resolved.store)
        }
        EvidenceKind::Referrer => {
            is_shown(resolved.referrer_host.is_some())?;
            if rule.own && !resolved.referrer_is_own {
                return Err(Mismatch::NotOwn);
            }
            if !rule.own && !resolved.referrer_is_visit {
                return Err(Mismatch::NoVisit);
            }
            is_of_class(&rule.site, resolved.referrer_site)
        }
        EvidenceKind::Platform | EvidenceKind::InAppBrowser | EvidenceKind::None => Err(Mismatch::NotShown),
    }
}

/// Matches a fallback rule, for an event without evidence on a device without a touch.
pub(super) fn match_fallback(
    rule: &ChannelRule,
    platform: &str,
    in_app_browser: &str,
) -> Result<(), Mismatch> {
    match rule.evidence {
        EvidenceKind::Platform => is_one_of(&rule.platform, platform, Mismatch::Platform),
        EvidenceKind::InAppBrowser => {
            is_shown(!in_app_browser.is_empty())?;
            is_one_of(&rule.in_app_browser, in_app_browser, Mismatch::InAppBrowser)
        }
        EvidenceKind::None => Ok(()),
        _ => Err(Mismatch::NotShown),
    }
}

fn is_shown(shown: bool) -> Result<(), Mismatch> {
    if shown { Ok(()) } else { Err(Mismatch::NotShown) }
}

fn is_one_of(patterns: &Option<Vec<String>>, value: &str, mismatch: Mismatch) -> Result<(), Mismatch> {
    let Some(patterns) = patterns else { return Ok(()) };
    if patterns.iter().any(|pattern| matches_pattern(pattern, value)) { Ok(()) } else { Err(mismatch) }
}

fn is_of_class(classes: &Option<Vec<String>>, site: Option<&Site>) -> Result<(), Mismatch> {
    let Some(classes) = classes else { return Ok(()) };
    if site.is_some_and(|site| classes.contains(&site.class)) { Ok(()) } else { Err(Mismatch::Site) }
}
