//! The channel of a visit, for the sources, hosts and store packages of the simulator.

use serde_json::{Map, Value};

const SEARCH: [&str; 5] = ["baidu.com", "google.com", "sogou.com", "so.com", "bing.com"];
const SOCIAL: [&str; 6] = ["weibo.com", "weibo.cn", "qq.com", "zhihu.com", "xiaohongshu.com", "wechat.com"];
const VIDEO: [&str; 4] = ["bilibili.com", "douyin.com", "kuaishou.com", "youtube.com"];
const ASSISTANTS: [&str; 3] = ["chatgpt.com", "kimi.moonshot.cn", "doubao.com"];
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
    if [source, medium, name].iter().all(|part| part.is_empty()) {
        return None;
    }
    Some(match medium {
        "cpc" | "ppc" => match source {
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
    let is_one_of =
        |sites: &[&str]| sites.iter().any(|site| host == *site || host.ends_with(&format!(".{site}")));
    Some(match host {
        host if OWN.contains(&host) => "internal",
        _ if is_one_of(&SEARCH) => "organic_search",
        _ if is_one_of(&SOCIAL) => "organic_social",
        _ if is_one_of(&VIDEO) => "organic_video",
        _ if is_one_of(&ASSISTANTS) => "ai_assistant",
        _ => "referral",
    })
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
        ] {
            assert_eq!(by_evidence(event.as_object().unwrap(), true), expected, "{event}");
        }
        let late = json!({"install_source": "com.huawei.appmarket"});
        assert_eq!(by_evidence(late.as_object().unwrap(), false), None);
    }
}
