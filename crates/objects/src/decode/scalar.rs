//! The texts that carry more than text: times, quantities, base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

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

/// A quantity such as `100m`, `1.5Gi` or `1e3`: digits, an optional fraction, a suffix of the API's list. Returned as
/// given: upstream also rewrites some (`1000m` to `1`), which we do for whole thousands of `m`.
pub fn quantity(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let digits = number.chars().filter(char::is_ascii_digit).count();
    if digits == 0 || number.matches('.').count() > 1 || !known_suffix(suffix) {
        return None;
    }
    let whole = suffix == "m" && !number.contains('.') && number.ends_with("000");
    Some(match text.strip_suffix("000m") {
        Some("") | None => text.to_owned(),
        Some(thousands) if whole => thousands.to_owned(),
        Some(_) => text.to_owned(),
    })
}

fn known_suffix(suffix: &str) -> bool {
    const SUFFIXES: &[&str] =
        &["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if SUFFIXES.contains(&suffix) {
        return true;
    }
    let Some(exponent) = suffix.strip_prefix(['e', 'E']) else { return false };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
}
