//! The protocol against a model of Kafka and ClickHouse in which everything dies at every step: whatever the schedule,
//! each record counts once. With any one safeguard off, some schedule loses or doubles a record; so the model can fail.
#![expect(clippy::unwrap_used, reason = "a test may end by panicking")]
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aggregate::protocol::{self, Action, Begin, Flush, Found, Intent, Landed, Rules};
use event::{NextOffset, Start};
use proptest::prelude::*;

const RECORDS: i64 = 24;
const SESSION_TIMEOUT_MS: i64 = 20_000;
const LONGEST_INSERT_MS: i64 = 60_000;
const RULES: Rules = Rules {
    epoch: 1,
    intent_valid_ms: SESSION_TIMEOUT_MS,
    longest_insert_ms: LONGEST_INSERT_MS,
    atomic_tokens: false,
    reads_markers: true,
    commits_intents: true,
};

/// What a schedule may do.
#[derive(Clone, Copy)]
struct Faults {
    /// Inserts the server remembers, per table.
    window: usize,
    /// Inserts nobody waits for any more execute up to `LONGEST_INSERT_MS` later.
    delays: bool,
    /// Processes come back with other code.
    upgrades: bool,
    sends_tokens: bool,
    rules: Rules,
}

const ALL: Faults = Faults { window: 1000, delays: true, upgrades: false, sends_tokens: true, rules: RULES };
/// A delayed insert that outlives its token could not be told from a new one by anybody.
const SHORT_MEMORY: Faults = Faults { window: 2, delays: false, ..ALL };
const UPGRADES: Faults = Faults { upgrades: true, ..ALL };

/// Choices, one after the other; all zeros at the end, which is the quiet way.
struct Schedule<'a>(std::slice::Iter<'a, u16>);

impl Schedule<'_> {
    fn choose(&mut self, of: u16) -> u16 {
        self.0.next().map_or(0, |choice| choice % of)
    }

    fn is_over(&self) -> bool {
        self.0.len() == 0
    }
}

/// The rows of one chunk in one ClickHouse partition, which the server keeps wholly or not at all.
#[derive(Debug, Clone)]
struct Part {
    week: u32,
    chunk: usize,
    end: u64,
    offsets: Vec<i64>,
    ledger: i64,
}

#[derive(Debug, Clone)]
struct Request {
    token: String,
    parts: Vec<Part>,
    sent_ms: i64,
}

#[derive(Default)]
struct ClickHouse {
    tokens: VecDeque<(String, u32)>,
    parts: Vec<Part>,
    delayed: Vec<Request>,
}

impl ClickHouse {
    /// Executes an insert up to a number of its parts; killed, it remembers the token of the next one without its rows.
    fn execute(&mut self, request: &Request, parts: usize, killed: bool, window: usize) {
        for (nth, part) in request.parts.iter().enumerate() {
            let key = (request.token.clone(), part.week);
            if nth > parts || (nth == parts && !killed) {
                return;
            }
            if self.tokens.contains(&key) {
                continue;
            }
            self.tokens.push_back(key);
            if self.tokens.len() > window {
                self.tokens.pop_front();
            }
            if nth == parts {
                return;
            }
            self.parts.push(part.clone());
        }
    }

    fn landed(&self, end: u64) -> Landed {
        let of_flush = self.parts.iter().filter(|part| part.end >= end);
        of_flush.map(|part| (part.chunk, part.week)).collect()
    }
}

/// Rows of each chunk of [begin, end), by ClickHouse partition; code of another version cuts other chunks.
fn build(begin: i64, end: i64, code: u16, ledger_week: Option<u32>) -> Vec<BTreeMap<u32, Part>> {
    let chunk_size = if code % 3 == 2 { 3 } else { 100 };
    let offsets: Vec<i64> = (begin..end).collect();
    let mut chunks = Vec::new();
    for (chunk, offsets) in offsets.chunks(chunk_size).enumerate() {
        let mut parts = BTreeMap::new();
        let part = |week| Part { week, chunk, end: end as u64, offsets: Vec::new(), ledger: 0 };
        for &offset in offsets {
            let week = (offset / 2 % 3) as u32 * 7;
            parts.entry(week).or_insert_with(|| part(week)).offsets.push(offset);
        }
        if chunk == 0 {
            let week = ledger_week.unwrap_or(*parts.first_key_value().unwrap().0);
            parts.entry(week).or_insert_with(|| part(week)).ledger = end - begin;
        }
        chunks.push(parts);
    }
    chunks
}

