//! JSON that is printed inside a line of JSON.
use serde_json::{Value, value::RawValue};

/// The same JSON on one line. None when the text is not JSON, or when common readers would reject the whole line because
/// of it: nested too deep, a lone surrogate, a number out of range.
pub(crate) fn embedded(text: &str) -> Option<Box<RawValue>> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    // One level deeper, as it is in the line.
    serde_json::from_str::<Value>(&format!("[{text}]")).ok()?;
    // JSON allows line breaks between tokens only, where a space means the same.
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_readers_would_reject_is_not_embedded() {
        for text in ["[".repeat(127) + &"]".repeat(127), r#""\ud800""#.into(), "1e999".into(), "1],[2".into()]
        {
            assert!(embedded(&text).is_none(), "{text}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(embedded(&deep).unwrap().get(), deep);
    }
}
