//! Blanks the IP addresses of clients in a payload. It reads no JSON, because a rejected payload may be none.

/// The field that the contract has for the address.
const FIELD: &[u8] = b"\"ip\"";

/// The payload with an empty text for every value of `"ip"`, at any depth, be it a text, a number, a list or an object. None when it has no such field.
pub(super) fn without_addresses(payload: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut rest = payload;
    while let Some(place) = rest.windows(FIELD.len()).position(|bytes| bytes == FIELD) {
        let (before, after) = rest.split_at(place + FIELD.len());
        kept.extend_from_slice(before);
        rest = after;
        let value = spaces(rest) + 1 + spaces(rest.get(spaces(rest) + 1..).unwrap_or_default());
        if rest.get(spaces(rest)) != Some(&b':') {
            continue;
        }
        let value_bytes = rest.get(value..).map_or(0, value_bytes);
        if value_bytes > 0 {
            kept.extend_from_slice(&rest[..value]);
            kept.extend_from_slice(b"\"\"");
            rest = &rest[value + value_bytes..];
        }
    }
    if kept.is_empty() {
        return None;
    }
    kept.extend_from_slice(rest);
    Some(kept)
}

fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Length of the value at the start; one that was cut reaches to the end. 0 for `null`, `true` and `false`.
fn value_bytes(bytes: &[u8]) -> usize {
    if bytes.first().is_some_and(|first| first.is_ascii_digit() || b".-+".contains(first)) {
        return bytes.iter().take_while(|byte| byte.is_ascii_digit() || b".-+eE".contains(byte)).count();
    }
    if !bytes.first().is_some_and(|first| b"\"[{".contains(first)) {
        return 0;
    }
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => (),
        }
        if depth == 0 && !is_text {
            return at + 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_blanked_in_whole_cut_and_broken_payloads() {
        for (payload, expected) in [
            (r#"{"ip":"203.0.113.7","a":1}"#, Some(r#"{"ip":"","a":1}"#)),
            (r#"{"a":{"ip" : "::1"}}"#, Some(r#"{"a":{"ip" : ""}}"#)),
            (r#"[{"ip":"1.1.1.1"},{"ip":"2.2.2.2"}]"#, Some(r#"[{"ip":""},{"ip":""}]"#)),
            (r#"{"ip":3405803783}"#, Some(r#"{"ip":""}"#)),
            (r#"{"ip":"a\"b","c":"ip"}"#, Some(r#"{"ip":"","c":"ip"}"#)),
            (r#"{"ip":["203.0.113.7","::1"],"a":1}"#, Some(r#"{"ip":"","a":1}"#)),
            (r#"{"ip":{"v4":"203.0.113.7","a":["}"]},"a":1}"#, Some(r#"{"ip":"","a":1}"#)),
            (r#"{"ip":["203.0.1"#, Some(r#"{"ip":"""#)),
            (r#"{"ip":"203.0.11"#, Some(r#"{"ip":"""#)),
            (r#"{"ip""#, Some(r#"{"ip""#)),
            (r#"{"ip":"#, Some(r#"{"ip":"#)),
            (r#"{"ip":null}"#, Some(r#"{"ip":null}"#)),
            (r#"{"skip":"1"}"#, None),
            ("", None),
        ] {
            let found = without_addresses(payload.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{payload}");
        }
    }
}
