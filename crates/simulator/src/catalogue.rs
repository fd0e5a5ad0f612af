//! Published videos. Their JSON is written once at the start, because popular videos are sent many times.

use crate::clock::Timing;
use crate::config::Config;
use crate::dice::Dice;
use crate::json_text::text;
use crate::tables::{CATEGORIES, TAGS};

const VIDEO: u64 = 2;

pub(crate) struct Video {
    /// The members of `content`, without braces.
    pub(crate) json: Box<[u8]>,
    pub(crate) duration_ms: u32,
    pub(crate) tag: &'static str,
}

/// All videos of a seed. They are published before the end of the span, or before `EPOCH_MS` without a span.
pub(crate) fn videos(config: &Config) -> Vec<Video> {
    let newest_ms = match config.timing {
        Timing::Now => EPOCH_MS,
        Timing::Span { end_ms, .. } => end_ms,
    };
    (0..config.contents.max(1)).map(|number| video(config.seed, number, newest_ms)).collect()
}

/// 2026-01-01T00:00:00Z: the newest publication time with live traffic. It is constant so that the videos do not
/// depend on the current time.
const EPOCH_MS: i64 = 1_767_225_600_000;

fn video(seed: u64, number: u32, newest_ms: i64) -> Video {
    let mut dice = Dice::of(seed, VIDEO, number);
    let duration_ms = dice.spread(15_000, 3_600_000) as u32;
    let id = format!("v{:08x}", (dice.bits() as u32) & !0xff | (number & 0xff));
    let producer = dice.weighted(&[("ugc", 66), ("pugc", 24), ("pgc", 10)]);
    let source = dice.weighted(&[("web_upload", 38), ("mobile_recorder", 36), ("pc_recorder", 26)]);
    let tag = dice.pick(&TAGS);

    let mut json = Vec::with_capacity(256);
    text(&mut json, "\"id\":\"", &id);
    text(&mut json, "\",\"type\":\"", dice.weighted(&[("video", 86), ("live", 6), ("short", 8)]));
    text(&mut json, "\",\"source\":\"", source);
    text(&mut json, "\",\"author_id\":\"u", &format!("{:07}", dice.below(200_000)));
    text(&mut json, "\",\"producer_type\":\"", producer);
    text(&mut json, "\",\"category\":\"", dice.weighted(&CATEGORIES));
    text(&mut json, "\",\"tags\":[\"", tag);
    for _ in 0..dice.below(4) {
        text(&mut json, "\",\"", dice.pick(&TAGS));
    }
    text(&mut json, "\"],\"duration_ms\":", &duration_ms.to_string());
    let published = newest_ms - dice.spread(60_000, 400 * 86_400_000);
    text(&mut json, ",\"published_at\":", &published.to_string());
    Video { json: json.into_boxed_slice(), duration_ms, tag }
}
