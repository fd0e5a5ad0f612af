//! Exactly once from Kafka to ClickHouse, as decisions: what to do next, given what has been answered so far.
//!
//! A flush writes the records of [b, c) of one partition. Three witnesses make it count once:
//! - the **intent**, committed to Kafka as the text beside offset b before anything is sent: whoever comes after a
//!   kill replays exactly these records;
//! - the **token** of each insert, by which ClickHouse drops a repeated one, also one that is still under way;
//! - the **marker row**, in the same part as the rows: the only proof that they are there. A token may be forgotten,
//!   or remembered by a server that was killed before it kept the rows.
//!
//! Nothing here knows Kafka, ClickHouse, threads or a clock. [`lane`](crate::lane) does what is decided here, and the
//! model in `tests/protocol.rs` does it against servers that are killed at every step.
mod intent;

use std::collections::BTreeSet;

use event::{NextOffset, Start};

pub use intent::Intent;

/// What a process may rely on, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `aggregate.epoch`.
    pub epoch: u32,
    /// How long after its commit an intent proves that the partition is ours, in milliseconds: no longer than the
    /// group waits before it gives a silent member's partitions away. No insert begins later than that.
    pub intent_valid_ms: i64,
    /// How long after its intent an insert may still be running, in milliseconds.
    pub longest_insert_ms: i64,
    /// A remembered token means that the rows are there: so on replicated tables, where both are one write to the
    /// keeper. Such a server is not asked again after its OK: the replica that answers may lag.
    pub atomic_tokens: bool,
    /// Off only to prove that it is needed.
    pub reads_markers: bool,
    /// Off only to prove that it is needed.
    pub commits_intents: bool,
}

/// Why a partition cannot go on without a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The text beside the committed offset is of another program.
    #[error(
        "the text committed beside its offset is not known to this version: `{0}`; run the version that wrote it, or \
         set the group's offset anew and raise aggregate.epoch"
    )]
    UnknownIntent(String),
    /// Retention was faster than we.
    #[error(
        "the group stands at offset {offset}, but the topic now begins at {low}: records were removed before they were \
         counted; set the group's offset on purpose (kafka-consumer-groups --reset-offsets --to-earliest) to go on \
         without them"
    )]
    RecordsGone {
        /// Where the group stands.
        offset: i64,
        /// The first record that is there.
        low: i64,
    },
    /// The topic is shorter than what was read.
    #[error(
        "the group stands at offset {offset}, but the topic ends at {high}: it was made anew; set the group's offset \
         to its beginning and raise aggregate.epoch"
    )]
    BeyondEnd {
        /// Where the group stands, or the end of its unfinished flush.
        offset: i64,
        /// The end of the topic.
        high: i64,
    },
    /// Reading on would count records twice.
    #[error(
        "the group stands at offset {offset}, but the table holds everything up to {marker}: reading on would count \
         records twice; set the group's offset to {marker}, or raise aggregate.epoch to count them again on purpose"
    )]
    BelowMarker {
        /// Where the group stands.
        offset: i64,
        /// Everything below is in the table.
        marker: u64,
    },
    /// An unfinished flush of another epoch cannot be rebuilt.
    #[error(
        "epoch {epoch} left an unfinished flush of offsets {begin} to {end} that this program does not build the same \
         way; set aggregate.epoch back to {epoch} until it is written, or set the group's offset anew"
    )]
    OtherEpoch {
        /// Epoch of the flush.
        epoch: u32,
        /// Where it begins.
        begin: i64,
        /// Where it ends.
        end: i64,
    },
    /// Parts of a large flush are in, and the rest cannot be told from them any more.
    #[error(
        "a flush of offsets {begin} to {end} is half written and this program, or its cubes, builds it differently; \
         run the version and cubes that began it until it is written"
    )]
    HalfWritten {
        /// Where it begins.
        begin: i64,
        /// Where it ends.
        end: i64,
    },
}

/// What Kafka says about a partition that is now ours.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The group's offset, if it ever committed one.
    pub committed: Option<NextOffset>,
    /// The text beside it.
    pub metadata: &'a str,
    /// The first offset that is there.
    pub low: i64,
    /// The offset after the last record.
    pub high: i64,
}

