//! One flush on its way into the table: which step comes next, given the replies so far.
//!
//! A flush is cut into blocks, and ClickHouse stores the rows of a block in one part per table partition, each with
//! its marker row. So "what is in the table" is a set of (block, table partition).
use std::collections::BTreeSet;

use event::NextOffset;

use super::{Halt, Intent, Rules};

/// The table partitions that each block of a flush writes to, each named by its first second (epoch seconds).
pub type BlockPartitions = Vec<BTreeSet<u32>>;

/// The marker rows of a flush that are in the table: block and table partition.
pub type FoundMarkers = BTreeSet<(usize, u32)>;

/// The next step of a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Commit offset b with the text of [`Flush::announce`]; then call [`Flush::announced`].
    Announce,
    /// Wait until this time, epoch milliseconds: an insert of the rows that an earlier program built may still be
    /// running.
    WaitUntil(i64),
    /// Read the markers of all blocks; then call [`Flush::markers_read`].
    ReadMarkers {
        /// This is the second read, after a pause: the first one missed rows for which the server had said OK.
        again: bool,
    },
    /// Insert the [missing](Flush::missing) table partitions of a block; then call [`Flush::inserted`] or
    /// [`Flush::insert_failed`].
    Insert {
        /// Its number.
        block: usize,
        /// 0, or the number behind `#` in the token.
        repeat: u32,
    },
    /// All rows are in the table: offset c may be committed.
    Done,
    /// The flush needs an operator.
    Halt(Halt),
}

/// The steps of one flush. A partition has at most one flush in progress.
#[derive(Debug, Clone)]
pub struct Flush {
    begin: NextOffset,
    intent: Intent,
    /// Kafka holds the intent as it stands here.
    is_announced: bool,
    blocks: Vec<BlockState>,
    /// How an earlier process cut the same records, when this program builds other rows.
    earlier: Option<EarlierShape>,
    halt: Option<Halt>,
    found: usize,
    repeats: u32,
}

#[derive(Debug, Clone)]
struct EarlierShape {
    blocks: usize,
    markers: usize,
    last_insert_ms: i64,
}

#[derive(Debug, Clone)]
struct BlockState {
    missing: BTreeSet<u32>,
    repeat: u32,
    /// An insert of this block, by this process or an earlier one, may have been executed.
    in_doubt: bool,
    need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Insert,
    Markers,
    /// The server said OK, which it also says for a token it remembers.
    MarkersAfterOk,
    /// The same, and the first read did not find them.
    MarkersAgain,
    Nothing,
}

impl Flush {
    /// A flush of [begin, intent.end) that is not announced yet.
    pub fn new(begin: NextOffset, intent: Intent, partitions: BlockPartitions) -> Self {
        let block = |missing| BlockState { missing, repeat: 0, in_doubt: false, need: Need::Insert };
        Self {
            begin,
            intent,
            is_announced: false,
            blocks: partitions.into_iter().map(block).collect(),
            earlier: None,
            halt: None,
            found: 0,
            repeats: 0,
        }
    }

    /// A flush that an earlier process announced as `old`, built again from the same records with this `hash`.
    pub fn recovered(
        begin: NextOffset,
        old: &Intent,
        hash: u128,
        partitions: BlockPartitions,
        now_ms: i64,
        rules: &Rules,
    ) -> Self {
        let markers = partitions.iter().map(BTreeSet::len).sum();
        let intent = Intent { hash, blocks: partitions.len(), markers, ..old.clone() };
        let mut flush = Self::new(begin, intent, partitions);
        flush.is_announced = hash == old.hash;
        for block in &mut flush.blocks {
            block.in_doubt = true;
            block.need = if rules.reads_markers { Need::Markers } else { Need::Insert };
        }
        if hash != old.hash {
            flush.earlier = Some(EarlierShape {
                blocks: old.blocks,
                markers: old.markers,
                // The earlier process's clock may have run ahead.
                last_insert_ms: old.committed_ms.min(now_ms).saturating_add(rules.longest_insert_ms),
            });
            if old.epoch != rules.epoch {
                let (begin, end) = (begin.0, old.end.0);
                flush.halt = Some(Halt::OtherEpoch { epoch: old.epoch, begin, end });
            }
        }
        flush
    }

