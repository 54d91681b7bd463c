//! Durations as Go writes them, `1m30s`, `500ms`; a bare `0` is none.

use std::time::Duration;

use super::failure::Failure;

/// Parses a duration; `None` for a negative one, which kubectl takes as "a very long time".
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, Failure> {
    let negative = text.starts_with('-');
    let unsigned = text.trim_start_matches(['-', '+']);
    let seconds = seconds(unsigned).ok_or_else(|| {
        Failure::usage(format!(
            "invalid duration {text:?}: write a number with a unit (ms, s, m, h), such as 30s or 1m30s"
        ))
    })?;
    Ok((!negative).then(|| Duration::from_secs_f64(seconds)))
}

fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = after.find(|next: char| next.is_ascii_digit()).unwrap_or(after.len());
        total += value
            * match &after[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &after[unit..];
    }
    (!text.is_empty() && total.is_finite() && total < 1e9).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            ("30s", Some(30.0)),
            ("1m30s", Some(90.0)),
            ("1.5h", Some(5400.0)),
            ("250ms", Some(0.25)),
            ("0", Some(0.0)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), expected.map(Duration::from_secs_f64), "{text}");
        }
        assert_eq!(parse("-1s").unwrap(), None);
        for bad in ["", "5", "s", "1x", "1m 2s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