/// How a partition that is now ours goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Read on from here.
    Read(NextOffset),
    /// Read exactly up to the intent's end, and see what of that is in the table.
    Replay(NextOffset, Intent),
}

/// Decides how a partition begins, from Kafka alone; [`check_newest`] adds what ClickHouse knows.
///
/// # Errors
/// It cannot begin without a person.
pub fn begin(found: Found<'_>, start: Start) -> Result<Begin, Halt> {
    let Found { committed, metadata, low, high } = found;
    let Some(next) = committed else {
        return Ok(Begin::Read(NextOffset(if start == Start::Earliest { low } else { high })));
    };
    if next.0 < low {
        return Err(Halt::RecordsGone { offset: next.0, low });
    }
    let intent = Intent::decode(metadata)?;
    let needed = intent.as_ref().map_or(next, |intent| intent.end);
    if needed.0 > high {
        return Err(Halt::BeyondEnd { offset: needed.0, high });
    }
    Ok(match intent {
        Some(intent) if intent.end > next => Begin::Replay(next, intent),
        Some(_) => return Err(Halt::UnknownIntent(metadata.to_owned())),
        None => Begin::Read(next),
    })
}

/// Compares where a partition begins with the newest marker of its records.
///
/// # Errors
/// The table holds rows of records that would be read again.
pub fn check_newest(begin: &Begin, newest: Option<u64>) -> Result<(), Halt> {
    let (next, end) = match begin {
        Begin::Read(next) => (next.0, next.0),
        Begin::Replay(next, intent) => (next.0, intent.end.0),
    };
    // An end between the two is of a flush that began where this intent does and ended elsewhere: the intent is a
    // late commit of somebody who no longer owned the partition.
    let is_known = |marker: u64| i64::try_from(marker).is_ok_and(|marker| marker <= next || marker == end);
    match newest {
        Some(marker) if !is_known(marker) => Err(Halt::BelowMarker { offset: next, marker }),
        _ => Ok(()),
    }
}

/// The marker rows of a flush that are in the table: chunk and ClickHouse partition (its first second).
pub type Landed = BTreeSet<(usize, u32)>;

/// The next thing to do for a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Commit offset b with [`Flush::announce`]; then [`Flush::announced`].
    Announce,
    /// Wait until this time, epoch milliseconds: an insert of the flush's earlier shape may still be running.
    WaitUntil(i64),
    /// Read the markers of all chunks; then [`Flush::landed`].
    ReadMarkers {
        /// Look a second time, after a moment: the last look missed rows that the server said were there.
        again: bool,
    },
    /// Insert what is [missing](Flush::missing) of a chunk; then [`Flush::inserted`] or [`Flush::insert_failed`].
    Insert {
        /// Its number.
        chunk: usize,
        /// 0, or the number behind `#` in the token.
        repeat: u32,
    },
    /// All rows are in: offset c may be committed.
    Done,
    /// It cannot be finished without a person.
    Halt(Halt),
}

/// One flush on its way into the table. One at most is under way per partition.
#[derive(Debug, Clone)]
pub struct Flush {
    begin: NextOffset,
    intent: Intent,
    /// The intent is in Kafka as it is here.
    is_announced: bool,
    chunks: Vec<Chunk>,
    /// The shape in which an earlier process announced it, when ours is another.
    earlier: Option<Shape>,
    halt: Option<Halt>,
    found: usize,
    repeats: u32,
}

#[derive(Debug, Clone)]
struct Shape {
    chunks: usize,
    markers: usize,
    last_insert_ms: i64,
}

#[derive(Debug, Clone)]
struct Chunk {
    missing: BTreeSet<u32>,
    repeat: u32,
    /// Some insert of it, ours or an earlier process's, may have landed or not.
    in_doubt: bool,
    need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Insert,
    Markers,
    /// The server said OK, which it also does for a token it remembers.
    MarkersAfterOk,
    /// As before, and a first look found them missing.
    MarkersAgain,
    Nothing,
}

