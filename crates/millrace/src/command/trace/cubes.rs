//! Which cells of which cubes one event counts in: it is folded by aggregate's own code, alone, and the rows that come
//! out are read back. So this can never say anything else than what is written.
use std::{collections::BTreeMap, sync::Arc};

use aggregate::{
    Cubes,
    block::{Block, Column, Mark},
    cube::{CubeLane, Pane},
    fold::{Accumulator, CompiledLane},
};
use event::Batch;
use jiff::{Timestamp, tz::TimeZone};
use runtime::config::Settings;
use serde::Serialize;

use crate::error::Error;

/// What an event adds to one group of a cube.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Touched {
    pub(crate) cube: String,
    /// The start of the bucket in each pane.
    pub(crate) buckets: BTreeMap<String, String>,
    pub(crate) dimensions: BTreeMap<String, String>,
    /// What is added; of a distinct count, how many IDs are seen.
    pub(crate) measures: BTreeMap<String, i64>,
}

impl Touched {
    /// The buckets for people, the smallest pane first.
    pub(crate) fn panes(&self) -> String {
        let known = Pane::ALL.iter().filter_map(|pane| self.buckets.get_key_value(pane.as_str()));
        let panes = known.map(|(pane, bucket)| format!("{pane} from {bucket}"));
        panes.collect::<Vec<_>>().join(", ")
    }
}

/// What the event counts in, by cube and group. Pure: nothing but the settings, the cubes and the event decide.
///
/// # Errors
/// `business_timezone` names no time zone.
pub(crate) fn touched(settings: &Settings, cubes: &Cubes, event: &Batch) -> Result<Vec<Touched>, Error> {
    let zone = TimeZone::get(&settings.business_timezone).map_err(|error| {
        Error::Failed(format!("business_timezone {}: {error}", settings.business_timezone))
    })?;
    let mut groups = Groups::default();
    for &lane in CubeLane::ALL {
        let compiled = CompiledLane::new(cubes, lane, u16::MAX, zone.clone());
        let mut accumulator = Accumulator::new(Arc::new(compiled), usize::MAX);
        accumulator.add(0, event);
        let (blocks, _) = accumulator.flush(0, Mark::new("trace", 0));
        blocks.iter().for_each(|block| groups.read(block));
    }
    Ok(groups.touched())
}

/// What tells the groups of all cubes apart, and what each was given in which bucket.
#[derive(Default)]
struct Groups(BTreeMap<(String, Texts), (Texts, BTreeMap<String, i64>)>);

type Texts = BTreeMap<String, String>;

impl Groups {
    fn read(&mut self, block: &Block) {
        for row in 0..block.data_rows() {
            let (mut cube, mut pane, mut bucket) = (String::new(), String::new(), String::new());
            let (mut dimensions, mut measures) = (Texts::new(), BTreeMap::new());
            for (name, column) in block.columns() {
                match (name, column) {
                    ("src" | "src_end" | "keep_days" | "received_max", _) => (),
                    (_, Column::Number(_)) if name.starts_with("ledger_") => (),
                    ("cube", Column::Text { text, ends }) => cube = span(text, ends, row),
                    ("pane", Column::Text { text, ends }) => pane = span(text, ends, row),
                    (_, Column::Text { text, ends }) => {
                        dimensions.insert(name.to_owned(), span(text, ends, row));
                    }
                    (_, Column::Seconds(seconds)) => bucket = rfc3339(seconds.get(row).copied()),
                    (_, Column::Number(values)) => {
                        measures.insert(name.to_owned(), values.get(row).copied().unwrap_or(0));
                    }
                    (_, Column::Ids { ends, .. }) => {
                        let name = name.trim_end_matches("_ids").to_owned();
                        let ids = ends.get(row).unwrap_or(&0) - row.checked_sub(1).map_or(0, |row| ends[row]);
                        measures.insert(name, ids as i64);
                    }
                    _ => (),
                }
            }
            // A column of the table that the cube does not have is empty, like a value that the event does not have.
            dimensions.retain(|_, value| !value.is_empty());
            measures.retain(|_, value| *value != 0);
            let (buckets, sums) = self.0.entry((cube, dimensions)).or_default();
            buckets.insert(pane, bucket);
            // Each pane counts the same.
            *sums = measures;
        }
    }

    fn touched(self) -> Vec<Touched> {
        let of_group =
            |((cube, dimensions), (buckets, measures))| Touched { cube, buckets, dimensions, measures };
        self.0.into_iter().map(of_group).collect()
    }
}

fn span(text: &str, ends: &[usize], row: usize) -> String {
    let start = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(row).copied().unwrap_or(start);
    text.get(start..end).unwrap_or_default().to_owned()
}

fn rfc3339(seconds: Option<u32>) -> String {
    let time = Timestamp::from_second(seconds.unwrap_or(0).into());
    time.map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use aggregate::cube::BUILT_IN;
    use event::{BatchBuilder, Field};

    use super::*;

    fn touched_by(kind: &str) -> Vec<Touched> {
        let mut builder = BatchBuilder::default();
        for (field, text) in [
            (Field::AppId, "web-main"),
            (Field::EventName, "share"),
            (Field::Platform, "web"),
            (Field::Kind, kind),
            (Field::ActivityId, "spring"),
            (Field::ActivityStatus, "ok"),
        ] {
            builder.text(field, text);
        }
        builder.number(Field::EventTime, 1_772_452_805_000); // 2026-03-02T12:00:05Z
        builder.number(Field::ReceivedAt, 1_772_452_806_000);
        builder.key(Field::DeviceKey, 7);
        builder.end_row();
        let batch = Batch::decode(&builder.finish()).unwrap();
        let settings = runtime::config::load_from(None, []).unwrap();
        touched(&settings, &Cubes::parse(BUILT_IN).unwrap(), &batch).unwrap()
    }

    #[test]
    fn an_event_counts_in_the_cubes_that_let_it_in_with_the_starts_of_its_buckets() {
        let touched = touched_by("event");
        let of = |cube: &str| touched.iter().find(|touched| touched.cube == cube);
        let traffic = of("traffic").unwrap();
        assert_eq!(traffic.buckets["10s"], "2026-03-02T12:00:00Z");
        assert_eq!(traffic.dimensions["event_name"], "share");
        assert_eq!((traffic.measures["events"], traffic.measures["devices"]), (1, 1));
        assert!(of("activity").is_some() && of("quality").is_some());
        assert!(of("playback").is_none() && of("revenue").is_none());
    }

    #[test]
    fn a_test_event_counts_in_quality_alone() {
        let cubes: Vec<String> = touched_by("test").into_iter().map(|touched| touched.cube).collect();
        assert_eq!(cubes, ["quality"]);
    }
}
