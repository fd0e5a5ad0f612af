//! Who is erased, and the conditions that find the rows of this person. Pure.
use std::collections::BTreeSet;

use event::IdentityKey;

/// A shorter ID is looked for with its quotes in a payload, because it can be a part of other values.
const PLAIN_BYTES: usize = 8;

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

    /// The texts that show in a payload that it is of this person.
    pub(super) fn traces(&self) -> Vec<String> {
        let ids = self.devices.iter().chain(&self.users);
        ids.map(|id| {
            let quoted = serde_json::Value::from(id.as_str()).to_string();
            if id.len() >= PLAIN_BYTES { quoted.trim_matches('"').to_owned() } else { quoted }
        })
        .collect()
    }

    /// All IDs.
    pub(super) fn ids(&self) -> Vec<String> {
        self.devices.iter().chain(&self.users).cloned().collect()
    }
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
    fn a_short_id_is_found_with_its_quotes_only() {
        assert_eq!(person().traces(), ["7f9c2c5e-11", "\"d2\"", "\"42\"", "\"a\\\"b\""]);
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
