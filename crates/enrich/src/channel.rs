//! Channel rules as data: an ordered list in `schemas/channels.toml`, where the first rule that matches wins.
//!
//! A decision has two halves, and the device's memory of its last touch stands between them: [`ChannelRules::own`] is
//! what the event itself shows, [`ChannelRules::fallback`] what is said of an event that shows nothing.
use std::borrow::Cow;

use crate::evidence::{Evidence, advertiser, host};

mod check;
mod explain;
mod file;
mod site;

pub use check::ChannelError;
pub use explain::{Miss, Tried};

use file::{Kind, Rule, RuleFile};
use site::{Site, Sites};

/// The rules that ship with Millrace.
pub const BUILT_IN: &str = include_str!("../../../schemas/channels.toml");

/// The groups a rule may name: part of the contract, so dashboards can rely on them.
pub const GROUPS: &[&str] = &[
    "direct",
    "paid_search",
    "organic_search",
    "paid_social",
    "organic_social",
    "paid_video",
    "organic_video",
    "display",
    "feed_ads",
    "email",
    "affiliate",
    "referral",
    "app_store",
    "mini_program",
    "in_app_browser",
    "bundle",
    "exchange",
    "push",
    "sms",
    "ai_assistant",
    "internal",
    "other",
];

/// Where a visit came from, and which rule said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel<'r> {
    /// One of [`GROUPS`].
    pub group: &'r str,
    /// The campaign's source as sent, the advertiser behind the click, the store, the referrer's site, else its host,
    /// the app whose browser it is; '' for none.
    pub source: String,
    /// The campaign's medium; '' for none.
    pub medium: String,
    /// The campaign's name; '' for none.
    pub campaign: String,
    /// The rule's name.
    pub rule: &'r str,
    /// Whether later visits that show nothing may be credited to it: not so for own pages and direct visits, nor for
    /// any channel of the fallback.
    pub is_touch: bool,
}

/// A checked rule file.
#[derive(Debug)]
pub struct ChannelRules {
    version: String,
    /// Those of the event's own evidence, then those of the fallback.
    rules: Vec<Rule>,
    /// How many of `rules` are of the first sort.
    own: usize,
    sites: Sites,
    own_hosts: Vec<String>,
}

/// An event's evidence with the sites it points at.
struct Seen<'a> {
    evidence: &'a Evidence<'a>,
    has_campaign: bool,
    campaign_site: Option<&'a Site>,
    referrer_host: Option<Cow<'a, str>>,
    referrer_site: Option<&'a Site>,
    referrer_is_own: bool,
    store: Option<&'a Site>,
}

impl ChannelRules {
    /// Reads and checks a rule file. `own_hosts` are the platform's own; their subdomains count too.
    ///
    /// # Errors
    /// [`ChannelError`] names the rule or site and what is wrong with it.
    pub fn parse(text: &str, own_hosts: &[String]) -> Result<Self, ChannelError> {
        let file: RuleFile = toml::from_str(text)?;
        check::rules(&file)?;
        let sites = Sites::new(file.sites)?;
        let own = file.rules.iter().filter(|rule| rule.evidence.is_own()).count();
        let own_hosts = own_hosts.iter().map(|host| host.to_lowercase()).collect();
        Ok(Self { version: file.version, rules: file.rules, own, sites, own_hosts })
    }

    /// The file's own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no rules; a checked file always has one.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Number of hosts and packages by which sites and stores are known.
    pub fn hosts_and_packages(&self) -> usize {
        self.sites.len()
    }

    /// The channel that the event itself shows: by campaign, click, installation or referrer, in the order of the file.
    pub fn own(&self, evidence: &Evidence<'_>) -> Option<Channel<'_>> {
        if evidence.is_empty() {
            return None;
        }
        let seen = self.see(evidence);
        let rule = self.rules[..self.own].iter().find(|rule| rule.judge_own(&seen).is_ok())?;
        Some(seen.channel(rule))
    }

    /// The channel of an event that shows nothing, on a device without a touch: mini program, built-in browser, or direct.
    /// `in_app_browser` is the app's name, '' for none.
    pub fn fallback(&self, platform: &str, in_app_browser: &str) -> Channel<'_> {
        let matching =
            self.rules[self.own..].iter().find(|rule| rule.judge_fallback(platform, in_app_browser).is_ok());
        // The check of the file sees to a last rule that always matches; without one, direct is still the honest value.
        let (group, rule) = matching.map_or(("direct", ""), |rule| (rule.group.as_str(), rule.name.as_str()));
        let is_in_app = matching.is_some_and(|rule| rule.evidence == Kind::InAppBrowser);
        let source = if is_in_app { in_app_browser.to_owned() } else { String::new() };
        Channel { group, source, medium: String::new(), campaign: String::new(), rule, is_touch: false }
    }

