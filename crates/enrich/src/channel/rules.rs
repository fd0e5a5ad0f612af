//! A checked rule file, and the channel that it gives an event.
use super::{
    check::check_rules,
    error::ChannelError,
    evidence::{Evidence, advertiser, host, without_blanks},
    file::{ChannelRule, EvidenceKind, RuleFile},
    matching::{ResolvedEvidence, match_fallback, match_own},
    site::{Sites, lower},
};

/// The rules that ship with Millrace.
pub const BUILT_IN: &str = include_str!("../../../../schemas/channels.toml");

/// The class of sites that visitors only pass through: to sign in or to pay.
const PASSAGE: &str = "passage";
/// The platform of mini programs, and the class of the sites that contain them.
const MINI_PROGRAM: &str = "mini_program";

/// Where a visit came from, and the rule that decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel<'r> {
    /// One of the contract's channel groups.
    pub group: &'r str,
    /// The campaign's source in lower case, the advertiser of the click, the store, the referrer's site or else its host, or
    /// the app of the in-app browser; '' for none.
    pub source: String,
    /// The campaign's medium; '' for none.
    pub medium: String,
    /// The campaign's name; '' for none.
    pub campaign: String,
    /// The rule's name.
    pub rule: &'r str,
    /// Whether later visits without evidence may inherit it. Not so for own pages, direct visits and fallbacks.
    pub is_touch: bool,
}

/// A checked rule file.
#[derive(Debug)]
pub struct ChannelRules {
    version: String,
    /// The rules of own evidence, then those of the fallback.
    rules: Vec<ChannelRule>,
    /// Number of the rules of own evidence.
    own: usize,
    sites: Sites,
    own_hosts: Vec<String>,
}

