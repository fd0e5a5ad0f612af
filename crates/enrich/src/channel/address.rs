//! The parameters of a page's address, as links carry them: in the query, or behind `#`; with `&` written as `&amp;`; with
//! blanks around a value; with percent escapes of another encoding than UTF-8.
use encoding_rs::GB18030;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Parameters that advertisers add to the page's address of a click, and the advertiser of each.
pub(super) const CLICK_PARAMETERS: &[(&str, &str)] = &[
    ("bd_vid", "baidu"),
    ("dclid", "google"),
    ("epik", "pinterest"),
    ("fbclid", "facebook"),
    ("gbraid", "google"),
    ("gclid", "google"),
    ("gdt_vid", "tencent"),
    ("li_fat_id", "linkedin"),
    ("msclkid", "bing"),
    ("qhclickid", "360"),
    ("qz_gdt", "tencent"),
    ("rdt_cid", "reddit"),
    ("sccid", "snapchat"),
    ("ttclid", "tiktok"),
    ("twclid", "twitter"),
    ("wbraid", "google"),
    ("yclid", "yandex"),
];
/// Prefixes of campaign parameters: Google's, which most use, Piwik's and Matomo's.
pub(super) const CAMPAIGN_PREFIXES: &[&str] = &["utm_", "pk_", "mtm_"];

/// The lists of parameters of an address: its query, and what is behind `#`, with or without a path there.
pub(super) fn parameter_lists(url: &str) -> [&str; 2] {
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let query = before.split_once('?').map_or("", |(_, query)| query);
    [query, fragment.split_once('?').map_or(fragment, |(_, query)| query)]
}

/// Names and values of a list of parameters. Blanks around a value are no part of it.
pub(super) fn parameters(list: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    list.split('&').filter_map(|parameter| {
        let (name, value) = name_of(parameter).split_once('=')?;
        Some((decoded(name), trimmed(decoded(value))))
    })
}

/// A page that writes `&` as `&amp;` in a link that is no HTML makes `amp;` the beginning of each further name.
fn name_of(parameter: &str) -> &str {
    parameter.strip_prefix("amp;").unwrap_or(parameter)
}

fn trimmed(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => value.trim().into(),
        Cow::Owned(value) => value.trim().to_owned().into(),
    }
}

/// The text of a name or value. Escapes that are no UTF-8 are those of a page in GBK, which GB18030 includes.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.into();
    }
    let bytes: Vec<u8> = percent_decode_str(&text.replace('+', " ")).collect();
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => {
            // A character that is cut off at the end of the address is missing, and the rest is UTF-8.
            let (end, is_cut) = (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_none());
            let bytes = error.into_bytes();
            match str::from_utf8(&bytes[..end]) {
                Ok(text) if is_cut && !text.is_empty() => text.to_owned().into(),
                _ => GB18030.decode_without_bom_handling(&bytes).0.into_owned().into(),
            }
        }
    }
}

/// Whether the parameters of an address may be evidence: a quick look before they are parsed.
pub(crate) fn has_evidence(url: &str) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'?' | b'#' | b'&');
    // Byte by byte, because every event with a page comes here, and most parameters are short and no evidence.
    let Some(start) = url.bytes().position(|byte| is_separator(&byte)) else { return false };
    url.as_bytes()[start + 1..].split(is_separator).any(|parameter| {
        let parameter = parameter.strip_prefix(b"amp;").unwrap_or(parameter);
        let end = parameter.iter().position(|&byte| byte == b'=').unwrap_or(parameter.len());
        let name = &parameter[..end];
        // An encoded name may decode to any name.
        name.iter().any(|&byte| matches!(byte, b'%' | b'+'))
            || CAMPAIGN_PREFIXES
                .iter()
                .map(|prefix| prefix.as_bytes())
                .any(|prefix| name.first() == prefix.first() && name.starts_with(prefix))
            || CLICK_PARAMETERS.iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(url: &str) -> Vec<String> {
        let lists = parameter_lists(url).into_iter();
        lists.flat_map(parameters).map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn parameters_are_read_as_links_carry_them() {
        for (url, expected) in [
            ("https://a.tv/", &[][..]),
            ("https://a.tv/?x=1&y=2#top", &["x=1", "y=2"]),
            ("https://a.tv/#/play?x=1", &["x=1"]),
            ("https://a.tv/?x=1#y=2&z=3", &["x=1", "y=2", "z=3"]),
            ("https://a.tv/?x=1&amp;y=2&amp;amp=3", &["x=1", "y=2", "amp=3"]),
            ("https://a.tv/?x=+a+b%20&y=%20", &["x=a b", "y="]),
            // 百度 in UTF-8, and in GBK.
            ("https://a.tv/?x=%E7%99%BE%E5%BA%A6", &["x=百度"]),
            ("https://a.tv/?x=%B0%D9%B6%C8&y=1", &["x=百度", "y=1"]),
            // Cut within a character.
            ("https://a.tv/?x=%E7%99%BE%E5%BA", &["x=百"]),
        ] {
            assert_eq!(all(url), expected, "{url}");
        }
    }

    #[test]
    fn every_address_with_evidence_passes_the_quick_look() {
        for (url, expected) in [
            ("https://www.example.tv/?utm_source=baidu", true),
            ("https://www.example.tv/p?a=1&pk_source=weibo#top", true),
            ("https://www.example.tv/?x&GCLID=1", true),
            ("https://www.example.tv/?%75tm_source=a", true),
            ("https://www.example.tv/#/p?utm_source=a", true),
            ("https://www.example.tv/#utm_source=a", true),
            ("https://www.example.tv/?a=1&amp;utm_source=a", true),
            ("https://www.example.tv/play/1?from=home&page=2#comments", false),
            ("https://www.example.tv/utm_source=a", false),
        ] {
            assert_eq!(has_evidence(url), expected, "{url}");
            let mut evidence = crate::channel::Evidence::default();
            evidence.read_address(url);
            assert_eq!(!evidence.is_empty(), expected, "{url}");
        }
    }
}
