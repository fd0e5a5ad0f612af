//! The evidence of an event: what it shows about where its visit came from.
use std::borrow::Cow;

use event::{Batch, Field};

use super::address::{CAMPAIGN_PREFIXES, CLICK_PARAMETERS, parameter_lists, parameters};

/// The evidence of one event; empty texts are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Evidence<'a> {
    /// `campaign.source`, else `utm_source`, `pk_source` or `mtm_source` in the page's address.
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
}

impl<'a> Evidence<'a> {
    /// The evidence of a row's event. `install_source` is '' unless it is the device's first event: on later events it
    /// is no evidence of this visit.
    pub fn of_event(batch: &'a Batch, row: usize, install_source: &'a str) -> Self {
        let text = |field| Cow::Borrowed(batch.text(field, row));
        let mut evidence = Self {
            campaign_source: text(Field::CampaignSource),
            campaign_medium: text(Field::CampaignMedium),
            campaign_name: text(Field::CampaignName),
            click_id_type: text(Field::ClickIdType),
            install_source,
            referrer: batch.text(Field::PageReferrer, row),
        };
        evidence.read_address(batch.text(Field::PageUrl, row));
        evidence
    }

    /// Whether the event names a campaign.
    pub fn has_campaign(&self) -> bool {
        let Self { campaign_source, campaign_medium, campaign_name, .. } = self;
        [campaign_source, campaign_medium].iter().any(|text| !without_blanks(text).is_empty())
            || !campaign_name.trim().is_empty()
    }

    /// Whether the event shows no evidence.
    pub fn is_empty(&self) -> bool {
        !self.has_campaign()
            && self.click_id_type.is_empty()
            && self.install_source.is_empty()
            && self.referrer.is_empty()
    }

    /// Adds what the parameters of the page's address show and the event itself does not.
    pub fn read_address(&mut self, url: &'a str) {
        for list in parameter_lists(url) {
            // A campaign comes from one place: it is not put together from several.
            let is_explicit = self.has_campaign();
            for (name, value) in parameters(list) {
                if value.is_empty() {
                    continue;
                }
                if self.click_id_type.is_empty() && advertiser_of(&name).is_some() {
                    self.click_id_type = name;
                } else if !is_explicit
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
}

/// Removes blanks at both ends of a source or medium, also those that a link has escaped.
pub(super) fn without_blanks(text: &str) -> &str {
    let mut rest = text.trim();
    loop {
        let shorter = rest.trim_matches(|c: char| c.is_whitespace() || c == '+');
        let shorter = shorter.strip_prefix("%20").unwrap_or(shorter);
        let shorter = shorter.strip_suffix("%20").unwrap_or(shorter);
        if shorter.len() == rest.len() {
            return rest;
        }
        rest = shorter;
    }
}

/// The known types of click IDs.
pub(super) fn click_id_types() -> impl Iterator<Item = &'static str> + Clone {
    CLICK_PARAMETERS.iter().map(|(name, _)| *name)
}

/// The advertiser of a click; the type itself when it is unknown.
pub(super) fn advertiser(click_id_type: &str) -> &str {
    advertiser_of(click_id_type).unwrap_or(click_id_type)
}

fn advertiser_of(click_id_type: &str) -> Option<&'static str> {
    let known = CLICK_PARAMETERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(click_id_type));
    known.map(|(_, advertiser)| *advertiser)
}

/// The host of an address in lower case, without port; None when the address has none.
pub fn host(url: &str) -> Option<Cow<'_, str>> {
    // Byte by byte, because every event with a referrer comes here. The delimiters are ASCII, so every cut is between
    // characters.
    let bytes = url.as_bytes();
    let start = bytes.windows(3).position(|window| window == b"://")? + 3;
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = url.get(start..start + end)?;
    let start = authority.bytes().rposition(|byte| byte == b'@').map_or(0, |at| at + 1);
    let host = &authority[start..];
    // The colons of an IPv6 address stand in brackets, and the port behind them.
    let port_from = if host.starts_with('[') { host.find(']').unwrap_or(0) } else { 0 };
    let end = host.bytes().skip(port_from).position(|byte| byte == b':');
    let host = host[..end.map_or(host.len(), |end| port_from + end)].trim_end_matches('.');
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        _ if host.is_empty() => None,
        true => Some(host.to_ascii_lowercase().into()),
        false => Some(host.into()),
    }
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
            ("https://www.example.tv/#/play/1?utm_source=weibo&utm_medium=cpc", "weibo", "cpc", ""),
            ("https://www.example.tv/?utm_source=mail#utm_source=weibo&utm_medium=cpc", "mail", "", ""),
            ("https://www.example.tv/?a=1&amp;utm_source=mail&amp;gclid=1", "mail", "", "gclid"),
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
    fn the_host_of_an_address_is_found() {
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
