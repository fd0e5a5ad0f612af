//! The evidence of one event, read from a page URL or from JSON: an event as clients send it, or a line of `millrace cat`.
use enrich::{channel::Evidence, user_agent::Parser};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// The fields that channel rules look at; '' for none.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct EventEvidence {
    pub(super) campaign_source: String,
    pub(super) campaign_medium: String,
    pub(super) campaign_name: String,
    pub(super) click_id_type: String,
    pub(super) install_source: String,
    pub(super) referrer: String,
    pub(super) page_url: String,
    pub(super) platform: String,
    pub(super) in_app_browser: String,
}

impl EventEvidence {
    /// A visit of a page, by its URL.
    pub(super) fn of_url(url: &str) -> Self {
        Self { page_url: url.to_owned(), platform: "web".into(), ..Self::default() }
    }

    /// One event as JSON.
    pub(super) fn of_json(text: &str) -> Result<Self, Error> {
        let event: Value = serde_json::from_str(text)
            .map_err(|error| Error::Usage(format!("the event is not a JSON object: {error}")))?;
        if !event.is_object() {
            return Err(Error::Usage(
                "expected one event as a JSON object, not an array or another value".into(),
            ));
        }
        let get = |nested: &str, name: &str| {
            let value = event.pointer(nested).or_else(|| event.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        // Enrich copies the device's first install source to all its events. Rules look at it on the first one only.
        let is_known_device = event.get("device_key").is_some() && event.get("is_new_device").is_none();
        let in_app_browser = match get("/in_app_browser", "in_app_browser") {
            app if app.is_empty() => in_app_browser(&get("/user_agent", "user_agent"))?,
            app => app,
        };
        Ok(Self {
            campaign_source: get("/campaign/source", "campaign_source"),
            campaign_medium: get("/campaign/medium", "campaign_medium"),
            campaign_name: get("/campaign/name", "campaign_name"),
            click_id_type: get("/click_id_type", "click_id_type"),
            install_source: match is_known_device {
                true => String::new(),
                false => get("/install_source", "install_source"),
            },
            referrer: get("/page/referrer", "page_referrer"),
            page_url: get("/page/url", "page_url"),
            platform: get("/platform", "platform"),
            in_app_browser,
        })
    }

    /// The evidence in the form that the rules take.
    pub(super) fn evidence(&self) -> Evidence<'_> {
        let mut evidence = Evidence {
            campaign_source: self.campaign_source.as_str().into(),
            campaign_medium: self.campaign_medium.as_str().into(),
            campaign_name: self.campaign_name.as_str().into(),
            click_id_type: self.click_id_type.as_str().into(),
            install_source: &self.install_source,
            referrer: &self.referrer,
        };
        evidence.read_address(&self.page_url);
        evidence
    }
}

fn in_app_browser(user_agent: &str) -> Result<String, Error> {
    if user_agent.is_empty() {
        return Ok(String::new());
    }
    let parser = Parser::new().map_err(|error| Error::Failed(error.to_string()))?;
    Ok(parser.read(user_agent).in_app_browser.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_gives_the_same_evidence_as_sent_and_as_printed_by_cat() {
        let sent = r#"{"platform": "h5", "page": {"url": "https://a.tv/?x=1", "referrer": "https://b.com/"},
            "campaign": {"source": "s", "medium": "m", "name": "n"}, "click_id_type": "gclid", "install_source": "i",
            "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) MicroMessenger/8.0.47"}"#;
        let printed = r#"{"platform": "h5", "page_url": "https://a.tv/?x=1", "page_referrer": "https://b.com/",
            "campaign_source": "s", "campaign_medium": "m", "campaign_name": "n", "click_id_type": "gclid",
            "install_source": "i", "in_app_browser": "wechat", "device_key": "7", "is_new_device": 1}"#;
        let shown = EventEvidence::of_json(sent).unwrap();
        assert_eq!(shown, EventEvidence::of_json(printed).unwrap());
        assert_eq!((shown.install_source.as_str(), shown.in_app_browser.as_str()), ("i", "wechat"));
        let later = printed.replace(", \"is_new_device\": 1", "");
        assert_eq!(EventEvidence::of_json(&later).unwrap().install_source, "");
    }

    #[test]
    fn text_that_is_not_an_event_is_rejected() {
        for text in ["", "[{}]", "{", "7"] {
            assert!(matches!(EventEvidence::of_json(text), Err(Error::Usage(_))), "{text}");
        }
    }
}
