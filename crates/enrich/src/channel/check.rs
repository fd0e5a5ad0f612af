//! Checks a rule file, so that a mistake stops the process at its start and does not show up in next month's numbers.
use super::{
    error::ChannelError,
    evidence::click_id_types,
    file::{ChannelRule, EvidenceKind, RuleFile},
    groups::GROUPS,
};
use crate::user_agent::IN_APP_BROWSERS;

const PLATFORMS: [&str; 7] = ["web", "h5", "ios", "android", "pc", "mini_program", "server"];

/// The kinds of evidence that allow each condition.
const CONDITIONS: [(&str, &[EvidenceKind]); 6] = [
    ("medium", &[EvidenceKind::Campaign]),
    ("click_id_type", &[EvidenceKind::ClickId]),
    ("install_source", &[EvidenceKind::InstallSource]),
    ("platform", &[EvidenceKind::Platform]),
    ("in_app_browser", &[EvidenceKind::InAppBrowser]),
    ("site", &[EvidenceKind::Campaign, EvidenceKind::InstallSource, EvidenceKind::Referrer]),
];

/// Checks each rule by itself and against the rules before it.
pub(super) fn check_rules(file: &RuleFile) -> Result<(), ChannelError> {
    let mut earlier: Vec<&ChannelRule> = Vec::new();
    for rule in &file.rules {
        check_alone(rule, file).map_err(|problem| wrong(rule, problem))?;
        check_position(rule, &earlier).map_err(|problem| wrong(rule, problem))?;
        earlier.push(rule);
    }
    match earlier.last() {
        Some(rule) if rule.evidence == EvidenceKind::None => Ok(()),
        _ => Err(ChannelError::NoLastRule),
    }
}

fn check_alone(rule: &ChannelRule, file: &RuleFile) -> Result<(), String> {
    check_known("group", &rule.group, GROUPS.iter().copied())?;
    if rule.own && rule.evidence != EvidenceKind::Referrer {
        return Err("own applies only to evidence \"referrer\"".into());
    }
    for ((key, list), (_, kinds)) in rule.lists().into_iter().zip(CONDITIONS) {
        let Some(list) = list else { continue };
        if !kinds.contains(&rule.evidence) {
            return Err(format!("{key} does not apply to this evidence"));
        }
        if list.is_empty() {
            return Err(format!("{key} is an empty list, which matches nothing: fill it or remove {key}"));
        }
        for (place, value) in list.iter().enumerate() {
            if list[..place].iter().any(|before| before.eq_ignore_ascii_case(value)) {
                return Err(format!("{key} has {value:?} twice"));
            }
            match key {
                "click_id_type" => check_known(key, value, click_id_types())?,
                "platform" => check_known(key, value, PLATFORMS.into_iter())?,
                "in_app_browser" => check_known(key, value, IN_APP_BROWSERS.iter().copied())?,
                "site" => {
                    check_known("site class", value, file.sites.iter().map(|site| site.class.as_str()))?
                }
                // A campaign without a medium.
                "medium" => (),
                _ if value.is_empty() => return Err(format!("{key} has an empty value")),
                _ => (),
            }
        }
    }
    Ok(())
}

fn check_position(rule: &ChannelRule, earlier: &[&ChannelRule]) -> Result<(), String> {
    if earlier.iter().any(|before| before.name == rule.name) {
        return Err("another rule has the same name".into());
    }
    if let Some(before) = earlier.iter().find(|before| before.evidence == EvidenceKind::None) {
        return Err(format!("it can never match: rule {:?} before it always matches", before.name));
    }
    if let Some(before) = earlier.iter().find(|before| before.covers(rule)) {
        return Err(format!(
            "it can never match: rule {:?} before it matches everything that it matches: move it up, or remove it",
            before.name
        ));
    }
    let fallback = earlier.iter().find(|before| !before.evidence.is_own());
    match fallback {
        Some(before) if rule.evidence.is_own() => Err(format!(
            "it must come before rule {:?}: platform, in_app_browser and none are tried last, when neither the event \
             nor an earlier visit of the device shows a channel",
            before.name
        )),
        _ => Ok(()),
    }
}

fn check_known<'n>(
    key: &str,
    value: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), String> {
    if names.clone().any(|name| name == value) {
        return Ok(());
    }
    let nearest = names.min_by_key(|name| strsim::damerau_levenshtein(name, value));
    Err(match nearest {
        Some(nearest) => format!("{key} {value:?} is not known: did you mean {nearest:?}?"),
        None => format!("{key} {value:?} is not known"),
    })
}