    fn see<'a>(&'a self, evidence: &'a Evidence<'_>) -> Seen<'a> {
        let referrer_host = host(evidence.referrer);
        let referrer = referrer_host.as_deref();
        Seen {
            evidence,
            has_campaign: evidence.has_campaign(),
            campaign_site: self.sites.of_source(&evidence.campaign_source),
            referrer_site: referrer.and_then(|host| self.sites.of_host(host)),
            referrer_is_own: referrer.is_some_and(|host| self.is_own(host)),
            referrer_host,
            store: self.sites.of_install_source(evidence.install_source),
        }
    }

    fn is_own(&self, host: &str) -> bool {
        self.own_hosts.iter().any(|own| match host.strip_suffix(own.as_str()) {
            Some(front) => front.is_empty() || front.ends_with('.'),
            None => false,
        })
    }
}

impl Seen<'_> {
    fn channel<'r>(&self, rule: &'r Rule) -> Channel<'r> {
        let evidence = self.evidence;
        let source = match rule.evidence {
            Kind::Campaign => &evidence.campaign_source,
            Kind::ClickId => advertiser(&evidence.click_id_type),
            Kind::InstallSource => self.store.map_or(evidence.install_source, |store| &store.name),
            _ => match self.referrer_site {
                Some(site) => &site.name,
                None => self.referrer_host.as_deref().unwrap_or_default(),
            },
        };
        let of_campaign = |text: &str| match rule.evidence {
            Kind::Campaign => text.to_owned(),
            _ => String::new(),
        };
        Channel {
            group: &rule.group,
            source: source.to_owned(),
            medium: of_campaign(&evidence.campaign_medium),
            campaign: of_campaign(&evidence.campaign_name),
            rule: &rule.name,
            is_touch: !matches!(rule.group.as_str(), "internal" | "direct"),
        }
    }
}

impl Rule {
    /// Whether a rule of the event's own evidence matches, else the first condition that does not.
    fn judge_own(&self, seen: &Seen<'_>) -> Result<(), Miss> {
        let evidence = seen.evidence;
        match self.evidence {
            Kind::Campaign => {
                shown(seen.has_campaign)?;
                one_of(&self.medium, &evidence.campaign_medium, Miss::Medium)?;
                of_class(&self.site, seen.campaign_site)
            }
            Kind::ClickId => {
                shown(!evidence.click_id_type.is_empty())?;
                one_of(&self.click_id_type, &evidence.click_id_type, Miss::ClickIdType)
            }
            Kind::InstallSource => {
                shown(!evidence.install_source.is_empty())?;
                one_of(&self.install_source, evidence.install_source, Miss::InstallSource)?;
                of_class(&self.site, seen.store)
            }
            Kind::Referrer => {
                shown(seen.referrer_host.is_some())?;
                if self.own && !seen.referrer_is_own {
                    return Err(Miss::NotOwn);
                }
                of_class(&self.site, seen.referrer_site)
            }
            Kind::Platform | Kind::InAppBrowser | Kind::None => Err(Miss::NotShown),
        }
    }

    /// As [`Rule::judge_own`], of a rule of the fallback.
    fn judge_fallback(&self, platform: &str, in_app_browser: &str) -> Result<(), Miss> {
        match self.evidence {
            Kind::Platform => one_of(&self.platform, platform, Miss::Platform),
            Kind::InAppBrowser => {
                shown(!in_app_browser.is_empty())?;
                one_of(&self.in_app_browser, in_app_browser, Miss::InAppBrowser)
            }
            Kind::None => Ok(()),
            _ => Err(Miss::NotShown),
        }
    }
}

fn shown(is_shown: bool) -> Result<(), Miss> {
    if is_shown { Ok(()) } else { Err(Miss::NotShown) }
}

fn one_of(patterns: &Option<Vec<String>>, value: &str, miss: Miss) -> Result<(), Miss> {
    let Some(patterns) = patterns else { return Ok(()) };
    if patterns.iter().any(|pattern| file::matches(pattern, value)) { Ok(()) } else { Err(miss) }
}

