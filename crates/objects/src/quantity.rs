//! Amounts with units: `100m`, `1.5Gi`, `1e3` (`apimachinery/pkg/api/resource`).
//!
//! Read exactly, down to billionths (finer ones are rounded up, as upstream does), and written in the API's canonical form, so that
//! amounts compare however they were spelt.

use std::cmp::Ordering;
use std::fmt;

/// How an amount was spelt, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, `k`, `M`, …
    Decimal,
    /// `e3`
    Exponent,
}

/// An amount.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Billionths.
    nano: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;
/// No amount is larger: upstream caps at 2^63 - 1.
const MAX: i128 = (i64::MAX as i128) * NANO;
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Reads an amount; none if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (format, factor) = unit(suffix)?;
        let magnitude = scaled(whole, fraction, factor).min(MAX);
        Some(Self { nano: if negative { -magnitude } else { magnitude }, format })
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    fn binary(&self) -> Option<String> {
        let whole = self.nano / NANO;
        if self.nano % NANO != 0 || whole.abs() < 1024 {
            return None;
        }
        let (mut amount, mut unit) = (whole, 0);
        while amount % 1024 == 0 && unit + 1 < BINARY.len() {
            amount /= 1024;
            unit += 1;
        }
        Some(format!("{amount}{}", BINARY[unit]))
    }

    /// Mantissa and index of the power of a thousand, from billionths up.
    fn decimal(&self) -> (i128, usize) {
        let (mut amount, mut unit) = (self.nano, 0);
        while amount % 1000 == 0 && unit + 1 < DECIMAL.len() {
            amount /= 1000;
            unit += 1;
        }
        (amount, unit)
    }
}

/// Format and factor of a suffix; the factor is a ratio in billionths, or a power of ten.
enum Factor {
    Nano(i128),
    Ten(i32),
}

fn unit(suffix: &str) -> Option<(Format, Factor)> {
    if let Some(power) = BINARY[1..].iter().position(|unit| *unit == suffix) {
        return Some((Format::Binary, Factor::Nano(NANO << (10 * (power + 1)))));
    }
    if let Some(power) = DECIMAL.iter().position(|unit| *unit == suffix) {
        return Some((Format::Decimal, Factor::Ten(3 * i32::try_from(power).ok()? - 9)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let plain = !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| exponent.parse().ok().map(|power| (Format::Exponent, Factor::Ten(power))))?
}

/// Digits before and after the point, times the factor, in billionths, rounded up; saturates.
fn scaled(whole: &str, fraction: &str, factor: Factor) -> i128 {
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let digits = digits.trim_start_matches('0');
    let places = i32::try_from(fraction.trim_end_matches('0').len()).unwrap_or(i32::MAX);
    let (multiplier, power) = match factor {
        Factor::Nano(multiplier) => (multiplier, -places),
        Factor::Ten(power) => (1, (power + 9).saturating_sub(places)),
    };
    if digits.is_empty() {
        return 0;
    }
    // Longer numbers are beyond the largest amount, or beyond billionths.
    let Ok(mantissa) = digits.parse::<i128>() else { return if power < -18 { 1 } else { MAX } };
    let Some(product) = mantissa.checked_mul(multiplier) else { return MAX };
    match power {
        0.. => ten(power).and_then(|ten| product.checked_mul(ten)).unwrap_or(MAX),
        _ => match ten(-power) {
            Some(ten) => product / ten + i128::from(product % ten != 0),
            None => 1,
        },
    }
}

fn ten(power: i32) -> Option<i128> {
    10i128.checked_pow(u32::try_from(power).ok()?)
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return out.write_str("0");
        }
        if self.format == Format::Binary
            && let Some(text) = self.binary()
        {
            return out.write_str(&text);
        }
        let (amount, unit) = self.decimal();
        match (self.format, unit) {
            (Format::Exponent, 3) => write!(out, "{amount}"),
            (Format::Exponent, unit) => write!(out, "{amount}e{}", 3 * i64::try_from(unit).unwrap_or(0) - 9),
            _ => write!(out, "{amount}{}", DECIMAL[unit]),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_canonical_form() {
        let cases = [
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("64Mi", "64Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("128974848", "128974848"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("100e-3", "100e-3"),
            ("-1", "-1"),
            ("+1", "1"),
            ("00.50", "500m"),
            ("0", "0"),
            ("0Mi", "0"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            (".5", "500m"),
            ("5.", "5"),
            ("1E", "1E"),
            ("100E", "9223372036854775807"),
        ];
        for (text, canonical) in cases {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", ".", "1.2.3", "1Q", "Ki", "1e", "e3", "1 Mi", "--1", "1mm", "0x10", "1e9999"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn amounts_compare_however_they_are_spelt() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!(parse("1Gi"), parse("1073741824"));
        assert!(parse("999m") < parse("1") && parse("1M") < parse("1Mi") && parse("-1") < parse("0"));
        assert!(parse("99999999999999999999999999999999999999999999e99") > parse("8E"));
    }
}
