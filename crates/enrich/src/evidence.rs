//! What an event shows about where its visit came from, before any rule judges it.
use std::borrow::Cow;

/// Evidence of one event. Empty texts mean: not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Evidence<'a> {
    /// `campaign.source`, else `utm_source` and its siblings in the page's address.
    pub campaign_source: Cow<'a, str>,
    /// The campaign's medium.
    pub campaign_medium: Cow<'a, str>,
    /// The campaign's name.
    pub campaign_name: Cow<'a, str>,
    /// `click_id_type`, else the name of a known click parameter in the page's address.
    pub click_id_type: Cow<'a, str>,
    /// The app-store package.
    pub install_source: &'a str,
    /// `page.referrer` as sent.
    pub referrer: &'a str,
    /// The event's platform.
    pub platform: &'a str,
}

/// Parameters by which advertisers mark a click, as they stand in page addresses.
const CLICK_PARAMETERS: &[&str] = &["gclid", "msclkid", "bd_vid", "fbclid", "ttclid", "qz_gdt"];
/// Prefixes of the campaign parameters: of Google and nearly everyone, of Piwik, of Matomo.
const CAMPAIGN_PREFIXES: &[&str] = &["utm_", "pk_", "mtm_"];

impl<'a> Evidence<'a> {
    /// Whether the event names a campaign.
    pub fn has_campaign(&self) -> bool {
        !(self.campaign_source.is_empty() && self.campaign_medium.is_empty() && self.campaign_name.is_empty())
    }

    /// Fills what the event itself left open from the parameters of the page's address.
    pub fn read_address(&mut self, url: &'a str) {
        let Some((_, query)) = url.split_once('?') else { return };
        let query = query.split('#').next().unwrap_or(query);
        let explicit = self.has_campaign();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            if self.click_id_type.is_empty() && CLICK_PARAMETERS.contains(&name.as_ref()) {
                self.click_id_type = name;
            } else if !explicit
                && let Some(part) = CAMPAIGN_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
            {
                match part {
                    "source" => self.campaign_source = value,
                    "medium" => self.campaign_medium = value,
                    "campaign" | "name" => self.campaign_name = value,
                    _ => (),
                }
            }
        }
    }
}

/// The host of an address, lower-case, without port; nothing when there is none.
pub fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?.trim_end_matches('.');
    if host.is_empty() { None } else { Some(host.to_ascii_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> (String, String, String) {
        let mut evidence = Evidence::default();
        evidence.read_address(url);
        (evidence.campaign_source.into(), evidence.campaign_medium.into(), evidence.click_id_type.into())
    }

    #[test]
    fn campaign_and_click_parameters_are_read_from_the_address() {
        for (url, source, medium, click) in [
            ("https://www.example.tv/?utm_source=baidu&utm_medium=cpc", "baidu", "cpc", ""),
            ("https://www.example.tv/p?a=1&pk_source=weibo#top", "weibo", "", ""),
            ("https://www.example.tv/?mtm_medium=email&bd_vid=1", "", "email", "bd_vid"),
            ("https://www.example.tv/?utm_source=%E7%99%BE%E5%BA%A6", "百度", "", ""),
            ("https://www.example.tv/?gclid=", "", "", ""),
            ("https://www.example.tv/play/1", "", "", ""),
        ] {
            assert_eq!(of(url), (source.into(), medium.into(), click.into()), "{url}");
        }
    }

    #[test]
    fn an_explicit_campaign_is_not_mixed_with_the_address() {
        let mut evidence = Evidence { campaign_source: "mail".into(), ..Evidence::default() };
        evidence.read_address("https://www.example.tv/?utm_medium=cpc");
        assert_eq!(evidence.campaign_medium, "");
    }

    #[test]
    fn the_host_is_cut_out_of_any_address() {
        for (url, expected) in [
            ("https://WWW.Baidu.com/s?wd=a", Some("www.baidu.com")),
            ("http://user@so.com:8080", Some("so.com")),
            ("android-app://com.tencent.mm/", Some("com.tencent.mm")),
            ("about:blank", None),
            ("", None),
            ("https:///path", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }
}
