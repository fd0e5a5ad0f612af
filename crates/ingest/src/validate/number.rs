//! Whole numbers. They must be written as one: `1.0` and `1e3` are rejected.
use event::{RejectCode, Rejection};

use crate::{
    contract::ContractField,
    json::JsonValue,
    rejection::{quoted_digits, wrong_type},
};

/// Reads a whole number from `least` to `most`. A number in the range but above `i64::MAX` is read as `i64::MAX`.
pub(super) fn whole(
    field: &ContractField,
    value: &JsonValue<'_>,
    least: i128,
    most: i128,
) -> Result<i64, Rejection> {
    let JsonValue::Number(digits) = value else {
        return Err(wrong_type(field.pointer, value, "a whole number"));
    };
    if digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        let sent = quoted_digits(digits);
        let message = format!("{} is {sent}: send a whole number, without point or exponent", field.pointer);
        return Err(Rejection::new(RejectCode::InvalidType, field.pointer, message));
    }
    if let Ok(number) = digits.parse::<i64>()
        && (least..=most).contains(&i128::from(number))
    {
        return Ok(number);
    }
    match digits.parse::<i128>() {
        Ok(number) if (least..=most).contains(&number) => Ok(i64::MAX),
        _ => {
            let sent = quoted_digits(digits);
            let message = format!("{} is {sent}: send a whole number from {least} to {most}", field.pointer);
            Err(Rejection::new(RejectCode::InvalidValue, field.pointer, message))
        }
    }
}
