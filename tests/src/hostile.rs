//! Hostile clients: seeded records that try to stop the pipeline, each with what must become of it by the contract. Their
//! valid events belong to the app [`APP`], so that they do not mix with the cells of honest clients.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use simulator::{ExpectedCode, ExpectedCounts, Truth, payload_hash};

/// The app of hostile events that are valid.
pub const APP: &str = "hostile";

const MIB: usize = 1024 * 1024;
/// A dead letter keeps a value up to this size whole.
const KEPT_WHOLE: usize = MIB;
/// Of a larger one it keeps so many bytes.
const KEPT_OF_LARGER: usize = 64 * 1024;

/// A record as a producer sends it.
#[derive(Debug, Clone, Default)]
pub struct HostileRecord {
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; none for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Records that belong together, and what must become of them.
#[derive(Debug, Clone, Default)]
pub struct Attack {
    /// What it tries.
    pub name: &'static str,
    /// A topic between the stages that they are written to, instead of `raw-events`.
    pub inner_topic: Option<&'static str>,
    /// In the order they are sent. All go to one partition.
    pub records: Vec<HostileRecord>,
    /// They make one batch of Kafka, however large it is.
    pub is_one_batch: bool,
    /// Valid events, which are stored.
    pub accepted: u64,
    /// Code and kept bytes of each dead letter.
    pub dead_letters: Vec<(ExpectedCode, Vec<u8>)>,
}

impl Attack {
    fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn send(&mut self, value: impl Into<Vec<u8>>) {
        self.records.push(HostileRecord { key: None, value: Some(value.into()) });
    }

    /// A record that is rejected as a whole.
    fn reject(&mut self, code: ExpectedCode, value: impl Into<Vec<u8>>) {
        let value = value.into();
        let kept = if value.len() > KEPT_WHOLE { KEPT_OF_LARGER } else { value.len() };
        self.dead_letters.push((code, value.iter().copied().take(kept).collect()));
        self.send(value);
    }

    fn accept(&mut self, event: &Value) {
        self.accepted += 1;
        self.send(event.to_string());
    }

    /// What a correct pipeline counts for it, without cells: honest clients have none of app [`APP`].
    pub fn truth(&self) -> Truth {
        let rejected = self.dead_letters.len() as u64;
        let mut truth = Truth {
            counts: ExpectedCounts {
                records: self.records.len() as u64,
                sent: self.accepted + rejected,
                accepted: self.accepted,
                rejected,
                bytes: self
                    .records
                    .iter()
                    .map(|record| record.value.as_ref().map_or(0, Vec::len) as u64)
                    .sum(),
                ..ExpectedCounts::default()
            },
            ..Truth::default()
        };
        for (code, kept) in &self.dead_letters {
            *truth.rejected_by_code.entry(*code).or_default() += 1;
            let hash = format!("{:016x}", payload_hash(kept));
            *truth.dead_letters.entry(*code).or_default().entry(hash).or_default() += 1;
        }
        truth
    }
}

/// Makes attacks. The same seed makes the same ones, apart from the time of the events.
#[derive(Debug)]
pub struct Attacker {
    rng: StdRng,
    /// Attacks so far: every kind comes before any comes again.
    made: usize,
    /// Number of the next event and of the next device.
    next: u64,
    seed: u64,
    now_ms: i64,
}

type Kind = fn(&mut Attacker) -> Attack;

impl Attacker {
    /// Every kind of attack.
    pub const KINDS: [fn(&mut Self) -> Attack; 14] = [
        Self::too_large,
        Self::huge_key,
        Self::long_campaigns,
        Self::garbage,
        Self::nesting,
        Self::ruinous_numbers,
        Self::forbidden_devices,
        Self::long_texts,
        Self::wide_events,
        Self::new_devices,
        Self::many_bad_elements,
        Self::bomb,
        Self::foreign_before_enrich,
        Self::foreign_before_aggregate,
    ];

    /// An attacker that begins with any kind.
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let made = rng.random_range(0..Self::KINDS.len());
        Self { rng, made, next: 0, seed, now_ms: 0 }
    }

    /// The next attack; its events happen at `now_ms`.
    pub fn attack(&mut self, now_ms: i64) -> Attack {
        self.now_ms = now_ms;
        let kind: Option<Kind> = Self::KINDS.get(self.made % Self::KINDS.len()).copied();
        self.made += 1;
        kind.map(|kind| kind(self)).unwrap_or_default()
    }