fn weeks(chunks: &[BTreeMap<u32, Part>]) -> Vec<BTreeSet<u32>> {
    chunks.iter().map(|parts| parts.keys().copied().collect()).collect()
}

struct Work {
    flush: Flush,
    chunks: Vec<BTreeMap<u32, Part>>,
}

/// One process.
#[derive(Default)]
struct Process {
    generation: u32,
    code: u16,
    /// Where it reads on; nothing when it is down.
    position: Option<i64>,
    work: Option<Work>,
}

struct World {
    faults: Faults,
    now: i64,
    /// Offset and text the group committed, and the generation that may commit.
    committed: Option<(i64, String)>,
    generation: u32,
    clickhouse: ClickHouse,
    processes: Vec<Process>,
    code: u16,
    sent: u32,
    halted: Option<String>,
}

impl World {
    fn new(faults: Faults) -> Self {
        Self {
            faults,
            now: 1_000_000,
            committed: None,
            generation: 0,
            clickhouse: ClickHouse::default(),
            processes: (0..2).map(|_| Process::default()).collect(),
            code: 0,
            sent: 0,
            halted: None,
        }
    }

    fn run(mut self, schedule: &[u16]) -> Result<(), String> {
        let mut schedule = Schedule(schedule.iter());
        while !schedule.is_over() && self.halted.is_none() {
            self.happen(&mut schedule);
        }
        // Then everything is well again.
        self.pass(LONGEST_INSERT_MS);
        self.kill(0);
        self.take_over(0);
        for _ in 0..1000 {
            if self.halted.is_some() || self.committed == Some((RECORDS, String::new())) {
                break;
            }
            self.step(0, &mut schedule);
            self.pass(1000);
        }
        self.judge()
    }

    fn judge(&self) -> Result<(), String> {
        let mut counts = BTreeMap::new();
        for part in &self.clickhouse.parts {
            part.offsets.iter().for_each(|&offset| *counts.entry(offset).or_insert(0) += 1);
        }
        for offset in 0..RECORDS {
            match counts.get(&offset).copied().unwrap_or(0) {
                1 => (),
                0 if self.halted.is_some() => (),
                count => return Err(format!("record {offset} counts {count} times")),
            }
        }
        let ledger: i64 = self.clickhouse.parts.iter().map(|part| part.ledger).sum();
        match &self.halted {
            // Only code that builds other chunks than the process before may find no way on.
            Some(why) if !self.faults.upgrades => Err(format!("halted: {why}")),
            None if ledger != RECORDS => Err(format!("the ledger says {ledger}")),
            _ => Ok(()),
        }
    }

    fn happen(&mut self, schedule: &mut Schedule<'_>) {
        let who = usize::from(schedule.choose(2));
        match schedule.choose(16) {
            0..=9 => self.step(who, schedule),
            10 => self.kill(who),
            // The group waits for a silent member, then gives its partition away; the member may wake up later.
            11 => {
                self.pass(SESSION_TIMEOUT_MS);
                self.take_over(who);
            }
            // A killed process comes back under its name at once.
            12 if self.processes[who].generation == self.generation => {
                self.kill(who);
                self.take_over(who);
            }
            13 => self.pass(i64::from(schedule.choose(40)) * 1000),
            14 if !self.clickhouse.delayed.is_empty() => {
                let nth = usize::from(schedule.choose(self.clickhouse.delayed.len() as u16));
                let request = self.clickhouse.delayed.remove(nth);
                self.clickhouse.execute(&request, usize::MAX, false, self.faults.window);
            }
            15 if self.faults.upgrades => self.code = schedule.choose(4),
            _ => (),
        }
        self.pass(i64::from(schedule.choose(3)) * 100);
    }