    /// The next step at this time, epoch milliseconds.
    pub fn next(&self, now_ms: i64, rules: &Rules) -> Step {
        if let Some(halt) = &self.halt {
            return Step::Halt(halt.clone());
        }
        if let Some(earlier) = &self.earlier {
            let until = earlier.last_insert_ms;
            return if now_ms < until { Step::WaitUntil(until) } else { Step::ReadMarkers { again: false } };
        }
        let unfinished = self.blocks.iter().enumerate().find(|(_, block)| block.need != Need::Nothing);
        let Some((number, block)) = unfinished else { return Step::Done };
        match block.need {
            Need::Markers | Need::MarkersAfterOk => Step::ReadMarkers { again: false },
            Need::MarkersAgain => Step::ReadMarkers { again: true },
            Need::Insert | Need::Nothing if self.may_insert(now_ms, rules) => {
                Step::Insert { block: number, repeat: block.repeat }
            }
            Need::Insert | Need::Nothing => Step::Announce,
        }
    }

    fn may_insert(&self, now_ms: i64, rules: &Rules) -> bool {
        !rules.commits_intents || (self.is_announced && now_ms < self.insert_before_ms(rules))
    }

    /// No insert may start at this time or later, epoch milliseconds: the intent no longer proves ownership.
    pub fn insert_before_ms(&self, rules: &Rules) -> i64 {
        if rules.commits_intents {
            self.intent.committed_ms.saturating_add(rules.intent_valid_ms)
        } else {
            i64::MAX
        }
    }

    /// The intent to commit as metadata of offset [`begin`](Self::begin) at this time.
    pub fn announce(&mut self, now_ms: i64) -> String {
        self.intent.committed_ms = now_ms;
        self.is_announced = false;
        self.intent.encode()
    }

    /// The group accepted the intent: this process owned the partition when it sent the commit.
    pub fn announced(&mut self) {
        self.is_announced = true;
    }

    /// The server said OK to the insert of a block.
    pub fn inserted(&mut self, block: usize, rules: &Rules) {
        if let Some(block) = self.blocks.get_mut(block) {
            let trusts_ok = !block.in_doubt || rules.atomic_tokens || !rules.reads_markers;
            block.need = if trusts_ok { Need::Nothing } else { Need::MarkersAfterOk };
        }
    }

    /// The server returned an error or no reply: the rows of a block may be in the table wholly, partly or not at all.
    pub fn insert_failed(&mut self, block: usize, rules: &Rules) {
        if let Some(block) = self.blocks.get_mut(block) {
            block.in_doubt = true;
            block.need = if rules.reads_markers { Need::Markers } else { Need::Insert };
        }
    }

    /// Takes the markers that are in the table with `src_end` at c or above.
    pub fn markers_read(&mut self, found: &FoundMarkers) {
        if let Some(earlier) = self.earlier.take() {
            let (begin, end) = (self.begin.0, self.intent.end.0);
            if found.len() >= earlier.markers && earlier.markers > 0 {
                // The earlier program wrote all of it; none of our rows may be added.
                self.found = found.len();
                self.blocks.iter_mut().for_each(|block| block.need = Need::Nothing);
                return;
            }
            if !found.is_empty() && (earlier.blocks > 1 || self.blocks.len() > 1) {
                self.halt = Some(Halt::HalfWritten { begin, end });
                return;
            }
        }
        for (number, block) in self.blocks.iter_mut().enumerate() {
            if block.need == Need::Nothing || !block.in_doubt {
                continue;
            }
            let before = block.missing.len();
            block.missing.retain(|&partition| !found.contains(&(number, partition)));
            self.found += before - block.missing.len();
            block.need = match block.need {
                _ if block.missing.is_empty() => Need::Nothing,
                Need::MarkersAfterOk => Need::MarkersAgain,
                Need::MarkersAgain => {
                    // The server remembers the token without the rows: only another token brings them in.
                    block.repeat += 1;
                    self.repeats += 1;
                    Need::Insert
                }
                Need::Insert | Need::Markers | Need::Nothing => Need::Insert,
            };
        }
    }

    /// b: the offset of the first record.
    pub fn begin(&self) -> NextOffset {
        self.begin
    }

    /// c: the offset after the last record.
    pub fn end(&self) -> NextOffset {
        self.intent.end
    }

    /// Epoch of its tokens and markers.
    pub fn epoch(&self) -> u32 {
        self.intent.epoch
    }

