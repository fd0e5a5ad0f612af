//! Channel rules as data: an ordered list in `schemas/channels.toml`, where the first rule that matches wins.
use hashbrown::HashMap;
use serde::Deserialize;

use crate::evidence::{Evidence, host};

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

/// Why a rule file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not TOML, or a key or type that does not belong.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A rule that cannot mean anything.
    #[error("rule {rule:?}: {problem}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A site that cannot be told apart.
    #[error("site {site:?}: {problem}")]
    Site {
        /// Its name.
        site: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The list does not end with a rule that always matches.
    #[error("the last rule must have evidence = \"none\", so that every event gets a channel")]
    NoLastRule,
}

/// Where a visit came from, and which rule said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel<'r> {
    /// One of [`GROUPS`].
    pub group: &'r str,
    /// The campaign's source, the referrer's site or host, the store package; '' for none.
    pub source: String,
    /// The campaign's medium; '' for none.
    pub medium: String,
    /// The campaign's name; '' for none.
    pub campaign: String,
    /// The rule's name.
    pub rule: &'r str,
}

/// A checked rule file.
#[derive(Debug)]
pub struct ChannelRules {
    version: String,
    rules: Vec<Rule>,
    /// Sites by the names that campaigns use.
    by_name: HashMap<String, (String, String)>,
    /// Sites by host; subdomains are found by cutting labels off the front.
    by_host: HashMap<String, (String, String)>,
    own_hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    version: String,
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
    #[serde(rename = "site", default)]
    sites: Vec<Site>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    evidence: Kind,
    group: String,
    medium: Option<Vec<String>>,
    click_id_type: Option<Vec<String>>,
    install_source: Option<Vec<String>>,
    platform: Option<Vec<String>>,
    site: Option<Vec<String>>,
    #[serde(default)]
    own: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Campaign,
    ClickId,
    InstallSource,
    Referrer,
    Platform,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    name: String,
    class: String,
    #[serde(default)]
    aliases: Vec<String>,
    hosts: Vec<String>,
}