    /// Time passes; what is delayed executes before its time is over.
    fn pass(&mut self, ms: i64) {
        self.now += ms;
        let delayed = std::mem::take(&mut self.clickhouse.delayed);
        for request in delayed {
            if self.now - request.sent_ms >= LONGEST_INSERT_MS {
                self.clickhouse.execute(&request, usize::MAX, false, self.faults.window);
            } else {
                self.clickhouse.delayed.push(request);
            }
        }
    }

    fn kill(&mut self, who: usize) {
        self.processes[who] = Process { generation: self.processes[who].generation, ..Process::default() };
    }

    fn take_over(&mut self, who: usize) {
        self.generation += 1;
        self.processes[who] = Process { generation: self.generation, code: self.code, ..Process::default() };
    }

    fn step(&mut self, who: usize, schedule: &mut Schedule<'_>) {
        let Some(position) = self.processes[who].position else {
            if self.processes[who].generation == self.generation && self.generation > 0 {
                self.begin(who);
            }
            return;
        };
        match self.processes[who].work.take() {
            None if position < RECORDS => {
                let end = (position + 1 + i64::from(schedule.choose(8))).min(RECORDS);
                let chunks = build(position, end, self.processes[who].code, None);
                let intent = Intent {
                    end: NextOffset(end),
                    committed_ms: 0,
                    epoch: 1,
                    hash: self.processes[who].code.into(),
                    chunks: chunks.len(),
                    markers: weeks(&chunks).iter().map(BTreeSet::len).sum(),
                    ledger_week: *chunks[0].first_key_value().unwrap().0,
                };
                let flush = Flush::new(NextOffset(position), intent, weeks(&chunks));
                self.processes[who].work = Some(Work { flush, chunks });
            }
            None => {
                self.commit(who, RECORDS, String::new());
            }
            Some(work) => self.act(who, work, schedule),
        }
    }

    /// What a process does that has just been given the partition.
    fn begin(&mut self, who: usize) {
        let (committed, metadata) = match &self.committed {
            Some((offset, text)) => (Some(NextOffset(*offset)), text.as_str()),
            None => (None, ""),
        };
        let found = Found { committed, metadata, low: 0, high: RECORDS };
        let newest = self.clickhouse.parts.iter().map(|part| part.end).max();
        let begun = protocol::begin(found, Start::Earliest).and_then(|begun| {
            // As the lane does when a safeguard is off.
            if self.faults.rules.reads_markers && self.faults.rules.commits_intents {
                protocol::check_newest(&begun, newest)?;
            }
            Ok(begun)
        });
        let code = self.processes[who].code;
        let (position, work) = match begun {
            Err(halt) => {
                self.halted = Some(halt.to_string());
                return;
            }
            Ok(Begin::Read(next)) => (next.0, None),
            Ok(Begin::Replay(next, old)) => {
                let chunks = build(next.0, old.end.0, code, Some(old.ledger_week));
                let (weeks, rules) = (weeks(&chunks), &self.faults.rules);
                let flush = Flush::recovered(next, &old, code.into(), weeks, self.now, rules);
                (old.end.0, Some(Work { flush, chunks }))
            }
        };
        (self.processes[who].position, self.processes[who].work) = (Some(position), work);
    }

    fn act(&mut self, who: usize, mut work: Work, schedule: &mut Schedule<'_>) {
        match work.flush.next(self.now, &self.faults.rules) {
            Action::Announce => {
                let text = work.flush.announce(self.now);
                let took = self.commit(who, work.flush.begin().0, text);
                match (took, schedule.choose(8)) {
                    (false, _) => return self.kill(who),
                    // The answer is lost: the same again.
                    (true, 7) => (),
                    (true, _) => work.flush.announced(),
                }
            }
            Action::WaitUntil(_) => (),
            Action::ReadMarkers { .. } => {
                work.flush.landed(&self.clickhouse.landed(work.flush.end().0 as u64));
            }
            Action::Insert { chunk, repeat } => self.insert(&mut work, (chunk, repeat), schedule),
            Action::Done => {
                let end = work.flush.end().0;
                self.processes[who].position = Some(end);
                // Or the end waits for the next intent.
                if end == RECORDS || schedule.choose(2) == 0 {
                    self.commit(who, end, String::new());
                }
                return;
            }
            Action::Halt(halt) => self.halted = Some(halt.to_string()),
        }
        self.processes[who].work = Some(work);
    }

