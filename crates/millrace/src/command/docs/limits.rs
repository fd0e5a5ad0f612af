//! The limits of the raw event in Markdown.
use event::{DeadLetterLimits, FIELD_LIMITS, FieldLimit, Limits};

use super::markdown::{MarkdownTable, code};

/// The section about all limits.
pub(super) fn section() -> String {
    let size = |bytes: usize| {
        if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
    };
    let mut text = format!(
        "## Limits\n\nA text above its limit, or a number outside its range, rejects the event as `invalid_value`. Texts that clients \
         do not choose are cut instead: the event is accepted, and `millrace_ingest_truncated_total` counts it by field. \
         Characters are Unicode code points.\n\nAn event has at most {}, an array at most {} and {} events, all before \
         compression. A dead letter keeps the first {} of the key, and the whole value up to {}: of a larger one it keeps the \
         first {}, with its length and SHA-256 as headers. `properties` has at most {} keys and {}, and nothing in an event \
         nests deeper than {}. A dimension out of `properties` is cut to {} characters.\n\n",
        size(Limits::EVENT_BYTES),
        size(Limits::ARRAY_BYTES),
        Limits::ARRAY_EVENTS,
        size(DeadLetterLimits::KEY_BYTES),
        size(DeadLetterLimits::VALUE_BYTES),
        size(DeadLetterLimits::CUT_VALUE_BYTES),
        Limits::PROPERTIES_KEYS,
        size(Limits::PROPERTIES_BYTES),
        Limits::DEPTH,
        Limits::PROPERTY_CHARACTERS,
    );
    let mut table = MarkdownTable::new(&["field", "limit"]);
    for &(pointer, limit) in FIELD_LIMITS {
        let words = match limit {
            FieldLimit::Characters(most) => format!("{most} characters"),
            FieldLimit::CutCharacters(most) => format!("cut to {most} characters"),
            FieldLimit::WholeNumber(least, most) => format!("{least} to {most}"),
        };
        table.row([code(&pointer.trim_start_matches('/').replace('/', ".")), words]);
    }
    let (tags, experiments) = (Limits::TAGS, Limits::EXPERIMENTS);
    table.row([code("content.tags"), format!("{tags} tags of {} characters", Limits::TAG_CHARACTERS)]);
    let characters = Limits::EXPERIMENT_CHARACTERS;
    table.row([code("experiments"), format!("{experiments} names and variants of {characters} characters")]);
    text += &table.text;
    text
}
