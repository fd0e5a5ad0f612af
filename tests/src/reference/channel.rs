//! The channel of a visit, for the sources, hosts and store packages of the simulator.

use serde_json::{Map, Value};

const SEARCH: [&str; 5] = ["baidu.com", "google.com", "sogou.com", "so.com", "bing.com"];
const SOCIAL: [&str; 6] = ["weibo.com", "weibo.cn", "qq.com", "zhihu.com", "xiaohongshu.com", "wechat.com"];
const VIDEO: [&str; 4] = ["bilibili.com", "douyin.com", "kuaishou.com", "youtube.com"];
const ASSISTANTS: [&str; 3] = ["chatgpt.com", "kimi.moonshot.cn", "doubao.com"];
const MAIL: [&str; 2] = ["mail.qq.com", "mail.google.com"];
/// Hosts that visitors pass through to sign in or to pay.
const PASSAGES: [&str; 6] = [
    "accounts.google.com",
    "graph.qq.com",
    "open.weixin.qq.com",
    "passport.weibo.com",
    "alipay.com",
    "paypal.com",
];
const OWN: [&str; 2] = ["www.example.tv", "m.example.tv"];

/// The channel group by the event alone, if it has evidence for one. `first` on the first event of its device.
pub(super) fn by_evidence(event: &Map<String, Value>, first: bool) -> Option<&'static str> {
    campaign(event).or_else(|| click(event)).or_else(|| installed(event, first)).or_else(|| referrer(event))
}

fn text<'a>(event: &'a Map<String, Value>, part: &str, member: &str) -> &'a str {
    event.get(part).and_then(|part| part.get(member)).and_then(Value::as_str).unwrap_or_default()
}

fn parameters(event: &Map<String, Value>) -> Vec<(&str, &str)> {
    let query = text(event, "page", "url").split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

fn campaign(event: &Map<String, Value>) -> Option<&'static str> {
    let mut source = text(event, "campaign", "source");
    let mut medium = text(event, "campaign", "medium");
    let mut name = text(event, "campaign", "name");
    if [source, medium, name].iter().all(|part| part.is_empty()) {
        for (key, value) in parameters(event) {
            match key {
                "utm_source" => source = value,
                "utm_medium" => medium = value,
                "utm_campaign" => name = value,
                _ => {}
            }
        }
    }
    let tidy = |text: &str| text.trim_matches([' ', '+']).to_lowercase();
    let (source, medium) = (tidy(source), tidy(medium));
    if source.is_empty() && medium.is_empty() && name.trim().is_empty() {
        return None;
    }
    Some(match medium.as_str() {
        "cpc" | "ppc" => match source.as_str() {
            "weibo" | "xiaohongshu" | "zhihu" | "wechat" => "paid_social",
            "bilibili" | "douyin" | "kuaishou" => "paid_video",
            _ => "paid_search",
        },
        "feed" | "feed_ads" | "cpm" => "feed_ads",
        "display" | "banner" => "display",
        "email" => "email",
        "affiliate" => "affiliate",
        "sms" => "sms",
        "push" => "push",
        "social" => "organic_social",
        "organic" => "organic_search",
        "video" => "organic_video",
        // Like a referrer of that name.
        "" => by_site(|site| source == site || is_name_of(&source, site)).unwrap_or("other"),
        _ => "other",
    })
}

fn click(event: &Map<String, Value>) -> Option<&'static str> {
    let group = |kind: &str| match kind {
        "gclid" | "msclkid" | "bd_vid" => Some("paid_search"),
        "fbclid" | "ttclid" => Some("paid_social"),
        "qz_gdt" => Some("feed_ads"),
        _ => None,
    };
    let own = event.get("click_id_type").and_then(Value::as_str).and_then(group);
    own.or_else(|| parameters(event).iter().find_map(|(key, _)| group(key)))
}

fn installed(event: &Map<String, Value>, first: bool) -> Option<&'static str> {
    let package = event.get("install_source").and_then(Value::as_str).filter(|_| first)?;
    Some(match package {
        package if package.starts_with("bundle") => "bundle",
        package if package.starts_with("exchange") => "exchange",
        _ => "app_store",
    })
}

fn referrer(event: &Map<String, Value>) -> Option<&'static str> {
    let (_, rest) = text(event, "page", "referrer").split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    let is_at = |site: &str| host == site || host.ends_with(&format!(".{site}"));
    if OWN.contains(&host) {
        return Some("internal");
    }
    if PASSAGES.iter().any(|site| is_at(site)) {
        return None;
    }
    by_site(is_at).or(Some("referral"))
}

/// Whether a campaign's source is the name of a site.
fn is_name_of(source: &str, site: &str) -> bool {
    site.split_once('.').is_some_and(|(name, _)| name == source && name != "mail")
}

/// The group of the first site, the narrow ones first, of which `is` is true.
fn by_site(is: impl Fn(&str) -> bool) -> Option<&'static str> {
    let groups: [(&[&str], &'static str); 5] = [
        (&MAIL, "email"),
        (&SEARCH, "organic_search"),
        (&SOCIAL, "organic_social"),
        (&VIDEO, "organic_video"),
        (&ASSISTANTS, "ai_assistant"),
    ];
    groups.into_iter().find(|(sites, _)| sites.iter().any(|site| is(site))).map(|(_, group)| group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_evidence_in_the_order_of_the_contract_decides() {
        let url = "https://www.example.tv/?a=1&utm_source=weibo&utm_medium=cpc&gclid=1";
        for (event, expected) in [
            (json!({"page": {"url": url}, "campaign": {"medium": "email"}}), Some("email")),
            (json!({"page": {"url": url}}), Some("paid_social")),
            (json!({"click_id_type": "qz_gdt", "install_source": "bundle-x"}), Some("feed_ads")),
            (
                json!({"install_source": "bundle-x", "page": {"referrer": "https://m.baidu.com/s"}}),
                Some("bundle"),
            ),
            (json!({"page": {"referrer": "https://m.baidu.com/s"}}), Some("organic_search")),
            (json!({"page": {"referrer": "https://notbaidu.com/s"}}), Some("referral")),
            (json!({"page": {"referrer": "https://m.example.tv/"}}), Some("internal")),
            (json!({"page": {"referrer": ""}}), None),
            (json!({"page": {"referrer": "https://open.weixin.qq.com/connect"}}), None),
            (json!({"page": {"referrer": "https://mail.qq.com/"}}), Some("email")),
            (json!({"campaign": {"source": " Weibo+"}}), Some("organic_social")),
            (json!({"campaign": {"source": "weekly"}}), Some("other")),
        ] {
            assert_eq!(by_evidence(event.as_object().unwrap(), true), expected, "{event}");
        }
        let late = json!({"install_source": "com.huawei.appmarket"});
        assert_eq!(by_evidence(late.as_object().unwrap(), false), None);
    }
}