    fn insert(&mut self, work: &mut Work, (chunk, repeat): (usize, u32), schedule: &mut Schedule<'_>) {
        let missing = work.flush.missing(chunk).unwrap();
        let parts =
            work.chunks[chunk].values().filter(|part| missing.contains(&part.week)).cloned().collect();
        let mut token = protocol::token(&work.flush, "t", 0, chunk, repeat);
        if !self.faults.sends_tokens {
            self.sent += 1;
            token = format!("{token}?{}", self.sent);
        }
        let request = Request { token, parts, sent_ms: self.now };
        let (clickhouse, window) = (&mut self.clickhouse, self.faults.window);
        let is_ok = match schedule.choose(10) {
            5 => {
                clickhouse.execute(&request, usize::MAX, false, window);
                false
            }
            6 => false,
            7 if self.faults.delays => {
                clickhouse.delayed.push(request);
                false
            }
            8 => {
                clickhouse.execute(&request, usize::from(schedule.choose(3)), false, window);
                false
            }
            9 => {
                clickhouse.execute(&request, usize::from(schedule.choose(3)), true, window);
                false
            }
            _ => {
                clickhouse.execute(&request, usize::MAX, false, window);
                true
            }
        };
        if is_ok {
            work.flush.inserted(chunk, &self.faults.rules);
        } else {
            work.flush.insert_failed(chunk, &self.faults.rules);
        }
    }

    /// The broker takes commits of the present generation only.
    fn commit(&mut self, who: usize, offset: i64, text: String) -> bool {
        let is_member = self.processes[who].generation == self.generation;
        if is_member {
            self.committed = Some((offset, text));
        }
        is_member
    }
}

fn schedules() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..600)
}

fn check(faults: Faults, schedule: &[u16]) -> Result<(), TestCaseError> {
    World::new(faults).run(schedule).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_dies_each_record_counts_once(schedule in schedules()) {
        check(ALL, &schedule)?;
    }

    #[test]
    fn a_server_that_forgets_tokens_at_once_is_made_up_for_by_markers(schedule in schedules()) {
        check(SHORT_MEMORY, &schedule)?;
    }

    #[test]
    fn code_that_builds_other_rows_never_doubles_what_its_predecessor_wrote(schedule in schedules()) {
        check(UPGRADES, &schedule)?;
    }
}

/// The first violation that random schedules find.
fn violation(faults: Faults) -> Option<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u16
    };
    (0..5000).find_map(|_| {
        let schedule: Vec<u16> = (0..400).map(|_| random()).collect();
        World::new(faults).run(&schedule).err()
    })
}

#[test]
fn without_any_one_safeguard_some_schedule_loses_or_doubles_a_record() {
    let without_markers = Rules { reads_markers: false, ..RULES };
    let without_intents = Rules { commits_intents: false, ..RULES };
    let endless_proof = Rules { intent_valid_ms: i64::MAX, ..RULES };
    let no_wait = Rules { longest_insert_ms: 0, ..RULES };
    for (name, faults, finds) in [
        ("token", Faults { sends_tokens: false, ..ALL }, "counts 2 times"),
        ("marker", Faults { rules: without_markers, ..ALL }, "counts 0 times"),
        ("marker, tokens forgotten", Faults { rules: without_markers, ..SHORT_MEMORY }, "counts"),
        ("intent", Faults { rules: without_intents, ..ALL }, "counts"),
        ("fresh proof of ownership", Faults { rules: endless_proof, ..SHORT_MEMORY }, "counts 2 times"),
        ("wait for inserts of another shape", Faults { rules: no_wait, ..UPGRADES }, "counts"),
    ] {
        let found = violation(faults).unwrap_or_else(|| panic!("nothing found without: {name}"));
        assert!(found.contains(finds), "without {name}: {found}");
    }
    for faults in [ALL, SHORT_MEMORY, UPGRADES] {
        assert_eq!(violation(faults), None);
    }
}
