//! Measures the most that a record can cost ingest: `cargo run --release -p ingest --example hostile_rate`.
//!
//! Prints milliseconds for each record of a list of hostile shapes of 256 KiB (arrays of bad events: of 4 MiB), the fastest
//! of several rounds, and exits with 1 if a record costs more than 20 ms for each 256 KiB.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
use event::{BatchBuilder, KeptBytes, Verdict};
use ingest::{EventPolicy, KeyOrder, RecordOrigin, decide, encode};
use std::{
    convert::Infallible,
    hint::black_box,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

const RECEIVED_AT: i64 = 1_772_452_800_000;
/// Of one event.
const BYTES: usize = 256 * 1024;
/// Of an array.
const ARRAY_BYTES: usize = 4 * 1024 * 1024;
/// For each 256 KiB.
const MOST: Duration = Duration::from_millis(20);
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let policy = EventPolicy::new([], false, Duration::from_secs(7 * 86_400));
    let mut out = std::io::stdout().lock();
    let mut is_bounded = true;
    for (name, record) in shapes() {
        let fastest = (0..ROUNDS).map(|_| settle(record.as_bytes(), &policy)).min().unwrap_or_default();
        is_bounded &= fastest <= MOST * record.len().div_ceil(BYTES) as u32;
        let line = writeln!(out, "{:7.2} ms  {:8} bytes  {name}", fastest.as_secs_f64() * 1e3, record.len());
        if line.is_err() {
            return ExitCode::FAILURE;
        }
    }
    if is_bounded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Decides about a record, and does what the stage does with each decision.
fn settle(record: &[u8], policy: &EventPolicy) -> Duration {
    let started = Instant::now();
    let mut batch = BatchBuilder::default();
    let Ok(()) = decide(Some(record), RECEIVED_AT, policy, &mut KeyOrder::default(), |decision| {
        match &decision.verdict {
            Verdict::Emit(validated) => {
                let origin =
                    RecordOrigin { partition: 0, offset: 0, index: decision.index, received_at: RECEIVED_AT };
                encode(decision.event, validated, origin, &mut batch);
            }
            Verdict::Reject(rejection) => {
                let event = decision.event;
                black_box((rejection, event.app_id(), event.platform(), event.library()));
                black_box(KeptBytes::of_element(Some(b"key"), decision.bytes));
            }
        }
        Ok::<_, Infallible>(())
    });
    black_box(batch.finish());
    started.elapsed()
}

fn shapes() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str| {
        let depth = (BYTES - 1000) / (open.len() + close.len());
        event(&format!("\"x\":{}1{}", open.repeat(depth), close.repeat(depth)))
    };
    vec![
        ("nested arrays", deep("[", "]")),
        ("nested objects", deep("{\"a\":", "}")),
        ("arrays that never close", "[".repeat(BYTES)),
        ("a key that occurs again and again", event(&fill("\"x\":1", BYTES))),
        ("an escaped key that occurs again and again", event(&fill("\"\\u0061\":1", BYTES))),
        ("many unknown keys", event(&numbered(|n| format!("\"{n:x}\":1"), BYTES))),
        ("many unknown keys with escapes", event(&numbered(|n| format!("\"\\n{n:x}\":1"), BYTES))),
        ("many keys inside an object", event(&format!("\"page\":{{{}}}", fill("\"\\n\":1", BYTES)))),
        ("many short elements", event(&format!("\"x\":[{}]", fill("1", BYTES)))),
        (
            "many short tags",
            event(&format!("\"content\":{{\"id\":\"c\",\"tags\":[{}]}}", fill("\"\"", BYTES))),
        ),
        (
            "experiments of 32 names",
            event(&format!("\"experiments\":{{{}}}", numbered(|n| format!("\"{}\":\"\"", n % 32), BYTES))),
        ),
        ("many properties", event(&format!("\"properties\":{{{}}}", fill("\"\":1", BYTES)))),
        ("a text of escapes", event(&format!("\"user_id\":\"{}\"", "\\n".repeat(BYTES / 2 - 300)))),
        (
            "a text of pairs of surrogates",
            event(&format!("\"user_agent\":\"{}\"", "\\ud83d\\ude00".repeat(BYTES / 12 - 100))),
        ),
        (
            "a page of escapes",
            event(&format!("\"page\":{{\"url\":\"{}\"}}", "\\u6d3b".repeat(BYTES / 6 - 100))),
        ),
        ("a number of 10^5 digits", event(&format!("\"event_index\":{}", "9".repeat(100_000)))),
        (
            "a time of 10^5 digits",
            event(&format!("\"sent_at\":1.{}e{}", "0".repeat(100_000), "9".repeat(100_000))),
        ),
        ("an id of dashes", event(&format!("\"anonymous_id\":\"{}\"", "-".repeat(BYTES - 400)))),
        ("white space", event(&" ".repeat(BYTES - 400))),
        (
            "500 bad events with long pointers",
            array(&format!("{{\"experiments\":{{\"{}\":1}}}}", "\\u6d3b".repeat(1300))),
        ),
        ("500 events of duplicate keys", array(&format!("{{{}}}", fill("\"\\u0061\":1", 8000)))),
        (
            "500 events with long texts",
            array(&event(&format!("\"user_agent\":\"{}\"", "\\u6d3b".repeat(1200)))),
        ),
    ]
}

/// A valid event with more members.
fn event(members: &str) -> String {
    format!(
        "{{\"schema_version\":\"1-0-0\",\"event_id\":\"01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e\",\"event_name\":\"search\",\
         \"app_id\":\"web-main\",\"platform\":\"server\",\"original_timestamp\":1772452799000,\
         \"library\":{{\"name\":\"l\",\"version\":\"1\"}},{members}}}"
    )
}

/// 500 times the same element, at most 4 MiB.
fn array(element: &str) -> String {
    let count = 500.min(ARRAY_BYTES / (element.len() + 1) - 1);
    format!("[{}]", vec![element; count].join(","))
}

/// The same member again and again, nearly `bytes` long.
fn fill(member: &str, bytes: usize) -> String {
    vec![member; (bytes - 400) / (member.len() + 1)].join(",")
}

/// Members made from numbers, nearly `bytes` long.
fn numbered(member: impl Fn(usize) -> String, bytes: usize) -> String {
    let mut text = String::new();
    for number in 0.. {
        let next = member(number);
        if text.len() + next.len() + 400 > bytes {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text.push_str(&next);
    }
    text
}
