//! The texts that carry more than text: times, quantities, base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::quantity::Quantity;

/// What upstream says about any text that is no quantity.
pub(super) const QUANTITY_SYNTAX: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        format!(
            "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
        )
    })
}

/// RFC 3339 in UTC and whole seconds.
pub(super) fn time(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(instant(text)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// RFC 3339 in UTC with six digits of a second.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(instant(text)?.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// Base64 with padding, as given.
pub(super) fn base64(text: &str) -> Result<String, String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match STANDARD.decode(&plain) {
        Ok(_) => Ok(plain),
        Err(error) => Err(format!("illegal base64 data at input byte {}", offset(&error, plain.len()))),
    }
}

fn offset(error: &base64::DecodeError, length: usize) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        _ => length,
    }
}

/// An amount with a unit in canonical form; none if the text is not one.
pub fn quantity(text: &str) -> Option<String> {
    Quantity::parse(text).map(|quantity| quantity.to_string())
}