impl Flush {
    /// A flush of [begin, intent.end), not announced yet. `weeks` are the ClickHouse partitions of each chunk.
    pub fn new(begin: NextOffset, intent: Intent, weeks: Vec<BTreeSet<u32>>) -> Self {
        let chunk = |missing| Chunk { missing, repeat: 0, in_doubt: false, need: Need::Insert };
        Self {
            begin,
            intent,
            is_announced: false,
            chunks: weeks.into_iter().map(chunk).collect(),
            earlier: None,
            halt: None,
            found: 0,
            repeats: 0,
        }
    }

    /// A flush that an earlier process announced as `old`, rebuilt from the same records as `hash` and `weeks`.
    pub fn recovered(
        begin: NextOffset,
        old: &Intent,
        hash: u128,
        weeks: Vec<BTreeSet<u32>>,
        now_ms: i64,
        rules: &Rules,
    ) -> Self {
        let markers = weeks.iter().map(BTreeSet::len).sum();
        let intent = Intent { hash, chunks: weeks.len(), markers, ..old.clone() };
        let mut flush = Self::new(begin, intent, weeks);
        flush.is_announced = hash == old.hash;
        for chunk in &mut flush.chunks {
            chunk.in_doubt = true;
            chunk.need = if rules.reads_markers { Need::Markers } else { Need::Insert };
        }
        if hash != old.hash {
            flush.earlier = Some(Shape {
                chunks: old.chunks,
                markers: old.markers,
                // A clock that ran ahead must not keep us for ever.
                last_insert_ms: old.committed_ms.min(now_ms).saturating_add(rules.longest_insert_ms),
            });
            if old.epoch != rules.epoch {
                let (begin, end) = (begin.0, old.end.0);
                flush.halt = Some(Halt::OtherEpoch { epoch: old.epoch, begin, end });
            }
        }
        flush
    }

    /// What to do next at this time, epoch milliseconds.
    pub fn next(&self, now_ms: i64, rules: &Rules) -> Action {
        if let Some(halt) = &self.halt {
            return Action::Halt(halt.clone());
        }
        if let Some(earlier) = &self.earlier {
            let until = earlier.last_insert_ms;
            return if now_ms < until {
                Action::WaitUntil(until)
            } else {
                Action::ReadMarkers { again: false }
            };
        }
        let Some((number, chunk)) =
            self.chunks.iter().enumerate().find(|(_, chunk)| chunk.need != Need::Nothing)
        else {
            return Action::Done;
        };
        match chunk.need {
            Need::Markers | Need::MarkersAfterOk => Action::ReadMarkers { again: false },
            Need::MarkersAgain => Action::ReadMarkers { again: true },
            Need::Insert | Need::Nothing if self.may_insert(now_ms, rules) => {
                Action::Insert { chunk: number, repeat: chunk.repeat }
            }
            Need::Insert | Need::Nothing => Action::Announce,
        }
    }

    fn may_insert(&self, now_ms: i64, rules: &Rules) -> bool {
        let age = now_ms - self.intent.committed_ms;
        !rules.commits_intents || (self.is_announced && age < rules.intent_valid_ms)
    }

    /// The intent to commit beside [`begin`](Self::begin) at this time.
    pub fn announce(&mut self, now_ms: i64) -> String {
        self.intent.committed_ms = now_ms;
        self.is_announced = false;
        self.intent.encode()
    }

    /// The group took the intent: the partition was ours when it was asked.
    pub fn announced(&mut self) {
        self.is_announced = true;
    }

