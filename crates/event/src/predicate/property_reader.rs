//! Reads values inside an event's `properties`, which is stored as JSON text. Only the requested paths are read,
//! all in one pass.
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, collections::BTreeMap, fmt};

use super::{property_path::PropertyPath, property_value::PropertyValue};

/// Reads the values at several paths in one pass. Each path has a slot, in the order in which paths were added.
#[derive(Debug, Clone, Default)]
pub struct PropertyReader {
    paths: Vec<PropertyPath>,
    root: Node,
}

#[derive(Debug, Clone, Default)]
struct Node {
    slot: Option<usize>,
    children: BTreeMap<Box<str>, Node>,
}

impl PropertyReader {
    /// The slot of a path. A new path gets a new slot.
    pub fn add(&mut self, path: &PropertyPath) -> usize {
        let mut node = &mut self.root;
        for key in path.keys() {
            node = node.children.entry(Box::from(key)).or_default();
        }
        *node.slot.get_or_insert_with(|| {
            self.paths.push(path.clone());
            self.paths.len() - 1
        })
    }

    /// The slot of a path. None if it was not added.
    pub fn slot(&self, path: &PropertyPath) -> Option<usize> {
        let mut node = &self.root;
        for key in path.keys() {
            node = node.children.get(key)?;
        }
        node.slot
    }

    /// Number of paths.
    pub fn slots(&self) -> usize {
        self.paths.len()
    }

    /// Puts the value of each path into its slot. The other paths do not affect a value. If a key occurs twice, the
    /// last one counts. Text that is not JSON has no values.
    pub fn read<'a>(&self, json: &'a str, values: &mut Vec<PropertyValue<'a>>) {
        values.clear();
        values.resize(self.slots(), PropertyValue::Absent);
        if json.is_empty() || self.paths.is_empty() {
            return;
        }
        if self.try_read(json, values).is_err() {
            // A value that serde_json rejects, such as 1e999, is absent only for its own path.
            for (path, value) in self.paths.iter().zip(values) {
                *value = value_at(path, json);
            }
        }
    }

    fn try_read<'a>(&self, json: &'a str, values: &mut [PropertyValue<'a>]) -> Result<(), serde_json::Error> {
        serde_json::Deserializer::from_str(json).deserialize_any(Seed { node: &self.root, values })
    }
}

/// Reads the value at one path; a [`PropertyReader`] reads those at several paths in one pass.
pub(super) fn value_at<'a>(path: &PropertyPath, json: &'a str) -> PropertyValue<'a> {
    let mut values = [PropertyValue::Absent];
    let mut reader = PropertyReader::default();
    reader.add(path);
    if reader.try_read(json, &mut values).is_err() {
        return PropertyValue::Absent;
    }
    let [value] = values;
    value
}

impl Node {
    fn clear(&self, values: &mut [PropertyValue<'_>]) {
        if let Some(slot) = self.slot {
            values[slot] = PropertyValue::Absent;
        }
        self.children.values().for_each(|child| child.clear(values));
    }
}

struct Seed<'n, 'v, 'a> {
    node: &'n Node,
    values: &'v mut [PropertyValue<'a>],
}

impl<'a> Seed<'_, '_, 'a> {
    fn keep<E>(self, value: PropertyValue<'a>) -> Result<(), E> {
        if let Some(slot) = self.node.slot {
            self.values[slot] = value;
        }
        Ok(())
    }
}

