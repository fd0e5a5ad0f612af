//! Who is erased, and the conditions that find the rows of this person. Pure.
use std::collections::BTreeSet;

use event::IdentityKey;

/// A shorter ID is looked for with its quotes in a payload, because it can be a part of other values.
const PLAIN_BYTES: usize = 8;
/// ClickHouse searches for at most 255 texts at once. An ID has at most 7.
const IDS_PER_SEARCH: usize = 255 / 7;

/// The keys of a person in the tables and in the changelog: hashes of its IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PersonKeys {
    /// `device_key`.
    pub(super) devices: Vec<u64>,
    /// `user_key`.
    pub(super) users: Vec<u64>,
}

/// The IDs of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) app: String,
    pub(super) devices: BTreeSet<String>,
    pub(super) users: BTreeSet<String>,
}

/// One search for dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// Also in those of other applications: a rejected record may have a wrong `app_id`. Only for IDs that are long enough
    /// to belong to one person.
    pub(super) everywhere: bool,
    /// The IDs, for the keys of records.
    pub(super) ids: Vec<String>,
    /// What to look for in payloads.
    pub(super) traces: Vec<String>,
}

impl Person {
    pub(super) fn new(app: &str, devices: &[String], users: &[String]) -> Self {
        Self {
            app: app.to_owned(),
            devices: devices.iter().cloned().collect(),
            users: users.iter().cloned().collect(),
        }
    }

    /// More devices of the same person.
    pub(super) fn add_devices(&mut self, devices: Vec<String>) {
        self.devices.extend(devices.into_iter().filter(|id| !id.is_empty()));
    }

    /// The keys of all IDs.
    pub(super) fn keys(&self, identity: &IdentityKey) -> PersonKeys {
        let keys =
            |ids: &BTreeSet<String>| ids.iter().map(|id| identity.hash(&self.app, id) as u64).collect();
        PersonKeys { devices: keys(&self.devices), users: keys(&self.users) }
    }

    /// The texts whose hash decides the partition of each device, in the order of its keys.
    pub(super) fn partition_keys(&self) -> Vec<String> {
        self.devices.iter().map(|id| format!("{}:{id}", self.app)).collect()
    }

    /// The searches that find the dead letters of this person.
    pub(super) fn searches(&self) -> Vec<Search> {
        let ids = || self.devices.iter().chain(&self.users);
        let (long, short): (Vec<&String>, Vec<&String>) = ids().partition(|id| id.len() >= PLAIN_BYTES);
        let mut searches = Vec::new();
        for (ids, everywhere) in [(long, true), (short, false)] {
            searches.extend(ids.chunks(IDS_PER_SEARCH).map(|ids| Search {
                everywhere,
                ids: ids.iter().map(|id| (*id).clone()).collect(),
                traces: ids.iter().flat_map(|id| traces(id)).collect(),
            }));
        }
        searches
    }
}

/// The texts that show in a payload that it is of the person with this ID.
fn traces(id: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(id).to_string();
    let mut forms = vec![quoted.clone()];
    // A client may write every other character as an escape, in digits of either case.
    if !id.is_ascii() {
        let escaped = |text: &str, unit: fn(&u16) -> String| -> String {
            let mut units = [0; 2];
            let one = |char: char| match char {
                char if char.is_ascii() => char.to_string(),
                char => char.encode_utf16(&mut units).iter().map(unit).collect(),
            };
            text.chars().map(one).collect()
        };
        forms.push(escaped(&quoted, |unit| format!("\\u{unit:04x}")));
        forms.push(escaped(&quoted, |unit| format!("\\u{unit:04X}")));
    }
    if id.len() >= PLAIN_BYTES {
        return forms.iter().map(|quoted| quoted[1..quoted.len() - 1].to_owned()).collect();
    }
    // A client may also send a number.
    if id.bytes().all(|byte| byte.is_ascii_digit()) {
        for before in [":", ": "] {
            forms.extend([",", "}", " "].map(|after| format!("{before}{id}{after}")));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Person {
        let mut person = Person::new("web", &["7f9c2c5e-11".into()], &["42".into(), "a\"b".into()]);
        person.add_devices(vec!["7f9c2c5e-11".into(), String::new(), "d2".into()]);
        person
    }

    #[test]
    fn a_long_id_is_looked_for_everywhere_and_a_short_one_as_a_whole_value_of_its_application() {
        let searches = person().searches();
        let found: Vec<_> = searches.iter().map(|one| (one.everywhere, one.ids.join(" "))).collect();
        assert_eq!(found, [(true, "7f9c2c5e-11".to_owned()), (false, "d2 42 a\"b".to_owned())]);
        assert_eq!(searches[0].traces, ["7f9c2c5e-11"]);
        let expected = ["\"d2\"", "\"42\"", ":42,", ":42}", ":42 ", ": 42,", ": 42}", ": 42 ", "\"a\\\"b\""];
        assert_eq!(searches[1].traces, expected);
    }

    #[test]
    fn an_id_is_also_found_as_escapes() {
        assert_eq!(traces("\u{fc}"), ["\"\u{fc}\"", "\"\\u00fc\"", "\"\\u00FC\""]);
        assert_eq!(
            traces("user-\u{1f600}"),
            ["user-\u{1f600}", "user-\\ud83d\\ude00", "user-\\uD83D\\uDE00"]
        );
    }

    #[test]
    fn no_search_has_more_texts_than_the_server_accepts() {
        let ids: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let searches = Person::new("web", &ids, &[]).searches();
        assert_eq!(searches.iter().map(|one| one.ids.len()).sum::<usize>(), 1_000);
        assert!(searches.iter().all(|one| one.traces.len() <= 255));
    }

    #[test]
    fn each_device_has_its_key_and_the_partition_of_its_events() {
        let identity = IdentityKey::new("secret");
        let keys = person().keys(&identity);
        assert_eq!((keys.devices.len(), keys.users.len()), (2, 2));
        assert_eq!(keys.devices[0], identity.hash("web", "7f9c2c5e-11") as u64);
        assert_eq!(person().partition_keys(), ["web:7f9c2c5e-11", "web:d2"]);
    }
}