impl ChannelRules {
    /// Reads and checks a rule file. `own_hosts` are the platform's own; their subdomains count too.
    ///
    /// # Errors
    /// [`ChannelError`] names the rule or site and what is wrong with it.
    pub fn parse(text: &str, own_hosts: &[String]) -> Result<Self, ChannelError> {
        let file: RuleFile = toml::from_str(text)?;
        check_rules(&file)?;
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

    /// Whether there are no rules; a checked file has at least one.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The channel of the event's own evidence: campaign, click, installation or referrer.
    pub fn own(&self, evidence: &Evidence<'_>) -> Option<Channel<'_>> {
        if evidence.is_empty() {
            return None;
        }
        let resolved = self.resolve(evidence);
        let rule = self.own_rules().iter().find(|rule| match_own(rule, &resolved).is_ok())?;
        Some(channel_of(rule, &resolved))
    }

    /// The channel of an event without evidence, on a device without a touch: mini program, in-app browser or direct.
    /// `in_app_browser` is the app's name, '' for none.
    pub fn fallback(&self, evidence: &Evidence<'_>, platform: &str, in_app_browser: &str) -> Channel<'_> {
        let platform = self.platform(evidence, platform);
        let matching =
            self.fallback_rules().iter().find(|rule| match_fallback(rule, platform, in_app_browser).is_ok());
        // A checked file ends with a rule that always matches, so the default is never used.
        let (group, rule) = matching.map_or(("direct", ""), |rule| (rule.group.as_str(), rule.name.as_str()));
        let is_in_app = matching.is_some_and(|rule| rule.evidence == EvidenceKind::InAppBrowser);
        let source = if is_in_app { in_app_browser.to_owned() } else { String::new() };
        Channel { group, source, medium: String::new(), campaign: String::new(), rule, is_touch: false }
    }

    /// The platform of a visit: a page inside a mini program names the container of mini programs as its referrer.
    pub(super) fn platform<'p>(&self, evidence: &Evidence<'_>, platform: &'p str) -> &'p str {
        if self.is_in_mini_program(evidence.referrer) { MINI_PROGRAM } else { platform }
    }

    /// Whether a referrer is a container of mini programs.
    pub(crate) fn is_in_mini_program(&self, referrer: &str) -> bool {
        let host = host(referrer);
        host.and_then(|host| self.sites.of_host(&host)).is_some_and(|site| site.class == MINI_PROGRAM)
    }

    pub(super) fn own_rules(&self) -> &[ChannelRule] {
        &self.rules[..self.own]
    }

    pub(super) fn fallback_rules(&self) -> &[ChannelRule] {
        &self.rules[self.own..]
    }

    pub(super) fn resolve<'a>(&'a self, evidence: &'a Evidence<'_>) -> ResolvedEvidence<'a> {
        let referrer_host = host(evidence.referrer);
        let referrer = referrer_host.as_deref();
        let referrer_site = referrer.and_then(|host| self.sites.of_host(host));
        let campaign_source = lower(without_blanks(&evidence.campaign_source));
        ResolvedEvidence {
            evidence,
            has_campaign: evidence.has_campaign(),
            campaign_site: self.sites.of_source(&campaign_source),
            campaign_source,
            campaign_medium: lower(without_blanks(&evidence.campaign_medium)),
            campaign_name: evidence.campaign_name.trim(),
            referrer_site,
            referrer_is_visit: !referrer_site
                .is_some_and(|site| matches!(site.class.as_str(), PASSAGE | MINI_PROGRAM)),
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

/// The channel of an event that a rule matches.
fn channel_of<'r>(rule: &'r ChannelRule, resolved: &ResolvedEvidence<'_>) -> Channel<'r> {
    let evidence = resolved.evidence;
    let source = match rule.evidence {
        EvidenceKind::Campaign => &resolved.campaign_source,
        EvidenceKind::ClickId => advertiser(&evidence.click_id_type),
        EvidenceKind::InstallSource => resolved.store.map_or(evidence.install_source, |store| &store.name),
        _ => match resolved.referrer_site {
            Some(site) => &site.name,
            None => resolved.referrer_host.as_deref().unwrap_or_default(),
        },
    };
    let of_campaign = |text: &str| match rule.evidence {
        EvidenceKind::Campaign => text.to_owned(),
        _ => String::new(),
    };
    Channel {
        group: &rule.group,
        source: source.to_owned(),
        medium: of_campaign(&resolved.campaign_medium),
        campaign: of_campaign(resolved.campaign_name),
        rule: &rule.name,
        is_touch: !matches!(rule.group.as_str(), "internal" | "direct"),
    }
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
    fn an_event_without_evidence_has_no_own_channel_and_a_fallback() {
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
            let channel = rules.fallback(&Evidence::default(), platform, in_app_browser);
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
    fn the_source_is_the_name_of_campaign_advertiser_store_or_site() {
        let rules = rules();
        let source = |evidence| rules.own(&evidence).unwrap().source;
        assert_eq!(source(by_referrer("https://m.weibo.cn/detail/1")), "weibo");
        assert_eq!(source(by_referrer("https://News.Example.net/a")), "news.example.net");
        assert_eq!(source(by_referrer("android-app://com.tencent.mm/")), "wechat");
        let click = Evidence { click_id_type: "bd_vid".into(), ..Evidence::default() };
        assert_eq!(source(click), "baidu");
        let store = Evidence { install_source: "com.huawei.appmarket", ..Evidence::default() };
        assert_eq!(source(store), "huawei_appgallery");
        let campaign = Evidence { campaign_source: " WeiXin+%20".into(), ..Evidence::default() };
        assert_eq!(source(campaign), "weixin", "without blanks, in lower case");
    }

    #[test]
    fn a_site_that_visitors_pass_through_is_no_evidence_and_a_container_shows_a_mini_program() {
        let rules = rules();
        for (referrer, platform, group) in [
            ("https://accounts.google.com/o/oauth2/auth", "web", "direct"),
            ("https://accounts.google.co.uk/", "web", "direct"),
            ("https://open.weixin.qq.com/connect/qrconnect", "web", "direct"),
            ("https://www.paypal.com/checkoutnow", "h5", "direct"),
            ("https://servicewechat.com/wx1234/12/page-frame.html", "h5", "mini_program"),
        ] {
            let evidence = by_referrer(referrer);
            assert_eq!(rules.own(&evidence), None, "{referrer}");
            let channel = rules.fallback(&evidence, platform, "");
            assert_eq!((channel.group, channel.is_touch), (group, false), "{referrer}");
            let (tried, explained) = rules.explain(&evidence, platform, "");
            assert_eq!(explained, channel, "{referrer}");
            let reason = &tried.iter().find(|tried| tried.rule == "referrer_other").unwrap().reason;
            assert!(reason.contains("no visit"), "{reason}");
        }
    }

    #[test]
    fn a_campaign_of_blanks_only_is_none() {
        let rules = rules();
        let evidence = Evidence {
            campaign_source: " + ".into(),
            campaign_medium: "%20".into(),
            campaign_name: " ".into(),
            ..by_referrer("https://www.baidu.com/")
        };
        assert_eq!(rules.own(&evidence).unwrap().rule, "referrer_search");
    }

    #[test]
    fn only_an_explicit_campaign_gives_medium_and_campaign() {
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
            ("paid_search", "cpc", "spring")
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
