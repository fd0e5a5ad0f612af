//! How long one event takes: `cargo run --release -p ingest --example parse_rate`. Prints nanoseconds per event for
//! deciding alone, and for deciding and encoding into batches: the fastest of 40 rounds, or of as many as the first
//! argument says.
use event::{BatchBuilder, Verdict};
use ingest::{Origin, Rules, decide, encode, partition};
use std::{
    convert::Infallible,
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

const RECEIVED_AT: i64 = 1_772_452_800_000;
const PARTITIONS: u32 = 8;
const EVENTS: usize = 5_000;
const ROUNDS: usize = 40;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let arrays: Vec<String> = events.chunks(50).map(|chunk| format!("[{}]", chunk.join(","))).collect();
    let rules =
        Rules::new(["web-main".to_owned(), "app-main".to_owned()], false, Duration::from_secs(7 * 86_400));
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let bytes: usize = events.iter().map(String::len).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} bytes per event", bytes / events.len())?;
    for (name, records) in [("one per record", &events), ("fifty per record", &arrays)] {
        let deciding = fastest(rounds, || decide_all(records, &rules));
        let encoding = fastest(rounds, || encode_all(records, &rules));
        writeln!(out, "{name}: decide {deciding} ns, decide and encode {encoding} ns")?;
    }
    Ok(())
}

fn fastest(rounds: usize, mut round: impl FnMut() -> usize) -> u128 {
    let times = (0..rounds).map(|_| {
        let started = Instant::now();
        let settled = round();
        (started.elapsed() / settled.max(1) as u32).as_nanos()
    });
    times.min().unwrap_or(0)
}

fn decide_all(records: &[String], rules: &Rules) -> usize {
    let mut emitted = 0;
    for record in records {
        let Ok(()) = decide(Some(record.as_bytes()), RECEIVED_AT, rules, |decision| {
            emitted += usize::from(matches!(decision.verdict, Verdict::Emit(_)));
            Ok::<_, Infallible>(())
        });
    }
    emitted
}

fn encode_all(records: &[String], rules: &Rules) -> usize {
    let mut batches = vec![BatchBuilder::default(); PARTITIONS as usize];
    let (mut emitted, mut key) = (0, Vec::new());
    for (offset, record) in records.iter().enumerate() {
        let Ok(()) = decide(Some(record.as_bytes()), RECEIVED_AT, rules, |decision| {
            if let Verdict::Emit(facts) = &decision.verdict {
                let batch = &mut batches[partition(decision.event, facts, PARTITIONS, &mut key) as usize];
                let origin = Origin {
                    partition: 0,
                    offset: offset as i64,
                    index: decision.index,
                    received_at: RECEIVED_AT,
                };
                encode(decision.event, facts, origin, batch);
                if batch.is_full() {
                    black_box(batch.finish());
                }
                emitted += 1;
            }
            Ok::<_, Infallible>(())
        });
    }
    emitted
}

/// Events as browsers and apps send them: about 700 bytes, half page views, half playback.
fn event(number: usize) -> String {
    let device = number % 700;
    let time = RECEIVED_AT - 2_000 - (number as i64 % 900);
    if number.is_multiple_of(2) {
        format!(
            r#"{{"schema_version":"1-0-0","event_id":"01957b6e-5a3c-7d21-9c40-{number:012x}","event_name":"page_view","app_id":"web-main","platform":"web","original_timestamp":"2026-03-02T11:59:58.{:03}Z","sent_at":"2026-03-02T11:59:59Z","anonymous_id":"b0c6f2a4-8f1e-4a57-9d1b-{device:012x}","session_id":"s-{device}","event_index":{number},"locale":"zh-CN","timezone":"Asia/Shanghai","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36","page":{{"url":"https://www.example.com/play/{}?utm_source=weibo&utm_medium=social","path":"/play/{}","title":"作品 {}","referrer":"https://www.baidu.com/","page_type":"play"}},"properties":{{"button":"record","fps":60,"dark":true}},"library":{{"name":"millrace-js","version":"2.3.0"}}}}"#,
            number % 1000,
            number % 500,
            number % 500,
            number % 500,
        )
    } else {
        format!(
            r#"{{"schema_version":"1-0-0","event_id":"01957b6e-5a3c-7d21-9c41-{number:012x}","event_name":"playback_ping","app_id":"app-main","platform":"android","app_version":"7.4.1","original_timestamp":{time},"sent_at":{},"anonymous_id":"a-{device:032x}","user_id":"u-{device}","session_id":"s-{device}","event_index":{number},"device":{{"manufacturer":"Xiaomi","model":"2211133C","type":"phone","os_name":"Android","os_version":"14","screen_width":1080,"screen_height":2400,"network_type":"wifi"}},"install_source":"huawei","content":{{"id":"c-{}","type":"video","author_id":"u-{}","producer_type":"ugc","category":"music","tags":["music","live"],"duration_ms":215000}},"playback":{{"id":"p-{device}-{}","state":"playing","position_ms":{},"played_ms":10000,"quality":"1080p"}},"library":{{"name":"millrace-android","version":"4.0.2"}}}}"#,
            time + 900,
            number % 500,
            number % 90,
            number / 20,
            number * 10,
        )
    }
}