    /// The server said OK to the insert of a chunk.
    pub fn inserted(&mut self, chunk: usize, rules: &Rules) {
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            let trusts_ok = !chunk.in_doubt || rules.atomic_tokens || !rules.reads_markers;
            chunk.need = if trusts_ok { Need::Nothing } else { Need::MarkersAfterOk };
        }
    }

    /// The server said anything else, or nothing: the rows of a chunk may be there, wholly, partly or not at all.
    pub fn insert_failed(&mut self, chunk: usize, rules: &Rules) {
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            chunk.in_doubt = true;
            chunk.need = if rules.reads_markers { Need::Markers } else { Need::Insert };
        }
    }

    /// The markers that are in the table with an end at c or behind it.
    pub fn landed(&mut self, landed: &Landed) {
        if let Some(earlier) = self.earlier.take() {
            let (begin, end) = (self.begin.0, self.intent.end.0);
            if landed.len() >= earlier.markers && earlier.markers > 0 {
                // Complete, in the shape of the time: nothing of ours belongs beside it.
                self.found = landed.len();
                self.chunks.iter_mut().for_each(|chunk| chunk.need = Need::Nothing);
                return;
            }
            if !landed.is_empty() && (earlier.chunks > 1 || self.chunks.len() > 1) {
                self.halt = Some(Halt::HalfWritten { begin, end });
                return;
            }
        }
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            if chunk.need == Need::Nothing || !chunk.in_doubt {
                continue;
            }
            let before = chunk.missing.len();
            chunk.missing.retain(|&week| !landed.contains(&(number, week)));
            self.found += before - chunk.missing.len();
            chunk.need = match chunk.need {
                _ if chunk.missing.is_empty() => Need::Nothing,
                Need::MarkersAfterOk => Need::MarkersAgain,
                Need::MarkersAgain => {
                    // The token is remembered and the rows are not: only another token brings them in.
                    chunk.repeat += 1;
                    self.repeats += 1;
                    Need::Insert
                }
                Need::Insert | Need::Markers | Need::Nothing => Need::Insert,
            };
        }
    }

    /// b, the offset of the first record, or of what stands before it.
    pub fn begin(&self) -> NextOffset {
        self.begin
    }

    /// c, the offset after the last record.
    pub fn end(&self) -> NextOffset {
        self.intent.end
    }

    /// Epoch of its tokens and markers.
    pub fn epoch(&self) -> u32 {
        self.intent.epoch
    }

    /// Number of chunks whose markers are to be read.
    pub fn marked_chunks(&self) -> usize {
        self.earlier.as_ref().map_or(0, |earlier| earlier.chunks).max(self.chunks.len())
    }

    /// The ClickHouse partitions of a chunk that are not known to be in the table.
    pub fn missing(&self, chunk: usize) -> Option<&BTreeSet<u32>> {
        self.chunks.get(chunk).map(|chunk| &chunk.missing)
    }

    /// Marker rows that are not known to be in the table.
    pub fn missing_markers(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.need != Need::Nothing).map(|chunk| chunk.missing.len()).sum()
    }

    /// Marker rows that were asked for and found.
    pub fn found_markers(&self) -> usize {
        self.found
    }

    /// Inserts under another token, because the first was remembered without its rows.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// Whether an earlier process announced it in another shape, and the markers have not decided yet.
    pub fn is_of_another_shape(&self) -> bool {
        self.earlier.is_some()
    }
}

/// What stands in the `src` of the markers of a partition's first chunks.
pub fn source(epoch: u32, topic: &str, partition: i32) -> String {
    format!("{epoch}/{topic}/{partition}")
}

