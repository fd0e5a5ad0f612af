//! Ingest as a stage: every record of a batch is decided; events go to their device's partition of `clean-events`
//! in batches, refusals go to `dead-letters` with their original bytes.
use event::{BatchBuilder, LedgerCounts, Rejection, Topic, Verdict, header};
use runtime::{
    Error,
    config::Kafka,
    stage::{Message, Output, Record, Stage},
};

use crate::{
    decide::{Decision, decide},
    encode::{Origin, encode, partition},
    parse::KeyOrder,
    tally::Tally,
    validate::Rules,
};

/// The topics ingest works on, by their full names, and how many partitions its outputs have.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Raw records.
    pub raw: String,
    /// Batches of valid events.
    pub clean: String,
    /// Partitions of `clean`; a device stays on its partition, so the number is frozen.
    pub clean_partitions: u32,
    /// Refused bytes.
    pub dead_letters: String,
    /// Partitions of `dead_letters`.
    pub dead_letter_partitions: u32,
}

impl Topics {
    /// The topics of a pipeline. `partitions` asks the broker for the number of partitions of a topic.
    ///
    /// # Errors
    /// The first error of `partitions`.
    pub fn new(kafka: &Kafka, partitions: impl Fn(&str) -> Result<u32, Error>) -> Result<Self, Error> {
        let (clean, dead_letters) = (kafka.topic(Topic::CleanEvents), kafka.topic(Topic::DeadLetters));
        let (clean_partitions, dead_letter_partitions) = (partitions(&clean)?, partitions(&dead_letters)?);
        Ok(Self {
            raw: kafka.topic(Topic::RawEvents),
            clean,
            clean_partitions,
            dead_letters,
            dead_letter_partitions,
        })
    }
}

/// One worker's ingest. It has no state that outlives a batch, but for what it counts.
#[derive(Debug)]
pub struct Ingest {
    topics: Topics,
    rules: Rules,
    order: KeyOrder,
    /// One open batch for each partition of `clean`.
    batches: Vec<BatchBuilder>,
    /// Room for partition keys.
    key: Vec<u8>,
    tally: Tally,
}

impl Ingest {
    /// A stage that judges by `rules`.
    pub fn new(topics: Topics, rules: Rules) -> Self {
        let batches = vec![BatchBuilder::default(); topics.clean_partitions.max(1) as usize];
        Self { topics, rules, order: KeyOrder::default(), batches, key: Vec::new(), tally: Tally::default() }
    }

    fn decide(&mut self, record: &Record<'_>, output: &mut dyn Output) -> Result<(), Error> {
        let Self { topics, rules, order, batches, key, tally } = self;
        let mut any_rejected = false;
        let mut counts = LedgerCounts::default();
        decide(record.value, record.timestamp_ms, rules, order, |decision| {
            tally.unknown_fields(decision.event.unknown_fields);
            match &decision.verdict {
                Verdict::Emit(facts) => {
                    tally.emitted(facts.time.source);
                    counts.emitted += 1;
                    let partition = partition(decision.event, facts, topics.clean_partitions, key);
                    let batch = &mut batches[partition as usize];
                    let origin = Origin {
                        partition: record.partition,
                        offset: record.offset,
                        index: decision.index,
                        received_at: record.timestamp_ms,
                    };
                    encode(decision.event, facts, origin, batch);
                    if batch.is_full() { send(topics, partition, batch, output) } else { Ok(()) }
                }
                Verdict::Reject(rejection) => {
                    any_rejected = true;
                    counts.rejected += 1;
                    tally.rejected(rejection.code, record.partition, record.offset, &rejection.pointer);
                    dead_letter(topics, record, &decision, rejection, output)
                }
                // Ingest drops nothing: whatever is not emitted keeps its bytes.
                Verdict::Drop(_) => Ok(()),
            }
        })?;
        counts.events = counts.emitted + counts.rejected;
        output.count(record.partition, &counts);
        tally.record(record.partition, any_rejected);
        Ok(())
    }
}