    /// Number of blocks whose markers are to be read.
    pub fn marked_blocks(&self) -> usize {
        self.earlier.as_ref().map_or(0, |earlier| earlier.blocks).max(self.blocks.len())
    }

    /// The table partitions of a block that are not known to be in the table.
    pub fn missing(&self, block: usize) -> Option<&BTreeSet<u32>> {
        self.blocks.get(block).map(|block| &block.missing)
    }

    /// Marker rows that are not known to be in the table.
    pub fn missing_markers(&self) -> usize {
        self.blocks.iter().filter(|block| block.need != Need::Nothing).map(|block| block.missing.len()).sum()
    }

    /// Marker rows that were found in the table.
    pub fn found_markers(&self) -> usize {
        self.found
    }

    /// Inserts under another token, because the server remembered the first one without its rows.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// Until when an insert of an earlier program's rows may be running, epoch milliseconds; nothing when this program
    /// builds the same rows.
    pub fn waits_for_earlier_insert_until(&self) -> Option<i64> {
        self.earlier.as_ref().map(|earlier| earlier.last_insert_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        epoch: 1,
        intent_valid_ms: 20_000,
        longest_insert_ms: 600_000,
        atomic_tokens: false,
        reads_markers: true,
        commits_intents: true,
    };
    const NOW: i64 = 2_000_000_000_000;

    fn intent() -> Intent {
        Intent {
            end: NextOffset(9),
            committed_ms: NOW,
            epoch: 1,
            hash: 7,
            blocks: 1,
            markers: 2,
            ledger_partition: 0,
        }
    }

    fn partitions(of_blocks: &[&[u32]]) -> BlockPartitions {
        of_blocks.iter().map(|block| block.iter().copied().collect()).collect()
    }

    fn next(flush: &Flush) -> Step {
        flush.next(NOW, &RULES)
    }

    const INSERT: Step = Step::Insert { block: 0, repeat: 0 };
    const READ: Step = Step::ReadMarkers { again: false };

    #[test]
    fn on_the_good_path_no_marker_is_read() {
        let mut flush = Flush::new(NextOffset(1), intent(), partitions(&[&[0, 7], &[7]]));
        assert_eq!(next(&flush), Step::Announce);
        flush.announce(NOW);
        assert_eq!(next(&flush), Step::Announce, "not before the group accepted it");
        flush.announced();
        assert_eq!(next(&flush), INSERT);
        flush.inserted(0, &RULES);
        assert_eq!(next(&flush), Step::Insert { block: 1, repeat: 0 });
        flush.inserted(1, &RULES);
        assert_eq!(next(&flush), Step::Done);
    }

    #[test]
    fn no_insert_starts_on_an_expired_intent() {
        let mut flush = Flush::new(NextOffset(1), intent(), partitions(&[&[0]]));
        flush.announce(NOW);
        flush.announced();
        assert_eq!(flush.next(NOW + 19_999, &RULES), INSERT);
        assert_eq!(flush.next(NOW + 20_000, &RULES), Step::Announce);
        flush.announce(NOW + 20_000);
        flush.announced();
        assert_eq!(flush.next(NOW + 20_001, &RULES), INSERT);
    }

    #[test]
    fn after_a_lost_reply_only_missing_table_partitions_are_inserted_again() {
        let mut flush = Flush::new(NextOffset(1), intent(), partitions(&[&[0, 7]]));
        flush.announce(NOW);
        flush.announced();
        flush.insert_failed(0, &RULES);
        assert_eq!(next(&flush), READ);
        flush.markers_read(&FoundMarkers::from([(0, 7)]));
        assert_eq!((next(&flush), flush.missing(0)), (INSERT, Some(&BTreeSet::from([0]))));
        flush.inserted(0, &RULES);
        assert_eq!(next(&flush), READ, "the OK may be for a remembered token");
        flush.markers_read(&FoundMarkers::from([(0, 0), (0, 7)]));
        assert_eq!(next(&flush), Step::Done);
    }

    #[test]
    fn a_token_that_is_remembered_without_its_rows_is_replaced() {
        let mut flush = Flush::new(NextOffset(1), intent(), partitions(&[&[0]]));
        flush.announce(NOW);
        flush.announced();
        flush.insert_failed(0, &RULES);
        flush.markers_read(&FoundMarkers::new());
        flush.inserted(0, &RULES);
        flush.markers_read(&FoundMarkers::new());
        assert_eq!(next(&flush), Step::ReadMarkers { again: true });
        flush.markers_read(&FoundMarkers::new());
        assert_eq!(next(&flush), Step::Insert { block: 0, repeat: 1 });

        flush.inserted(0, &RULES);
        flush.markers_read(&FoundMarkers::from([(0, 0)]));
        assert_eq!((next(&flush), flush.repeats()), (Step::Done, 1));
    }

    #[test]
    fn a_recovered_flush_reads_markers_first_and_renews_its_intent_before_it_inserts() {
        let begin = NextOffset(1);
        let old = Intent { committed_ms: NOW - 60_000, ..intent() };
        let mut flush = Flush::recovered(begin, &old, 7, partitions(&[&[0, 7]]), NOW, &RULES);
        assert_eq!(next(&flush), READ);
        let mut complete = flush.clone();
        complete.markers_read(&FoundMarkers::from([(0, 0), (0, 7)]));
        assert_eq!((next(&complete), complete.found_markers()), (Step::Done, 2));
        flush.markers_read(&FoundMarkers::from([(0, 0)]));
        assert_eq!(next(&flush), Step::Announce);
        flush.announce(NOW);
        flush.announced();
        assert_eq!((next(&flush), flush.missing_markers()), (INSERT, 1));
    }

    #[test]
    fn a_recovered_flush_with_other_rows_waits_and_then_lets_the_markers_decide() {
        let begin = NextOffset(1);
        let recovered = |old: &Intent, blocks: &[&[u32]]| {
            let flush = Flush::recovered(begin, old, 8, partitions(blocks), NOW, &RULES);
            assert_eq!(next(&flush), Step::WaitUntil(NOW + 600_000));
            assert_eq!(flush.next(NOW + 600_000, &RULES), READ);
            flush
        };
        let then = |mut flush: Flush, found: &[(usize, u32)]| {
            flush.markers_read(&found.iter().copied().collect());
            (next(&flush), flush.missing_markers())
        };
        let large = Intent { blocks: 2, markers: 3, ..intent() };
        // All of it is in the table: the new blocks add nothing.
        assert_eq!(then(recovered(&intent(), &[&[0, 14]]), &[(0, 0), (0, 7)]), (Step::Done, 0));
        assert_eq!(then(recovered(&large, &[&[0]]), &[(0, 0), (0, 7), (1, 7)]), (Step::Done, 0));
        // Some of it is: the rest is inserted, after a new intent.
        assert_eq!(then(recovered(&intent(), &[&[0, 7]]), &[(0, 7)]), (Step::Announce, 1));
        assert_eq!(then(recovered(&intent(), &[&[0, 7]]), &[]), (Step::Announce, 2));
        // Rows of several blocks cannot be told apart by table partition.
        let halted = Step::Halt(Halt::HalfWritten { begin: 1, end: 9 });
        assert_eq!(then(recovered(&large, &[&[0, 7]]), &[(0, 0)]).0, halted);
        assert_eq!(then(recovered(&intent(), &[&[0], &[0, 7]]), &[(0, 0)]).0, halted);
        assert_eq!(then(recovered(&large, &[&[0, 7], &[7]]), &[]), (Step::Announce, 3));
    }

    #[test]
    fn an_unfinished_flush_of_another_epoch_is_finished_under_that_epoch_if_its_rows_are_the_same() {
        let old = Intent { epoch: 5, ..intent() };
        let same = Flush::recovered(NextOffset(1), &old, 7, partitions(&[&[0]]), NOW, &RULES);
        assert_eq!((next(&same), same.epoch()), (READ, 5));
        let other = Flush::recovered(NextOffset(1), &old, 8, partitions(&[&[0]]), NOW, &RULES);
        assert_eq!(next(&other), Step::Halt(Halt::OtherEpoch { epoch: 5, begin: 1, end: 9 }));
    }

    #[test]
    fn the_ok_of_a_replicated_table_is_proof() {
        let rules = Rules { atomic_tokens: true, ..RULES };
        let mut flush = Flush::new(NextOffset(1), intent(), partitions(&[&[0]]));
        flush.insert_failed(0, &rules);
        flush.markers_read(&FoundMarkers::new());
        flush.inserted(0, &rules);
        assert_eq!(next(&flush), Step::Done);
    }
}