fn of_class(classes: &Option<Vec<String>>, site: Option<&Site>) -> Result<(), Miss> {
    let Some(classes) = classes else { return Ok(()) };
    if site.is_some_and(|site| classes.contains(&site.class)) { Ok(()) } else { Err(Miss::Site) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ChannelRules {
        ChannelRules::parse(BUILT_IN, &["example.tv".into()]).unwrap()
    }

    fn by_referrer(referrer: &str) -> Evidence<'_> {
        Evidence { referrer, ..Evidence::default() }
    }

    #[test]
    fn an_event_that_shows_nothing_leaves_the_decision_to_the_device_and_then_to_the_fallback() {
        let rules = rules();
        for referrer in ["", "about:blank", "no address"] {
            assert_eq!(rules.own(&by_referrer(referrer)), None);
        }
        for (platform, in_app_browser, group, source) in [
            ("mini_program", "wechat", "mini_program", ""),
            ("h5", "wechat", "in_app_browser", "wechat"),
            ("h5", "", "direct", ""),
            ("web", "", "direct", ""),
        ] {
            let channel = rules.fallback(platform, in_app_browser);
            assert_eq!((channel.group, channel.source.as_str(), channel.rule), (group, source, group));
            assert!(!channel.is_touch);
        }
    }

    #[test]
    fn a_visit_from_an_own_page_is_internal_and_no_touch() {
        let rules = rules();
        for (referrer, group, is_touch) in [
            ("https://www.example.tv/play/1", "internal", false),
            ("https://EXAMPLE.TV", "internal", false),
            ("https://notexample.tv/", "referral", true),
            ("https://example.tv.evil.com/", "referral", true),
        ] {
            let channel = rules.own(&by_referrer(referrer)).unwrap();
            assert_eq!((channel.group, channel.is_touch), (group, is_touch), "{referrer}");
        }
    }

    #[test]
    fn the_source_is_the_best_known_name_of_where_it_came_from() {
        let rules = rules();
        let source = |evidence| rules.own(&evidence).unwrap().source;
        assert_eq!(source(by_referrer("https://m.weibo.cn/detail/1")), "weibo");
        assert_eq!(source(by_referrer("https://News.Example.net/a")), "news.example.net");
        assert_eq!(source(by_referrer("android-app://com.tencent.mm/")), "wechat");
        let click = Evidence { click_id_type: "bd_vid".into(), ..Evidence::default() };
        assert_eq!(source(click), "baidu");
        let store = Evidence { install_source: "com.huawei.appmarket", ..Evidence::default() };
        assert_eq!(source(store), "huawei_appgallery");
        let campaign = Evidence { campaign_source: "WeiXin".into(), ..Evidence::default() };
        assert_eq!(source(campaign), "WeiXin", "text of campaigns is kept as sent");
    }

    #[test]
    fn medium_and_campaign_are_those_of_an_explicit_campaign_only() {
        let rules = rules();
        let mut evidence = Evidence {
            campaign_source: "baidu".into(),
            campaign_medium: "CPC".into(),
            campaign_name: "spring".into(),
            referrer: "https://www.zhihu.com/",
            ..Evidence::default()
        };
        let channel = rules.own(&evidence).unwrap();
        assert_eq!(
            (channel.group, channel.medium.as_str(), channel.campaign.as_str()),
            ("paid_search", "CPC", "spring")
        );
        evidence.campaign_source = "".into();
        evidence.campaign_medium = "".into();
        evidence.campaign_name = "".into();
        let channel = rules.own(&evidence).unwrap();
        assert_eq!(
            (channel.group, channel.medium.as_str(), channel.campaign.as_str()),
            ("organic_social", "", "")
        );
    }

    #[test]
    fn an_explanation_ends_with_the_rule_that_decides() {
        let rules = rules();
        let evidence = by_referrer("https://www.zhihu.com/question/1");
        let (tried, channel) = rules.explain(&evidence, "h5", "wechat");
        let last = tried.last().unwrap();
        assert_eq!((last.rule, last.matched), (channel.rule, true));
        assert_eq!(last.reason, "referrer www.zhihu.com, the host is zhihu of class social");
        assert_eq!(tried.iter().filter(|rule| rule.matched).count(), 1);
        let reason = |name| tried.iter().find(|tried| tried.rule == name).unwrap().reason.as_str();
        assert_eq!(reason("campaign_other"), "the event names no campaign");
        assert_eq!(reason("referrer_internal"), "www.zhihu.com is not an own host");
        assert_eq!(reason("referrer_search"), "the host is zhihu of class social, not search");
        let (tried, channel) = rules.explain(&Evidence::default(), "h5", "");
        assert_eq!((tried.len(), channel.rule), (rules.len(), "direct"));
    }
}