fn wrong(rule: &ChannelRule, problem: String) -> ChannelError {
    ChannelError::Rule { rule: rule.name.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{
        rules::{BUILT_IN, ChannelRules},
        site::Sites,
    };

    const SITE: &str = "[[site]]\nname = 'baidu'\nclass = 'search'\nhosts = ['baidu.com']\n";

    fn rule(name: &str, evidence: &str, rest: &str) -> String {
        let group = if rest.contains("group =") { "" } else { "group = 'other'\n" };
        format!("[[rule]]\nname = '{name}'\nevidence = '{evidence}'\n{group}{rest}\n")
    }

    fn problem(rules: &[String]) -> String {
        let text = format!("version = '1'\n{}{SITE}", rules.concat());
        ChannelRules::parse(&text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_rule_and_what_would_be_right() {
        let last = rule("z", "none", "group = 'direct'");
        for (evidence, rest, expected) in [
            (
                "referrer",
                "group = 'organic_serach'",
                "group \"organic_serach\" is not known: did you mean \"organic_search\"?",
            ),
            ("referrer", "medium = ['cpc']", "medium does not apply to this evidence"),
            ("campaign", "own = true", "own applies only to evidence \"referrer\""),
            ("referrer", "site = ['serch']", "site class \"serch\" is not known: did you mean \"search\"?"),
            (
                "click_id",
                "click_id_type = ['gclide']",
                "click_id_type \"gclide\" is not known: did you mean \"gclid\"?",
            ),
            (
                "click_id",
                "click_id_type = []",
                "click_id_type is an empty list, which matches nothing: fill it or remove click_id_type",
            ),
            ("install_source", "install_source = ['']", "install_source has an empty value"),
            ("campaign", "medium = ['cpc', 'CPC']", "medium has \"CPC\" twice"),
            (
                "platform",
                "platform = ['miniprogram']",
                "platform \"miniprogram\" is not known: did you mean \"mini_program\"?",
            ),
            (
                "in_app_browser",
                "in_app_browser = ['weixin']",
                "in_app_browser \"weixin\" is not known: did you mean",
            ),
        ] {
            let error = problem(&[rule("a", evidence, rest), last.clone()]);
            assert!(error.starts_with(&format!("rule \"a\": {expected}")), "{error}");
        }
        let error = problem(&[rule("a", "referrer", "hosts = ['a.com']"), last]);
        assert!(error.contains("unknown field `hosts`"), "{error}");
    }

    #[test]
    fn a_rule_that_can_never_match_is_an_error() {
        let last = rule("z", "none", "group = 'direct'");
        for (first, second, is_error) in [
            (rule("a", "campaign", ""), rule("b", "campaign", "medium = ['cpc']"), true),
            (
                rule("a", "campaign", "medium = ['paid*']"),
                rule("b", "campaign", "medium = ['paid-social']"),
                true,
            ),
            (
                rule("a", "campaign", "medium = ['cpc']\nsite = ['search']"),
                rule("b", "campaign", "medium = ['cpc']"),
                false,
            ),
            (rule("a", "campaign", "medium = ['cpc']"), rule("b", "campaign", ""), false),
            (rule("a", "campaign", ""), rule("b", "referrer", ""), false),
            (rule("a", "referrer", "own = true"), rule("b", "referrer", ""), false),
            (rule("a", "referrer", ""), rule("b", "referrer", "own = true"), true),
        ] {
            let rules = [first, second, last.clone()];
            let text = format!("version = '1'\n{}{SITE}", rules.concat());
            match ChannelRules::parse(&text, &[]) {
                Ok(_) => assert!(!is_error, "{text}"),
                Err(error) => {
                    assert!(is_error, "{error}");
                    assert!(
                        error.to_string().starts_with("rule \"b\": it can never match: rule \"a\""),
                        "{error}"
                    );
                }
            }
        }
    }

    #[test]
    fn rules_must_come_in_the_order_in_which_they_are_tried() {
        let last = rule("z", "none", "group = 'direct'");
        let mini = rule("m", "platform", "platform = ['mini_program']");
        let campaign = rule("c", "campaign", "");
        let error = problem(&[mini.clone(), campaign.clone(), last.clone()]);
        assert!(error.starts_with("rule \"c\": it must come before rule \"m\""), "{error}");
        let error = problem(&[last.clone(), mini.clone(), last.clone()]);
        assert!(error.starts_with("rule \"m\": it can never match"), "{error}");
        assert!(
            problem(&[campaign.clone(), campaign.clone(), last]).contains("another rule has the same name")
        );
        assert!(problem(&[campaign]).starts_with("the last rule must have evidence"));
    }

    #[test]
    fn a_name_belongs_to_one_site() {
        for (site, expected) in [
            (
                "name = 'x'\nclass = 'search'\nhosts = ['Baidu.com']",
                "the host \"Baidu.com\" already belongs to site \"baidu\"",
            ),
            (
                "name = 'Baidu'\nclass = 'search'\nhosts = ['b.com']",
                "the name \"Baidu\" already belongs to site \"baidu\"",
            ),
            ("name = 'x'\nclass = 'search'\nhosts = ['https://b.com']", "\"https://b.com\" is not a host"),
            ("name = 'x'\nclass = 'search'", "it has neither hosts nor packages"),
        ] {
            let text = format!("version = '1'\n{}{SITE}[[site]]\n{site}\n", rule("z", "none", ""));
            let error = ChannelRules::parse(&text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_built_in_file_is_valid_and_knows_at_least_150_hosts_and_stores() {
        let rules = ChannelRules::parse(BUILT_IN, &[]).unwrap();
        let file: RuleFile = toml::from_str(BUILT_IN).unwrap();
        let known = Sites::new(file.sites).unwrap().len();
        assert!(known >= 150, "only {known}");
        assert_eq!(rules.version(), "3");
    }
}
