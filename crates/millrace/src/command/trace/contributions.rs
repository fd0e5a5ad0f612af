//! The cubes that one event counts in. The event alone is folded by the code of aggregate, and the resulting rows are read
//! back, so the result is what aggregate writes.
use std::{collections::BTreeMap, sync::Arc};

use aggregate::{
    Cubes,
    block::{Block, Column, Mark},
    cube::{CubeLane, Pane},
    fold::{Accumulator, CompiledLane},
};
use event::Batch;
use jiff::Timestamp;
use runtime::config::Settings;
use serde::Serialize;

/// What an event adds to one group of a cube.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CubeContribution {
    pub(crate) cube: String,
    /// The start of its bucket, by pane.
    pub(crate) buckets: BTreeMap<String, String>,
    pub(crate) dimensions: BTreeMap<String, String>,
    /// What it adds; for a distinct count, the number of IDs.
    pub(crate) measures: BTreeMap<String, i64>,
}

impl CubeContribution {
    /// The buckets as text, the smallest pane first.
    pub(crate) fn panes(&self) -> String {
        let known = Pane::ALL.iter().filter_map(|pane| self.buckets.get_key_value(pane.as_str()));
        let panes = known.map(|(pane, bucket)| format!("{pane} from {bucket}"));
        panes.collect::<Vec<_>>().join(", ")
    }
}

/// What the event adds, by cube and group. A pure function of the settings, the cubes and the event.
pub(crate) fn contributions(settings: &Settings, cubes: &Cubes, event: &Batch) -> Vec<CubeContribution> {
    let zone = settings.business_timezone.zone();
    let mut groups = Groups::default();
    for &lane in CubeLane::ALL {
        let compiled = CompiledLane::new(cubes, lane, u16::MAX, zone.clone());
        let mut accumulator = Accumulator::new(Arc::new(compiled), usize::MAX);
        accumulator.add(0, event);
        let (blocks, _) = accumulator.flush(0, Mark::new("trace", 0));
        blocks.iter().for_each(|block| groups.read(block));
    }
    groups.contributions()
}

/// By cube and dimensions: the buckets, and what is added.
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
                    ("cube", Column::Text { text, ends }) => cube = cell(text, ends, row),
                    ("pane", Column::Text { text, ends }) => pane = cell(text, ends, row),
                    (_, Column::Text { text, ends }) => {
                        dimensions.insert(name.to_owned(), cell(text, ends, row));
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
            // Columns of other cubes are empty in this row, like fields that the event does not have.
            dimensions.retain(|_, value| !value.is_empty());
            measures.retain(|_, value| *value != 0);
            let (buckets, sums) = self.0.entry((cube, dimensions)).or_default();
            buckets.insert(pane, bucket);
            // The same in every pane.
            *sums = measures;
        }
    }

    fn contributions(self) -> Vec<CubeContribution> {
        let of_group = |((cube, dimensions), (buckets, measures))| CubeContribution {
            cube,
            buckets,
            dimensions,
            measures,
        };
        self.0.into_iter().map(of_group).collect()
    }
}

fn cell(text: &str, ends: &[usize], row: usize) -> String {
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

    fn contributions_of(kind: &str) -> Vec<CubeContribution> {
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
        contributions(&settings, &Cubes::parse(BUILT_IN).unwrap(), &batch)
    }

    #[test]
    fn an_event_counts_in_the_cubes_whose_where_it_passes() {
        let contributions = contributions_of("event");
        let of = |cube: &str| contributions.iter().find(|contribution| contribution.cube == cube);
        let traffic = of("traffic").unwrap();
        assert_eq!(traffic.buckets["10s"], "2026-03-02T12:00:00Z");
        assert_eq!(traffic.dimensions["event_name"], "share");
        assert_eq!((traffic.measures["events"], traffic.measures["devices"]), (1, 1));
        assert!(of("activity").is_some() && of("quality").is_some());
        assert!(of("playback").is_none() && of("revenue").is_none());
    }

    #[test]
    fn a_test_event_counts_only_in_quality() {
        let cubes: Vec<String> =
            contributions_of("test").into_iter().map(|contribution| contribution.cube).collect();
        assert_eq!(cubes, ["quality"]);
    }
}