impl ChannelRules {
    /// Reads and checks a rule file. `own_hosts` are the platform's own.
    ///
    /// # Errors
    /// [`ChannelError`] names the rule or site and what is wrong with it.
    pub fn parse(text: &str, own_hosts: &[String]) -> Result<Self, ChannelError> {
        let file: RuleFile = toml::from_str(text)?;
        let (mut by_name, mut by_host) = (HashMap::new(), HashMap::new());
        for site in &file.sites {
            let entry = (site.name.clone(), site.class.clone());
            let twice = |what: &str| ChannelError::Site {
                site: site.name.clone(),
                problem: format!("{what:?} already belongs to another site"),
            };
            for name in site.aliases.iter().chain([&site.name]) {
                if by_name.insert(name.to_lowercase(), entry.clone()).is_some() {
                    return Err(twice(name));
                }
            }
            for host in &site.hosts {
                if by_host.insert(host.to_lowercase(), entry.clone()).is_some() {
                    return Err(twice(host));
                }
            }
        }
        check_rules(&file)?;
        let own_hosts = own_hosts.iter().map(|host| host.to_lowercase()).collect();
        Ok(Self { version: file.version, rules: file.rules, by_name, by_host, own_hosts })
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

    /// The channel of an event that shows `evidence`.
    pub fn decide(&self, evidence: &Evidence<'_>) -> Channel<'_> {
        let referrer_host = host(evidence.referrer);
        let referrer_site = referrer_host.as_deref().and_then(|host| self.site_of_host(host));
        let campaign_site = self.by_name.get(&evidence.campaign_source.to_lowercase());
        for rule in &self.rules {
            let (matches, source) = match rule.evidence {
                Kind::Campaign => (
                    evidence.has_campaign()
                        && is_one_of(&rule.medium, &evidence.campaign_medium)
                        && is_class(&rule.site, campaign_site),
                    evidence.campaign_source.as_ref(),
                ),
                Kind::ClickId => (
                    !evidence.click_id_type.is_empty()
                        && is_one_of(&rule.click_id_type, &evidence.click_id_type),
                    evidence.click_id_type.as_ref(),
                ),
                Kind::InstallSource => (
                    !evidence.install_source.is_empty()
                        && is_one_of(&rule.install_source, evidence.install_source),
                    evidence.install_source,
                ),
                Kind::Referrer => {
                    let Some(host) = &referrer_host else { continue };
                    let own = self.own_hosts.contains(host);
                    let source = referrer_site.map_or(host.as_str(), |(name, _)| name.as_str());
                    ((!rule.own || own) && is_class(&rule.site, referrer_site), source)
                }
                Kind::Platform => (is_one_of(&rule.platform, evidence.platform), ""),
                Kind::None => (true, ""),
            };
            if matches {
                let campaign = rule.evidence == Kind::Campaign;
                return Channel {
                    group: &rule.group,
                    source: source.to_owned(),
                    medium: if campaign { evidence.campaign_medium.to_string() } else { String::new() },
                    campaign: if campaign { evidence.campaign_name.to_string() } else { String::new() },
                    rule: &rule.name,
                };
            }
        }
        // Unreachable by the check of the last rule; the value is still the honest one.
        Channel {
            group: "direct",
            source: String::new(),
            medium: String::new(),
            campaign: String::new(),
            rule: "",
        }
    }

    fn site_of_host(&self, host: &str) -> Option<&(String, String)> {
        let mut rest = host;
        loop {
            if let Some(site) = self.by_host.get(rest) {
                return Some(site);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }
}

fn check_rules(file: &RuleFile) -> Result<(), ChannelError> {
    let mut names = Vec::new();
    for rule in &file.rules {
        let wrong = |problem: String| ChannelError::Rule { rule: rule.name.clone(), problem };
        if names.contains(&&rule.name) {
            return Err(wrong("another rule has the same name".into()));
        }
        names.push(&rule.name);
        if !GROUPS.contains(&rule.group.as_str()) {
            let nearest = GROUPS.iter().min_by_key(|group| strsim::damerau_levenshtein(group, &rule.group));
            return Err(wrong(format!(
                "group {:?} is not known: did you mean {:?}?",
                rule.group,
                nearest.unwrap_or(&"other")
            )));
        }
        for (key, set, kinds) in [
            ("medium", rule.medium.is_some(), &[Kind::Campaign][..]),
            ("click_id_type", rule.click_id_type.is_some(), &[Kind::ClickId]),
            ("install_source", rule.install_source.is_some(), &[Kind::InstallSource]),
            ("platform", rule.platform.is_some(), &[Kind::Platform]),
            ("site", rule.site.is_some(), &[Kind::Campaign, Kind::Referrer]),
            ("own", rule.own, &[Kind::Referrer]),
        ] {
            if set && !kinds.contains(&rule.evidence) {
                return Err(wrong(format!("{key} means nothing with this evidence")));
            }
        }
        for class in rule.site.iter().flatten() {
            if !file.sites.iter().any(|site| site.class == *class) {
                return Err(wrong(format!("no site has the class {class:?}")));
            }
        }
    }
    match file.rules.last() {
        Some(rule) if rule.evidence == Kind::None => Ok(()),
        _ => Err(ChannelError::NoLastRule),
    }
}

fn is_one_of(patterns: &Option<Vec<String>>, value: &str) -> bool {
    let Some(patterns) = patterns else { return true };
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => value.eq_ignore_ascii_case(pattern),
    })
}

fn is_class(classes: &Option<Vec<String>>, site: Option<&(String, String)>) -> bool {
    let Some(classes) = classes else { return true };
    site.is_some_and(|(_, class)| classes.contains(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ChannelRules {
        ChannelRules::parse(BUILT_IN, &["www.example.tv".into()]).unwrap()
    }

    fn check(evidence: Evidence<'_>, group: &str, rule: &str) {
        let rules = rules();
        let channel = rules.decide(&evidence);
        assert_eq!((channel.group, channel.rule), (group, rule), "{evidence:?}");
    }

    fn campaign<'a>(source: &'a str, medium: &'a str) -> Evidence<'a> {
        Evidence {
            campaign_source: source.into(),
            campaign_medium: medium.into(),
            referrer: "https://www.zhihu.com/",
            ..Evidence::default()
        }
    }

    #[test]
    fn an_explicit_campaign_wins_over_everything() {
        check(campaign("baidu", "cpc"), "paid_search", "campaign_paid_search");
        check(campaign("Weibo", "CPC"), "paid_social", "campaign_paid_social");
        check(campaign("bilibili", "paid-video"), "paid_video", "campaign_paid_video");
        check(campaign("nobody", "ppc"), "paid_search", "campaign_paid_search");
        check(campaign("", "cpm"), "feed_ads", "campaign_feed_ads");
        check(campaign("site", "banner"), "display", "campaign_display");
        check(campaign("weekly", "email"), "email", "campaign_email");
        check(campaign("x", "organic"), "organic_search", "campaign_organic");
        check(campaign("poster", "subway"), "other", "campaign_other");
    }

    #[test]
    fn without_a_campaign_click_install_and_referrer_follow_in_order() {
        let referrer = "https://m.baidu.com/s?wd=x";
        let click = Evidence {
            click_id_type: "qz_gdt".into(),
            install_source: "com.huawei.appmarket",
            referrer,
            ..Evidence::default()
        };
        check(click, "feed_ads", "click_feed");
        let install = Evidence { install_source: "com.huawei.appmarket", referrer, ..Evidence::default() };
        check(install, "app_store", "install_store");
        check(Evidence { install_source: "bundle-acer", ..Evidence::default() }, "bundle", "install_bundle");
        check(
            Evidence { install_source: "exchange_a", ..Evidence::default() },
            "exchange",
            "install_exchange",
        );
        for (referrer, group, rule) in [
            (referrer, "organic_search", "referrer_search"),
            ("https://www.example.tv/play/1", "internal", "referrer_internal"),
            ("https://mp.weixin.qq.com/s/1", "organic_social", "referrer_social"),
            ("https://t.bilibili.com/1", "organic_video", "referrer_video"),
            ("https://kimi.moonshot.cn/chat/1", "ai_assistant", "referrer_assistant"),
            ("https://notbaidu.com/", "referral", "referrer_other"),
            ("", "direct", "direct"),
            ("about:blank", "direct", "direct"),
        ] {
            check(Evidence { referrer, ..Evidence::default() }, group, rule);
        }
        check(Evidence { platform: "mini_program", ..Evidence::default() }, "mini_program", "mini_program");
    }

    #[test]
    fn the_source_is_the_site_where_it_is_known_and_the_host_where_it_is_not() {
        let rules = rules();
        let source = |referrer| rules.decide(&Evidence { referrer, ..Evidence::default() }).source;
        assert_eq!(source("https://m.weibo.cn/detail/1"), "weibo");
        assert_eq!(source("https://news.example.net/a"), "news.example.net");
    }

    #[test]
    fn a_mistake_in_the_file_names_its_rule() {
        let rule = |text: &str| format!("version = '1'\n[[rule]]\nname = 'a'\n{text}\n");
        let last = "[[rule]]\nname = 'z'\nevidence = 'none'\ngroup = 'direct'\n";
        for (text, expected) in [
            (rule("evidence = 'none'\ngroup = 'organic_serach'"), "organic_search"),
            (rule("evidence = 'referrer'\ngroup = 'other'"), "last rule"),
            (rule("evidence = 'referrer'\ngroup = 'other'\nmedium = ['cpc']") + last, "\"a\": medium"),
            (rule("evidence = 'referrer'\ngroup = 'other'\nsite = ['serch']") + last, "serch"),
            (rule("evidence = 'referrer'\ngroup = 'other'\nhosts = ['a']") + last, "hosts"),
        ] {
            let error = ChannelRules::parse(&text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
