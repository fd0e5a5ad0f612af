//! The stage with an output in memory: what it writes for batches, and for messages that are none.
use super::*;
use event::{BatchBuilder, Field, StageLimits, header};
use runtime::stage::Recorder;

use crate::channel::BUILT_IN;

const PARTITION: i32 = 5;

fn stage() -> EnrichStage {
    let settings = runtime::config::load_from(None, []).unwrap();
    let inputs = WorkerInputs {
        identity: IdentityKey::new("secret"),
        rules: Arc::new(ChannelRules::parse(BUILT_IN, &[]).unwrap()),
        registry: Registry::default(),
        definitions: Arc::new(Definitions::default()),
        days: BusinessDays::new("Asia/Shanghai").unwrap(),
        agents: UserAgents::default(),
        dead_letters: DeadLetters { topic: "dead".into(), partitions: 3, origin: "clean".into() },
        raw_looks: RawLooks::default(),
        health: Health::default(),
    };
    let mut stage = EnrichStage::new(&settings, inputs, 0);
    stage.assigned(PARTITION);
    stage
}

fn record(offset: i64, value: Option<&[u8]>) -> Record<'_> {
    Record { partition: PARTITION, offset, timestamp_ms: 1_772_380_800_000, key: Some(b"k"), value }
}

/// Processes one record and commits.
fn process(stage: &mut EnrichStage, record: Record<'_>) -> Recorder {
    let mut output = Recorder::default();
    stage.process(&[record], &mut output).unwrap();
    stage.committed();
    output
}

/// A batch of events of devices 0 to 99, each in its session, with a campaign of this many characters.
fn batch(first_id: u128, campaign: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for device in 0..100_u128 {
        let time_ms = 1_772_380_800_000 + (first_id + device) as i64;
        for (field, text) in
            [(Field::AppId, "web-main"), (Field::Kind, "event"), (Field::EventName, "page_view")]
        {
            builder.text(field, text);
        }
        builder.text(Field::AnonymousId, &format!("d{device}"));
        builder.text(Field::CampaignName, &format!("{device:03}").repeat(campaign / 3));
        builder.uuid(Field::EventId, first_id + device);
        builder.number(Field::EventTime, time_ms);
        builder.number(Field::ReceivedAt, time_ms);
        builder.end_row();
    }
    builder.finish()
}

/// A window that was cut instead had nearly no events, and let 23 duplicates of an overloaded run through.
#[test]
fn a_partition_whose_window_no_longer_fits_is_restored() {
    let mut stage = stage();
    stage.budget = MemoryBudget::of_worker(4 << 20, 1);
    stage.divide_memory();
    stage.to_restore.clear();
    for number in 0..30 {
        process(&mut stage, record(number, Some(&batch(number as u128 * 100, 3))));
    }
    assert_eq!(stage.partitions[&PARTITION].window.len(), 3_000);
    stage.assigned(PARTITION + 1);
    assert_eq!(stage.to_restore, BTreeSet::from([PARTITION, PARTITION + 1]));
    assert_eq!(stage.partitions[&PARTITION].window.len(), 0);
}

/// 31 KB of plain events became 24 MB, because each got the campaign of its session.
#[test]
fn plain_events_of_visitors_with_huge_campaigns_stay_small() {
    let mut stage = stage();
    let first = process(&mut stage, record(0, Some(&batch(1, 240_000))));
    let largest = |output: &Recorder| output.sent.iter().map(|sent| sent.value.len()).max().unwrap();
    // Each row carries 240 KB of its own, so four of them fill a message.
    assert!(largest(&first) <= StageLimits::MESSAGE_BYTES, "{}", largest(&first));
    let plain = batch(1_000, 0);
    let second = process(&mut stage, record(1, Some(&plain)));
    let bytes: usize = second.sent.iter().map(|sent| sent.value.len()).sum();
    assert!(plain.len() < 32_000 && bytes < 100_000, "{} bytes become {bytes}", plain.len());
    let enriched = Batch::decode(&second.sent[0].value).unwrap();
    assert_eq!(enriched.text(Field::ChannelCampaign, 99).len(), 256);
}

#[test]
fn a_message_that_is_no_batch_is_a_dead_letter_with_its_origin() {
    let mut stage = stage();
    let long = vec![b'x'; 2_000_000];
    for (offset, value, kept) in
        [(7, None, 0), (8, Some(&b""[..]), 0), (9, Some(b"{\"event_id\":1}"), 14), (10, Some(&long), 65_536)]
    {
        let output = process(&mut stage, record(offset, value));
        let [letter] = &output.sent[..] else { panic!("{:?}", output.sent) };
        let header = |name: &str| {
            letter.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
        };
        assert_eq!((letter.topic.as_str(), letter.value.len()), ("dead", kept), "{offset}");
        assert_eq!(letter.partition, PARTITION % 3, "the topic has fewer partitions than the input");
        assert_eq!((header(header::CODE), header(header::STAGE)), ("enrichment_error", "enrich"));
        assert_eq!((header(header::ORIGIN_TOPIC), header(header::ORIGIN_PARTITION)), ("clean", "5"));
        assert_eq!(header(header::ORIGIN_OFFSET), offset.to_string());
        let truncated = if kept == 65_536 { ("1", "2000000") } else { ("", "") };
        assert_eq!((header(header::VALUE_TRUNCATED), header(header::VALUE_BYTES)), truncated);
        let counts = output.counts[&PARTITION];
        assert_eq!((counts.events, counts.rejected, counts.emitted), (1, 1, 0));
    }
}

#[test]
fn a_batch_of_a_newer_program_ends_the_stage_and_says_where() {
    let error =
        stage().process(&[record(7, Some(b"\x08\x03\x10\x01"))], &mut Recorder::default()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("clean-events/5 offset 7") && error.contains("upgrade this program"), "{error}");
}

#[test]
fn a_record_of_a_partition_without_state_is_an_error() {
    let value = batch(1, 0);
    let other = Record { partition: 6, ..record(7, Some(&value)) };
    let error = stage().process(&[other], &mut Recorder::default()).unwrap_err().to_string();
    assert!(error.contains("record 7 of partition 6"), "{error}");
}