    /// A valid event of a new device.
    fn event(&mut self, name: &str) -> Value {
        self.next += 1;
        let Self { next, seed, now_ms, .. } = *self;
        json!({
            "schema_version": "1-0-0", "event_id": format!("0199f0a0-{:04x}-7bc8-8def-{next:012x}", seed as u16),
            "event_name": name, "app_id": APP, "platform": "h5", "anonymous_id": format!("hostile-{seed}-{next}"),
            "original_timestamp": now_ms, "sent_at": now_ms, "page": {"url": "https://www.example.tv/"},
            "library": {"name": "hostile", "version": "1"},
        })
    }

    /// A record that compresses to nothing and whose dead letter would exceed every limit.
    fn too_large(&mut self) -> Attack {
        let mut attack = Attack::new("too large a record");
        for bytes in [256 * 1024 + 1, MIB, MIB + 1, self.rng.random_range(2..20) * MIB] {
            attack.reject(ExpectedCode::TooLarge, vec![b'a'; bytes]);
        }
        attack
    }

    /// The key would be copied into every dead letter.
    fn huge_key(&mut self) -> Attack {
        let mut attack = Attack::new("a huge key");
        let element = r#"{"schema_version":"1-0-0"}"#;
        let array = format!("[{}]", vec![element; 500].join(","));
        let key = vec![b'k'; self.rng.random_range(1..8) * MIB];
        attack.records.push(HostileRecord { key: Some(key), value: Some(array.into()) });
        attack.dead_letters = vec![(ExpectedCode::MissingField, element.into()); 500];
        attack
    }

    /// A hundred visitors with a campaign of 240 KB each, and then one array of plain events of the same visitors.
    fn long_campaigns(&mut self) -> Attack {
        let mut attack = Attack::new("long campaigns");
        let mut plain = Vec::new();
        for _ in 0..100 {
            let mut event = self.event("page_view");
            plain.push(event.clone());
            event["campaign"] = json!({"source": "x".repeat(240_000), "medium": "cpc"});
            attack.reject(ExpectedCode::InvalidValue, event.to_string());
        }
        attack.accepted = plain.len() as u64;
        attack.send(Value::from(plain).to_string());
        attack
    }