impl<'a> serde::de::DeserializeSeed<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.keep(PropertyValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.keep(PropertyValue::Whole(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.keep(i64::try_from(value).map_or(PropertyValue::Decimal(value as f64), PropertyValue::Whole))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Above 2^53 an f64 does not represent every whole number.
        let is_whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        self.keep(if is_whole { PropertyValue::Whole(value as i64) } else { PropertyValue::Decimal(value) })
    }

    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<(), E> {
        self.keep(PropertyValue::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.keep(PropertyValue::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'a>>()? {
            match self.node.children.get(&*key.0) {
                Some(child) => {
                    child.clear(self.values);
                    map.next_value_seed(Seed { node: child, values: self.values })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Key<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'a> Visitor<'a> for KeyVisitor {
            type Value = Key<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'a str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: &[&str], json: &str) -> Vec<(String, Option<i64>)> {
        let paths: Vec<_> = paths.iter().map(|path| PropertyPath::parse(path).unwrap().unwrap()).collect();
        let (mut reader, mut values) = (PropertyReader::default(), Vec::new());
        for (place, path) in paths.iter().enumerate() {
            assert_eq!((reader.slot(path), reader.add(path), reader.add(path)), (None, place, place));
        }
        reader.read(json, &mut values);
        values.iter().map(|value| (value.text().into_owned(), value.number())).collect()
    }

    #[test]
    fn a_value_is_found_by_its_path_as_text_and_as_number() {
        for (path, json, text, number) in [
            ("a", r#"{"a":"x"}"#, "x", None),
            ("a", r#"{"a":"12"}"#, "12", None),
            ("a", r#"{"a":12}"#, "12", Some(12)),
            ("a", r#"{"a":-12}"#, "-12", Some(-12)),
            ("a", r#"{"a":1.0}"#, "1", Some(1)),
            ("a", r#"{"a":2.5}"#, "2.5", Some(3)),
            ("a", r#"{"a":2.4}"#, "2.4", Some(2)),
            ("a", r#"{"a":1e300}"#, "1e+300", Some(i64::MAX)),
            ("a", r#"{"a":true}"#, "true", Some(1)),
            ("a", r#"{"a":false}"#, "false", Some(0)),
            ("a", r#"{"a":null}"#, "", None),
            ("a", r#"{"a":["x"]}"#, "", None),
            ("a", r#"{"a":{"b":"x"}}"#, "", None),
            ("a", r#"{"b":"x"}"#, "", None),
            ("a.b", r#"{"c":{"b":"no"},"a":{"c":[1,{"b":2}],"b":"x"}}"#, "x", None),
            ("a.b.c", r#"{"a":{"b":{"c":7}}}"#, "7", Some(7)),
            ("a.b", r#"{"a":"x"}"#, "", None),
            ("a", r#"{"\u0061":"\u4e2d\"x"}"#, "中\"x", None),
            ("a", r#"{"a":1,"a":2}"#, "2", Some(2)),
            ("a.b", r#"{"a":{"b":1},"a":{"c":2}}"#, "", None),
            ("a", "", "", None),
            ("a", "{", "", None),
        ] {
            let found = read(&[&format!("properties.{path}")], json);
            assert_eq!(found, [(text.to_owned(), number)], "{path} of {json}");
        }
    }

    #[test]
    fn all_paths_are_read_in_one_pass() {
        let found = read(&["properties.b", "properties.a.x", "properties.a"], r#"{"a":{"x":1},"b":"y"}"#);
        assert_eq!(found, [("y".to_owned(), None), ("1".to_owned(), Some(1)), (String::new(), None)]);
    }

    #[test]
    fn an_unreadable_value_does_not_affect_other_paths() {
        let paths = ["properties.a", "properties.b", "properties.c.d"];
        for (json, expected) in [
            (r#"{"a":1e999,"b":"x","c":{"d":2}}"#, ["", "x", "2"]),
            (r#"{"b":"x","c":{"d":-1e999}}"#, ["", "x", ""]),
            (r#"{"a":1,"e":1e999}"#, ["1", "", ""]),
            (r#"{"a":1,"b":"x""#, ["", "", ""]),
        ] {
            let found = read(&paths, json);
            assert_eq!(found.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), expected, "{json}");
        }
    }

    #[test]
    fn only_names_below_properties_are_paths() {
        assert!(PropertyPath::parse("platform").is_none());
        assert!(PropertyPath::parse("properties").is_none());
        assert!(PropertyPath::parse("properties.").unwrap().is_err());
        assert!(PropertyPath::parse("properties.a..b").unwrap().is_err());
        assert_eq!(PropertyPath::parse("properties.a.b").unwrap().unwrap().to_string(), "properties.a.b");
    }
}