impl Stage for Ingest {
    fn assigned(&mut self, partition: i32) {
        self.tally.assigned(partition);
    }

    fn revoked(&mut self, partition: i32) {
        self.tally.revoked(partition);
    }

    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error> {
        for record in records {
            self.decide(record, output)?;
        }
        for (partition, batch) in self.batches.iter_mut().enumerate() {
            if batch.rows() > 0 {
                send(&self.topics, partition as u32, batch, output)?;
            }
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.tally.committed();
    }

    fn aborted(&mut self) {
        self.tally.aborted();
    }
}

fn send(
    topics: &Topics,
    partition: u32,
    batch: &mut BatchBuilder,
    output: &mut dyn Output,
) -> Result<(), Error> {
    let value = batch.finish();
    output.send(Message {
        topic: &topics.clean,
        partition: partition as i32,
        key: None,
        value: &value,
        headers: &[],
    })
}

fn dead_letter(
    topics: &Topics,
    record: &Record<'_>,
    decision: &Decision<'_, '_>,
    rejection: &Rejection,
    output: &mut dyn Output,
) -> Result<(), Error> {
    let Rejection { code, pointer, message } = rejection;
    let (app_id, platform, library) =
        (decision.event.app_id(), decision.event.platform(), decision.event.library());
    let partition = record.partition.to_string();
    let offset = record.offset.to_string();
    let index = decision.index.to_string();
    let received_at = record.timestamp_ms.to_string();
    output.send(Message {
        topic: &topics.dead_letters,
        partition: record.partition.rem_euclid(topics.dead_letter_partitions.max(1) as i32),
        key: record.key,
        value: decision.bytes,
        headers: &[
            (header::CODE, code.as_str()),
            (header::MESSAGE, message),
            (header::POINTER, pointer),
            (header::ORIGIN_TOPIC, &topics.raw),
            (header::ORIGIN_PARTITION, &partition),
            (header::ORIGIN_OFFSET, &offset),
            (header::ORIGIN_INDEX, &index),
            (header::STAGE, "ingest"),
            (header::VERSION, env!("CARGO_PKG_VERSION")),
            (header::APP_ID, &app_id),
            (header::PLATFORM, &platform),
            (header::LIBRARY, &library),
            (header::RECEIVED_AT, &received_at),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Batch, Field};
    use runtime::stage::{Recorder, Sent};
    use std::time::Duration;

    const RECEIVED_AT: i64 = 1_772_452_800_000; // 2026-03-02T12:00:00Z

    fn ingest() -> Ingest {
        let topics = Topics {
            raw: "t.raw-events".into(),
            clean: "t.clean-events".into(),
            clean_partitions: 8,
            dead_letters: "t.dead-letters".into(),
            dead_letter_partitions: 2,
        };
        Ingest::new(topics, Rules::new([], false, Duration::from_secs(7 * 86_400)))
    }

    fn process(records: &[Record<'_>]) -> (Vec<Sent>, Vec<Sent>) {
        let mut ingest = ingest();
        let mut recorder = Recorder::default();
        ingest.process(records, &mut recorder).unwrap();
        recorder.sent.into_iter().partition(|sent| sent.topic == "t.clean-events")
    }

    fn record(partition: i32, offset: i64, value: &str) -> Record<'_> {
        let value = Some(value.as_bytes());
        Record { partition, offset, timestamp_ms: RECEIVED_AT, key: Some(b"key"), value }
    }

    fn event(device: &str, rest: &str) -> String {
        format!(
            r#"{{"schema_version":"1-0-0","event_id":"01957B6E-5a3c-7d21-9c40-3f6a1b2c4d5e","event_name":"login","app_id":"app-1",
            "platform":"android","app_version":"1.0","original_timestamp":"2026-03-02T11:59:00Z","sent_at":"2026-03-02T11:58:30.5Z",
            "anonymous_id":"{device}","user_id":"u1","library":{{"name":"lib","version":"2"}}{rest}}}"#
        )
    }

    #[test]
    fn every_field_of_the_contract_reaches_its_place_in_the_catalogue() {
        let rest = r#","session_id":"s","event_index":41,"locale":"zh-CN","timezone":"Asia/Shanghai",
            "device":{"id":"d","manufacturer":"M","model":"m","type":"phone","os_name":"A","os_version":"14","screen_width":1080,
            "screen_height":2400,"network_type":"wifi"},"user_agent":"UA","ip":"203.0.113.7",
            "page":{"url":"https://e.x/","path":"/","title":"\u6d3b\n","referrer":"r","page_type":"home"},"screen":{"name":"sn"},
            "campaign":{"source":"cs","medium":"cm","name":"cn","term":"ct","content":"cc","id":"ci"},
            "click_id":"k","click_id_type":"gclid","install_source":"huawei","activity_event_id":"A-1_e",
            "content":{"id":"c","type":"video","source":"web_upload","author_id":"a","producer_type":"ugc","category":"cat",
            "tags":["x","","y"],"duration_ms":1000,"published_at":"1969-12-31T23:59:59Z"},
            "playback":{"id":"p","state":"playing","position_ms":5,"played_ms":6,"quality":"1080p","rebuffer_ms":7},
            "upload":{"id":"up","step":"done","bytes":8,"duration_ms":9,"error_code":"e"},
            "commerce":{"order_id":"o","product_id":"pi","product_type":"vip","quantity":2,"revenue_minor":-2500,"currency":"CNY",
            "entry_point":"mobile","gift_id":"g","receiver_id":"r"},"creator":{"id":"cr","level":"4","previous_level":"3"},
            "experiments":{"player":"a","player":"b"},"properties":{"n":1e999, "t":"x"},"is_test":true"#;
        let json = event("dev", rest);
        let (clean, dead) = process(&[record(3, 77, &json)]);
        assert_eq!((clean.len(), dead.len()), (1, 0));
        let batch = Batch::decode(&clean[0].value).unwrap();
        let texts: &[(Field, &str)] = &[
            (Field::AppId, "app-1"),
            (Field::Platform, "android"),
            (Field::AppVersion, "1.0"),
            (Field::EventName, "login"),
            (Field::AnonymousId, "dev"),
            (Field::UserId, "u1"),
            (Field::SessionId, "s"),
            (Field::Locale, "zh-CN"),
            (Field::Timezone, "Asia/Shanghai"),
            (Field::DeviceId, "d"),
            (Field::DeviceManufacturer, "M"),
            (Field::DeviceModel, "m"),
            (Field::DeviceType, "phone"),
            (Field::OsName, "A"),
            (Field::OsVersion, "14"),
            (Field::NetworkType, "wifi"),
            (Field::UserAgent, "UA"),
            (Field::PageUrl, "https://e.x/"),
            (Field::PagePath, "/"),
            (Field::PageTitle, "活\n"),
            (Field::PageReferrer, "r"),
            (Field::PageType, "home"),
            (Field::ScreenName, "sn"),
            (Field::CampaignSource, "cs"),
            (Field::CampaignMedium, "cm"),
            (Field::CampaignName, "cn"),
            (Field::CampaignTerm, "ct"),
            (Field::CampaignContent, "cc"),
            (Field::CampaignId, "ci"),
            (Field::ClickId, "k"),
            (Field::ClickIdType, "gclid"),
            (Field::InstallSource, "huawei"),
            (Field::ActivityEventId, "A-1_e"),
            (Field::ContentId, "c"),
            (Field::ContentType, "video"),
            (Field::ContentSource, "web_upload"),
            (Field::AuthorId, "a"),
            (Field::ProducerType, "ugc"),
            (Field::Category, "cat"),
            (Field::PlaybackId, "p"),
            (Field::PlaybackState, "playing"),
            (Field::PlaybackQuality, "1080p"),
            (Field::UploadId, "up"),
            (Field::UploadStep, "done"),
            (Field::ErrorCode, "e"),
            (Field::OrderId, "o"),
            (Field::ProductId, "pi"),
            (Field::ProductType, "vip"),
            (Field::Currency, "CNY"),
            (Field::EntryPoint, "mobile"),
            (Field::GiftId, "g"),
            (Field::ReceiverId, "r"),
            (Field::CreatorId, "cr"),
            (Field::CreatorLevel, "4"),
            (Field::PreviousLevel, "3"),
            (Field::Properties, r#"{"n":1e999, "t":"x"}"#),
            (Field::Library, "lib"),
            (Field::LibraryVersion, "2"),
            (Field::TimeSource, "received"),
            (Field::Kind, "test"),
        ];
        for &(field, expected) in texts {
            assert_eq!(batch.text(field, 0), expected, "{}", field.name());
        }
        let numbers: &[(Field, i64)] = &[
            (Field::EventNumber, 42),
            (Field::ScreenWidth, 1080),
            (Field::ScreenHeight, 2400),
            (Field::ContentDurationMs, 1000),
            (Field::PublishedAt, -1000),
            (Field::PositionMs, 5),
            (Field::PlayedMs, 6),
            (Field::RebufferMs, 7),
            (Field::UploadBytes, 8),
            (Field::UploadDurationMs, 9),
            (Field::Quantity, 2),
            (Field::RevenueMinor, -2500),
            (Field::EventTime, RECEIVED_AT),
            (Field::ReceivedAt, RECEIVED_AT),
            (Field::ClockSkewMs, 89_500),
            (Field::LatenessMs, 0),
            (Field::OriginPartition, 3),
            (Field::OriginOffset, 77),
            (Field::OriginIndex, 0),
        ];
        for &(field, expected) in numbers {
            assert_eq!(batch.number(field, 0), expected, "{}", field.name());
        }
        assert_eq!(batch.uuid(Field::EventId, 0), 0x0195_7b6e_5a3c_7d21_9c40_3f6a_1b2c_4d5e);
        let list = |field| batch.list(field, 0).iter().map(|&text| batch.resolve(text)).collect::<Vec<_>>();
        assert_eq!(list(Field::Tags), ["x", "", "y"]);
        assert_eq!(list(Field::Experiments), ["player", "b"]);
        let checked = texts.len() + numbers.len() + 3;
        let ours = event::FIELDS.iter().filter(|field| field.source() != event::Source::Enrich).count() + 1;
        assert_eq!(checked, ours, "every field of clients and ingest, and kind, is looked at");
        assert!(
            !String::from_utf8_lossy(&clean[0].value).contains("203.0.113.7"),
            "the address is never stored"
        );
    }

    #[test]
    fn the_ledger_counts_every_event_found_by_the_partition_it_was_read_from() {
        let (good, array) = (event("a", ""), format!("[{},7,{}]", event("b", ""), event("c", "")));
        let mut ingest = ingest();
        let mut recorder = Recorder::default();
        let records =
            [record(0, 1, &good), record(3, 5, &array), record(0, 2, "no event"), record(3, 6, &good)];
        ingest.process(&records, &mut recorder).unwrap();
        let counts =
            |events, emitted, rejected| LedgerCounts { events, emitted, rejected, ..LedgerCounts::default() };
        assert_eq!(recorder.counts, [(0, counts(2, 1, 1)), (3, counts(4, 3, 1))].into());
    }

    #[test]
    fn a_device_keeps_its_partition_and_its_order() {
        let events: Vec<String> =
            (0..2000).map(|i| event(&format!("d{}", i % 50), &format!(r#","event_index":{i}"#))).collect();
        let array = format!("[{}]", events[1000..1400].join(","));
        let mut records: Vec<_> =
            events[..1000].iter().zip(0..).map(|(json, at)| record(0, at, json)).collect();
        records.push(record(0, 1000, &array));
        records.extend(events[1400..].iter().zip(1001..).map(|(json, at)| record(0, at, json)));
        let (clean, dead) = process(&records);
        assert!(dead.is_empty());
        let mut rows = 0;
        let mut last = std::collections::BTreeMap::new();
        for sent in &clean {
            assert_eq!((sent.key.as_deref(), sent.headers.len()), (None, 0));
            let batch = Batch::decode(&sent.value).unwrap();
            rows += batch.rows();
            for row in 0..batch.rows() {
                let device = batch.text(Field::AnonymousId, row).to_owned();
                assert_eq!(
                    event::partition_for(format!("app-1:{device}").as_bytes(), 8),
                    sent.partition as u32
                );
                let number = batch.number(Field::EventNumber, row);
                assert!(last.insert(device, number).is_none_or(|before| before < number));
            }
        }
        assert_eq!((rows, last.len()), (2000, 50));
        assert!(clean.len() <= 16, "{} messages: events travel in batches", clean.len());
    }

    #[test]
    fn a_server_without_a_device_is_spread_by_event_id_in_any_case() {
        let server = |id: &str| {
            event("x", "")
                .replace("android", "server")
                .replace("\"anonymous_id\":\"x\",", "")
                .replace("01957B6E-5a3c-7d21-9c40-3f6a1b2c4d5e", id)
        };
        let id = "0a957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e";
        let (lower, upper) = (server(id), server(&id.to_uppercase()));
        let (clean, dead) = process(&[record(0, 0, &lower), record(0, 1, &upper)]);
        assert!(dead.is_empty());
        assert_eq!(clean.len(), 1);
        assert_eq!(clean[0].partition as u32, event::partition_for(id.as_bytes(), 8));
    }

    #[test]
    fn a_dead_letter_keeps_key_and_bytes_and_says_why_and_where_from() {
        let bad = event("null", "");
        let array = format!("[{}, {bad} ]", event("d", ""));
        let tombstone = Record { partition: 4, offset: 8, timestamp_ms: RECEIVED_AT, key: None, value: None };
        let (clean, dead) = process(&[record(7, 99, &array), tombstone]);
        assert_eq!((clean.len(), dead.len()), (1, 2));
        assert_eq!((dead[0].partition, dead[1].partition), (1, 0));
        assert_eq!(
            (dead[0].key.as_deref(), dead[0].value.as_slice()),
            (Some(b"key".as_slice()), bad.as_bytes())
        );
        assert_eq!((dead[1].key.as_deref(), dead[1].value.as_slice()), (None, b"".as_slice()));
        let header = |sent: &Sent, name: &str| {
            let found = sent.headers.iter().find(|header| header.0 == name);
            found.map(|header| header.1.clone()).unwrap()
        };
        let received = RECEIVED_AT.to_string();
        for (name, expected) in [
            (header::CODE, "forbidden_id"),
            (header::POINTER, "/anonymous_id"),
            (header::ORIGIN_TOPIC, "t.raw-events"),
            (header::ORIGIN_PARTITION, "7"),
            (header::ORIGIN_OFFSET, "99"),
            (header::ORIGIN_INDEX, "1"),
            (header::STAGE, "ingest"),
            (header::VERSION, env!("CARGO_PKG_VERSION")),
            (header::APP_ID, "app-1"),
            (header::PLATFORM, "android"),
            (header::LIBRARY, "lib"),
            (header::RECEIVED_AT, &received),
        ] {
            assert_eq!(header(&dead[0], name), expected, "{name}");
        }
        assert!(header(&dead[0], header::MESSAGE).contains("placeholder"));
        assert_eq!(
            (header(&dead[1], header::CODE).as_str(), header(&dead[1], header::APP_ID).as_str()),
            ("malformed_json", "")
        );
    }

    #[test]
    fn a_record_of_megabytes_becomes_one_dead_letter_of_the_same_bytes() {
        let large = "x".repeat(3_000_000);
        let (clean, dead) = process(&[record(0, 0, &large)]);
        assert!(clean.is_empty());
        assert_eq!(dead[0].value, large.as_bytes());
    }
}
