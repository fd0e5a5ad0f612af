//! Records that are sent again, byte for byte: soon, as after a lost acknowledgement, or minutes later, as after a
//! crash of the client.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::certain_time_source;
use crate::dice::Dice;
use crate::record::RawRecord;
use crate::truth_tally::{Element, ExpectedEvent};

/// Largest delay of a copy: well within the de-duplication window.
const LATEST_MS: i64 = 25 * 60_000;
/// Largest delay of a copy without a key. It may go to another partition, so its `time_source` must equal that of
/// the first.
const LATEST_WITHOUT_KEY_MS: i64 = 20_000;
/// Most copies that wait, so that memory stays bounded.
const MOST: usize = 50_000;

#[derive(Default)]
pub(crate) struct Resends {
    waiting: BinaryHeap<Reverse<(u64, u64)>>,
    copies: hashbrown::HashMap<u64, WaitingCopy, foldhash::fast::FixedState>,
    number: u64,
}

struct WaitingCopy {
    record: RawRecord,
    elements: Vec<Element>,
    first_ms: i64,
}

impl Resends {
    /// Keeps a copy of the record that was just sent. It is sent again some records later.
    pub(crate) fn plan(
        &mut self,
        dice: &mut Dice,
        records: u64,
        record: &RawRecord,
        elements: &[Element],
        now_ms: i64,
    ) {
        if self.waiting.len() >= MOST {
            return;
        }
        let gap = if dice.chance(0.6) { dice.spread(1, 100) } else { dice.spread(100, 50_000) };
        self.number += 1;
        self.waiting.push(Reverse((records + gap as u64, self.number)));
        let copy = WaitingCopy { record: record.clone(), elements: elements.to_vec(), first_ms: now_ms };
        self.copies.insert(self.number, copy);
    }

    /// Writes the next copy that is due; false if none is. A copy whose `time_source` depends on when the broker
    /// receives it is postponed, or dropped if it is too old.
    pub(crate) fn due(
        &mut self,
        records: u64,
        now_ms: i64,
        out: &mut RawRecord,
        elements: &mut Vec<Element>,
    ) -> bool {
        while let Some(&Reverse((at, number))) = self.waiting.peek() {
            if at > records {
                return false;
            }
            self.waiting.pop();
            let Some(copy) = self.copies.remove(&number) else { continue };
            let age = now_ms - copy.first_ms;
            let latest = if copy.record.key.is_empty() { LATEST_WITHOUT_KEY_MS } else { LATEST_MS };
            if age > latest {
                continue;
            }
            if !copy.elements.iter().all(|element| certain(element, now_ms)) {
                self.waiting.push(Reverse((records + 10_000, number)));
                self.copies.insert(number, copy);
                continue;
            }
            out.key.extend_from_slice(&copy.record.key);
            out.value.extend_from_slice(&copy.record.value);
            *elements = copy.elements;
            return true;
        }
        false
    }
}

fn certain(element: &Element, now_ms: i64) -> bool {
    match element {
        Element::Bad { .. } => true,
        Element::Valid(ExpectedEvent { original, sent_at, .. })
        | Element::Again(ExpectedEvent { original, sent_at, .. }) => {
            certain_time_source(*original, *sent_at, now_ms).is_some()
        }
    }
}