/// The token of an insert: the same for the same rows, whoever sends them.
pub fn token(flush: &Flush, topic: &str, partition: i32, chunk: usize, repeat: u32) -> String {
    let (epoch, begin, end) = (flush.epoch(), flush.begin().0, flush.end().0);
    let token = format!("{epoch}:{topic}:{partition}:{begin}-{end}:{chunk}");
    if repeat == 0 { token } else { format!("{token}#{repeat}") }
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
            chunks: 1,
            markers: 2,
            ledger_week: 0,
        }
    }

    fn weeks(of_chunks: &[&[u32]]) -> Vec<BTreeSet<u32>> {
        of_chunks.iter().map(|weeks| weeks.iter().copied().collect()).collect()
    }

    fn next(flush: &Flush) -> Action {
        flush.next(NOW, &RULES)
    }

    const INSERT: Action = Action::Insert { chunk: 0, repeat: 0 };
    const READ: Action = Action::ReadMarkers { again: false };

    #[test]
    fn an_assignment_begins_where_kafka_says_or_halts_with_the_way_out() {
        let text = intent().encode();
        let check = |committed: Option<i64>, metadata: &str, low, high, expected: Result<Begin, Halt>| {
            let found = Found { committed: committed.map(NextOffset), metadata, low, high };
            assert_eq!(begin(found, Start::Earliest), expected, "{found:?}");
        };
        check(None, "", 3, 9, Ok(Begin::Read(NextOffset(3))));
        check(Some(5), "", 3, 9, Ok(Begin::Read(NextOffset(5))));
        check(Some(9), "", 3, 9, Ok(Begin::Read(NextOffset(9))));
        check(Some(5), &text, 5, 9, Ok(Begin::Replay(NextOffset(5), intent())));
        check(Some(5), &text, 6, 9, Err(Halt::RecordsGone { offset: 5, low: 6 }));
        check(Some(5), "", 6, 9, Err(Halt::RecordsGone { offset: 5, low: 6 }));
        check(Some(5), "", 0, 4, Err(Halt::BeyondEnd { offset: 5, high: 4 }));
        check(Some(5), &text, 0, 8, Err(Halt::BeyondEnd { offset: 9, high: 8 }));
        check(Some(5), "2;", 0, 8, Err(Halt::UnknownIntent("2;".into())));
        let found = Found { committed: None, metadata: "", low: 3, high: 9 };
        assert_eq!(begin(found, Start::Latest), Ok(Begin::Read(NextOffset(9))));
    }

    #[test]
    fn nothing_is_read_again_that_the_table_holds() {
        let read = Begin::Read(NextOffset(5));
        let replay = Begin::Replay(NextOffset(5), intent());
        for (begin, newest, is_fine) in [
            (&read, None, true),
            (&read, Some(5), true),
            (&read, Some(6), false),
            (&replay, Some(5), true),
            (&replay, Some(9), true),
            (&replay, Some(7), false),
            (&replay, Some(10), false),
        ] {
            assert_eq!(check_newest(begin, newest).is_ok(), is_fine, "{begin:?} {newest:?}");
        }
    }

    #[test]
    fn on_the_good_path_no_marker_is_read() {
        let mut flush = Flush::new(NextOffset(1), intent(), weeks(&[&[0, 7], &[7]]));
        assert_eq!(next(&flush), Action::Announce);
        flush.announce(NOW);
        assert_eq!(next(&flush), Action::Announce, "not before the group took it");
        flush.announced();
        assert_eq!(next(&flush), INSERT);
        flush.inserted(0, &RULES);
        assert_eq!(next(&flush), Action::Insert { chunk: 1, repeat: 0 });
        flush.inserted(1, &RULES);
        assert_eq!(next(&flush), Action::Done);
    }

    #[test]
    fn no_insert_begins_on_an_old_proof_of_ownership() {
        let mut flush = Flush::new(NextOffset(1), intent(), weeks(&[&[0]]));
        flush.announce(NOW);
        flush.announced();
        assert_eq!(flush.next(NOW + 19_999, &RULES), INSERT);
        assert_eq!(flush.next(NOW + 20_000, &RULES), Action::Announce);
        flush.announce(NOW + 20_000);
        flush.announced();
        assert_eq!(flush.next(NOW + 20_001, &RULES), INSERT);
    }

    #[test]
    fn after_a_lost_answer_only_what_is_missing_is_sent_again() {
        let mut flush = Flush::new(NextOffset(1), intent(), weeks(&[&[0, 7]]));
        flush.announce(NOW);
        flush.announced();
        flush.insert_failed(0, &RULES);
        assert_eq!(next(&flush), READ);
        flush.landed(&Landed::from([(0, 7)]));
        assert_eq!((next(&flush), flush.missing(0)), (INSERT, Some(&BTreeSet::from([0]))));
        flush.inserted(0, &RULES);
        assert_eq!(next(&flush), READ, "the OK may stand for a remembered token");
        flush.landed(&Landed::from([(0, 0), (0, 7)]));
        assert_eq!(next(&flush), Action::Done);
    }

    #[test]
    fn a_token_that_is_remembered_without_its_rows_is_replaced() {
        let mut flush = Flush::new(NextOffset(1), intent(), weeks(&[&[0]]));
        flush.announce(NOW);
        flush.announced();
        flush.insert_failed(0, &RULES);
        flush.landed(&Landed::new());
        flush.inserted(0, &RULES);
        flush.landed(&Landed::new());
        assert_eq!(next(&flush), Action::ReadMarkers { again: true });
        flush.landed(&Landed::new());
        assert_eq!(next(&flush), Action::Insert { chunk: 0, repeat: 1 });
        assert_eq!(token(&flush, "t", 3, 0, 1), "1:t:3:1-9:0#1");
        flush.inserted(0, &RULES);
        flush.landed(&Landed::from([(0, 0)]));
        assert_eq!((next(&flush), flush.repeats()), (Action::Done, 1));
    }

    #[test]
    fn a_recovered_flush_asks_first_and_proves_its_ownership_before_it_inserts() {
        let begin = NextOffset(1);
        let old = Intent { committed_ms: NOW - 60_000, ..intent() };
        let mut flush = Flush::recovered(begin, &old, 7, weeks(&[&[0, 7]]), NOW, &RULES);
        assert_eq!(next(&flush), READ);
        let mut landed = flush.clone();
        landed.landed(&Landed::from([(0, 0), (0, 7)]));
        assert_eq!((next(&landed), landed.found_markers()), (Action::Done, 2));
        flush.landed(&Landed::from([(0, 0)]));
        assert_eq!(next(&flush), Action::Announce);
        flush.announce(NOW);
        flush.announced();
        assert_eq!((next(&flush), flush.missing_markers()), (INSERT, 1));
    }

    #[test]
    fn a_flush_of_another_shape_waits_and_then_lets_the_markers_decide() {
        let begin = NextOffset(1);
        let recovered = |old: &Intent, chunks: &[&[u32]]| {
            let flush = Flush::recovered(begin, old, 8, weeks(chunks), NOW, &RULES);
            assert_eq!(next(&flush), Action::WaitUntil(NOW + 600_000));
            assert_eq!(flush.next(NOW + 600_000, &RULES), READ);
            flush
        };
        let then = |mut flush: Flush, landed: &[(usize, u32)]| {
            flush.landed(&landed.iter().copied().collect());
            (next(&flush), flush.missing_markers())
        };
        let large = Intent { chunks: 2, markers: 3, ..intent() };
        // All of it landed: the new shape adds nothing, whatever it would touch.
        assert_eq!(then(recovered(&intent(), &[&[0, 14]]), &[(0, 0), (0, 7)]), (Action::Done, 0));
        assert_eq!(then(recovered(&large, &[&[0]]), &[(0, 0), (0, 7), (1, 7)]), (Action::Done, 0));
        // Some of it: the rest, after a new intent.
        assert_eq!(then(recovered(&intent(), &[&[0, 7]]), &[(0, 7)]), (Action::Announce, 1));
        assert_eq!(then(recovered(&intent(), &[&[0, 7]]), &[]), (Action::Announce, 2));
        // Rows of several chunks cannot be told apart by week.
        let halted = Action::Halt(Halt::HalfWritten { begin: 1, end: 9 });
        assert_eq!(then(recovered(&large, &[&[0, 7]]), &[(0, 0)]).0, halted);
        assert_eq!(then(recovered(&intent(), &[&[0], &[0, 7]]), &[(0, 0)]).0, halted);
        assert_eq!(then(recovered(&large, &[&[0, 7], &[7]]), &[]), (Action::Announce, 3));
    }

    #[test]
    fn an_unfinished_flush_of_another_epoch_is_finished_under_its_own_if_it_is_the_same() {
        let old = Intent { epoch: 5, ..intent() };
        let same = Flush::recovered(NextOffset(1), &old, 7, weeks(&[&[0]]), NOW, &RULES);
        assert_eq!((next(&same), same.epoch()), (READ, 5));
        let other = Flush::recovered(NextOffset(1), &old, 8, weeks(&[&[0]]), NOW, &RULES);
        assert_eq!(next(&other), Action::Halt(Halt::OtherEpoch { epoch: 5, begin: 1, end: 9 }));
    }

    #[test]
    fn a_replicated_table_is_believed() {
        let rules = Rules { atomic_tokens: true, ..RULES };
        let mut flush = Flush::new(NextOffset(1), intent(), weeks(&[&[0]]));
        flush.insert_failed(0, &rules);
        flush.landed(&Landed::new());
        flush.inserted(0, &rules);
        assert_eq!(next(&flush), Action::Done);
    }
}