    fn garbage(&mut self) -> Attack {
        let mut attack = Attack::new("garbage");
        let length = self.rng.random_range(1..5_000);
        // A byte that no UTF-8 text has comes first.
        let bytes: Vec<u8> = std::iter::once(0xff).chain((0..length).map(|_| self.rng.random())).collect();
        attack.reject(ExpectedCode::NotUtf8, bytes);
        for text in
            ["", " ", "{", "[", "]", "nul", "{\"a\":1,}", "[1,", "\"", "{\"a\" 1}", "\u{feff}{}", "{}{}"]
        {
            attack.reject(ExpectedCode::MalformedJson, text);
        }
        let event = self.event("page_view").to_string();
        let twice = event.replacen('{', r#"{"event_name":"page_view","#, 1);
        attack.reject(ExpectedCode::DuplicateKey, twice);
        attack
    }

    fn nesting(&mut self) -> Attack {
        let mut attack = Attack::new("nesting");
        for depth in [9, 1_000, 120_000] {
            let event = self.event("page_view").to_string();
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            attack.reject(
                ExpectedCode::TooDeep,
                event.replacen('{', &format!(r#"{{"properties":{{"a":{nested}}},"#), 1),
            );
        }
        attack
    }

    /// One event would change a sum for ever.
    fn ruinous_numbers(&mut self) -> Attack {
        let mut attack = Attack::new("ruinous numbers");
        let day_ms = 24 * 3_600_000_i64;
        let playback = json!({"id": "p", "state": "playing"});
        for (object, required, key, limit) in [
            ("commerce", json!({}), "revenue_minor", 1_000_000_000_000_i64),
            ("commerce", json!({}), "quantity", 1_000_000),
            ("playback", playback.clone(), "played_ms", day_ms),
            ("playback", playback.clone(), "rebuffer_ms", day_ms),
            ("playback", playback, "position_ms", 30 * day_ms),
            ("content", json!({"id": "c"}), "duration_ms", 30 * day_ms),
            ("upload", json!({"id": "u", "step": "select"}), "bytes", 1 << 50),
        ] {
            for (number, is_valid) in [(limit, true), (limit + 1, false), (i64::MAX, false)] {
                let mut event = self.event("level_done");
                event[object] = required.clone();
                event[object][key] = number.into();
                if is_valid {
                    attack.accept(&event);
                } else {
                    attack.reject(ExpectedCode::InvalidValue, event.to_string());
                }
            }
        }
        attack
    }

    /// Values that make millions of people one device.
    fn forbidden_devices(&mut self) -> Attack {
        let mut attack = Attack::new("forbidden devices");
        for id in [
            "null",
            " NaN ",
            "00000000-0000-0000-0000-000000000000",
            "ffffffffffffffff",
            "\u{200b}",
            "[object Object]",
        ] {
            let mut event = self.event("page_view");
            event["anonymous_id"] = id.into();
            attack.reject(ExpectedCode::ForbiddenId, event.to_string());
        }
        attack
    }

    /// Texts that clients do not choose are cut, and the event is stored.
    fn long_texts(&mut self) -> Attack {
        let mut attack = Attack::new("long texts");
        for _ in 0..50 {
            let mut event = self.event("page_view");
            let unique = format!("Mozilla/5.0 (Linux; Android 14; {}) ", self.next).repeat(1_000);
            event["user_agent"] = unique.clone().into();
            event["page"]["title"] = unique.clone().into();
            event["page"]["url"] = format!("https://www.example.tv/?{unique}").into();
            attack.accept(&event);
        }
        attack
    }

    /// As many and as long values as the contract allows, none of them twice.
    fn wide_events(&mut self) -> Attack {
        let mut attack = Attack::new("wide events");
        for _ in 0..200 {
            let mut event = self.event("level_done");
            let number = self.next;
            let text = |length: usize, of: usize| format!("{number}-{of}-{}", "w".repeat(length));
            let properties: serde_json::Map<String, Value> =
                (0..128).map(|key| (format!("k{key}"), text(200, key).into())).collect();
            event["properties"] = properties.into();
            event["experiments"] = (0..32).map(|key| (text(20, key), text(20, key))).collect();
            event["device"] =
                json!({"model": text(100, 0), "manufacturer": text(100, 1), "os_version": text(100, 2)});
            event["campaign"] = json!({"source": text(200, 0), "medium": text(200, 1), "name": text(200, 2)});
            attack.accept(&event);
        }
        attack
    }

    fn new_devices(&mut self) -> Attack {
        let mut attack = Attack::new("new devices");
        for _ in 0..20 {
            let events: Vec<Value> = (0..500).map(|_| self.event("page_view")).collect();
            attack.accepted += events.len() as u64;
            attack.send(Value::from(events).to_string());
        }
        attack
    }

    /// Enrich takes each for an event that it rejects.
    fn foreign_before_enrich(&mut self) -> Attack {
        let mut attack = self.foreign("foreign messages before enrich", "clean-events");
        let rejected = |record: &HostileRecord| {
            (ExpectedCode::EnrichmentError, record.value.clone().unwrap_or_default())
        };
        attack.dead_letters = attack.records.iter().map(rejected).collect();
        attack
    }

    /// Each is a dead letter that aggregate writes itself. It is no event, so no total has it.
    fn foreign_before_aggregate(&mut self) -> Attack {
        self.foreign("foreign messages before aggregate", "enriched-events")
    }

    /// Messages of a program that knows nothing of the format.
    fn foreign(&mut self, name: &'static str, inner_topic: &'static str) -> Attack {
        let mut attack = Attack { inner_topic: Some(inner_topic), ..Attack::new(name) };
        let random: Vec<u8> = (0..self.rng.random_range(1..5_000)).map(|_| self.rng.random()).collect();
        let values = [None, Some(Vec::new()), Some(random), Some(b"{\"event\":\"json\"}".to_vec())];
        attack.records = values.into_iter().map(|value| HostileRecord { key: None, value }).collect();
        attack
    }

    /// 7 KB as zstd, and more than a client of Kafka decompresses.
    fn bomb(&mut self) -> Attack {
        let mut attack = Attack { is_one_batch: true, ..Attack::new("a batch that is a bomb") };
        for _ in 0..150 {
            attack.send(vec![b'a'; MIB]);
        }
        attack.dead_letters = vec![(ExpectedCode::Undecodable, Vec::new())];
        attack
    }

    /// Hundreds of dead letters per record.
    fn many_bad_elements(&mut self) -> Attack {
        let mut attack = Attack::new("many bad elements");
        let element = r#"{"schema_version":"1-0-0","event_id":""}"#;
        for _ in 0..20 {
            attack.send(format!("[{}]", vec![element; 500].join(",")));
            attack
                .dead_letters
                .extend(std::iter::repeat_n((ExpectedCode::InvalidValue, element.into()), 500));
        }
        attack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_and_a_seed_determines_the_attacks() {
        let attacks = |seed| {
            let mut attacker = Attacker::new(seed);
            let made = (0..Attacker::KINDS.len()).map(|_| attacker.attack(1_800_000_000_000));
            made.map(|attack| (attack.name, format!("{:?}", attack.truth().counts))).collect::<Vec<_>>()
        };
        assert_eq!(attacks(1), attacks(1));
        let mut names: Vec<_> = attacks(2).into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Attacker::KINDS.len());
    }
}
