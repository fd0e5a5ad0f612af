//! Records of the shapes that cost most: nested, repeated, escaped, and arrays of events that nothing can be shared between.

/// Bytes of one event.
pub(super) const BYTES: usize = 256 * 1024;
/// Of an array.
const ARRAY_BYTES: usize = 4 * 1024 * 1024;
/// Stands for a value that no other event has.
const UNIQUE: &str = "01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e";
/// Required of every page view.
const PAGE: &str = "\"page\":{\"url\":\"https://www.example.tv/\"}";
/// Stands for the current time, epoch milliseconds.
const NOW: &str = "1772452799000";

/// A kind of record.
pub(super) struct Shape {
    pub(super) name: &'static str,
    template: String,
    /// Elements of an array, or 1.
    pub(super) events: u64,
}

impl Shape {
    fn one(name: &'static str, event: String) -> Self {
        Self { name, template: event, events: 1 }
    }

    /// 500 times the same element, at most 4 MiB.
    fn array(name: &'static str, element: &str) -> Self {
        let count = 500.min(ARRAY_BYTES / (element.len() + 1) - 1);
        Self { name, template: format!("[{}]", vec![element; count].join(",")), events: count as u64 }
    }

    /// A record of this shape. `last` is the number of the last unique value, and is increased.
    pub(super) fn record(&self, now_ms: i64, last: &mut u64) -> String {
        let template = self.template.replace(NOW, &now_ms.to_string());
        let mut record = String::with_capacity(template.len());
        for (index, part) in template.split(UNIQUE).enumerate() {
            if index > 0 {
                *last += 1;
                record.push_str(&format!("0199f0a0-5a3c-7bc8-8def-{last:012x}"));
            }
            record.push_str(part);
        }
        record
    }
}

/// All of them.
pub(super) fn shapes() -> Vec<Shape> {
    let deep = |open: &str, close: &str| {
        let depth = (BYTES - 1000) / (open.len() + close.len());
        event(&format!("\"x\":{}1{}", open.repeat(depth), close.repeat(depth)))
    };
    vec![
        Shape::one("nested arrays", deep("[", "]")),
        Shape::one("nested objects", deep("{\"a\":", "}")),
        Shape::one("arrays that never close", "[".repeat(BYTES)),
        Shape::one("a key that occurs again and again", event(&fill("\"x\":1", BYTES))),
        Shape::one("an escaped key that occurs again and again", event(&fill("\"\\u0061\":1", BYTES))),
        Shape::one("many unknown keys", event(&numbered(|n| format!("\"{n:x}\":1"), BYTES))),
        Shape::one("many unknown keys with escapes", event(&numbered(|n| format!("\"\\n{n:x}\":1"), BYTES))),
        Shape::one(
            "many keys inside an object",
            event(&format!("\"page\":{{{}}}", fill("\"\\n\":1", BYTES))),
        ),
        Shape::one("many short elements", event(&format!("\"x\":[{}]", fill("1", BYTES)))),
        Shape::one(
            "many short tags",
            event(&format!("\"content\":{{\"id\":\"c\",\"tags\":[{}]}}", fill("\"\"", BYTES))),
        ),
        Shape::one(
            "experiments of 32 names",
            event(&format!("\"experiments\":{{{}}}", numbered(|n| format!("\"{}\":\"\"", n % 32), BYTES))),
        ),
        Shape::one("many properties", event(&format!("\"properties\":{{{}}}", fill("\"\":1", BYTES)))),
        Shape::one("a text of escapes", event(&format!("\"user_id\":\"{}\"", "\\n".repeat(BYTES / 2 - 300)))),
        Shape::one(
            "a text of pairs of surrogates",
            event(&format!("\"user_agent\":\"{}\"", "\\ud83d\\ude00".repeat(BYTES / 12 - 100))),
        ),
        Shape::one(
            "a page of escapes",
            event(&format!("\"page\":{{\"url\":\"{}\"}}", "\\u6d3b".repeat(BYTES / 6 - 100))),
        ),
        Shape::one("a number of 10^5 digits", event(&format!("\"event_index\":{}", "9".repeat(100_000)))),
        Shape::one(
            "a time of 10^5 digits",
            event(&format!("\"sent_at\":1.{}e{}", "0".repeat(100_000), "9".repeat(100_000))),
        ),
        Shape::one("an id of dashes", event(&format!("\"anonymous_id\":\"{}\"", "-".repeat(BYTES - 400)))),
        Shape::one("white space", event(&" ".repeat(BYTES - 400))),
        Shape::array(
            "500 bad events with long pointers",
            &format!("{{\"experiments\":{{\"{}\":1}}}}", "\\u6d3b".repeat(1300)),
        ),
        Shape::array("500 events of duplicate keys", &format!("{{{}}}", fill("\"\\u0061\":1", 8000))),
        Shape::array(
            "500 events with long texts",
            &event(&format!("\"user_agent\":\"{}\"", "\\u6d3b".repeat(1200))),
        ),
        Shape::array("500 new devices", &visitor(PAGE)),
        Shape::array(
            "500 new devices with user agents of their own",
            &visitor(&format!(
                "{PAGE},\"user_agent\":\"Mozilla/5.0 (Linux; Android 14; {UNIQUE}) {}\"",
                "Like ".repeat(190)
            )),
        ),
        Shape::array(
            "500 new devices with addresses and referrers of their own",
            &visitor(&format!(
                "\"page\":{{\"url\":\"https://www.example.tv/?utm_source={UNIQUE}&{}\",\"referrer\":\"https://{UNIQUE}.example/{}\"}}",
                "a=%41&".repeat(300),
                "%2541/".repeat(300)
            )),
        ),
        Shape::array(
            "500 events with 20 tags and 32 experiments of their own",
            &visitor(&format!(
                "{PAGE},\"content\":{{\"id\":\"{UNIQUE}\",\"tags\":[{}]}},\"experiments\":{{{}}}",
                numbered_up_to(20, |_| format!("\"{UNIQUE}\"")),
                numbered_up_to(32, |n| format!("\"e{n}\":\"{UNIQUE}\"")),
            )),
        ),
    ]
}

/// A valid event of a visitor whom nobody has seen before, with more members.
fn visitor(members: &str) -> String {
    format!(
        "{{\"schema_version\":\"1-0-0\",\"event_id\":\"{UNIQUE}\",\"event_name\":\"page_view\",\"app_id\":\"web-main\",\
         \"platform\":\"h5\",\"anonymous_id\":\"{UNIQUE}\",\"original_timestamp\":{NOW},\
         \"library\":{{\"name\":\"l\",\"version\":\"1\"}},{members}}}"
    )
}

/// A valid event with more members.
fn event(members: &str) -> String {
    format!(
        "{{\"schema_version\":\"1-0-0\",\"event_id\":\"{UNIQUE}\",\"event_name\":\"search\",\
         \"app_id\":\"web-main\",\"platform\":\"server\",\"original_timestamp\":{NOW},\
         \"library\":{{\"name\":\"l\",\"version\":\"1\"}},{members}}}"
    )
}

/// The same member again and again, nearly `bytes` long.
fn fill(member: &str, bytes: usize) -> String {
    vec![member; (bytes - 400) / (member.len() + 1)].join(",")
}

/// `count` members made from numbers.
fn numbered_up_to(count: usize, member: impl Fn(usize) -> String) -> String {
    (0..count).map(member).collect::<Vec<_>>().join(",")
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
