//! Which plain texts YAML 1.1 would read back as something other than a string, by go-yaml v2's table.

/// Whether the text, unquoted, would be read as null, bool, number, timestamp or base-60 number.
pub(crate) fn is_other_type(text: &str) -> bool {
    is_word(text) || is_number(text) || is_timestamp(text) || is_base60(text)
}

fn is_word(text: &str) -> bool {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return is_uniform_case(text);
    }
    matches!(text, "" | "~" | "null" | "Null" | "NULL" | ".nan" | ".NaN" | ".NAN")
        || matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF") && text.len() <= 5
}

/// `true`, `True` or `TRUE`, but not `tRue`.
fn is_uniform_case(text: &str) -> bool {
    let rest = text.get(1..).unwrap_or_default();
    let first_upper = text.starts_with(|first: char| first.is_ascii_uppercase());
    rest.chars().all(|c| c.is_ascii_lowercase())
        || first_upper && rest.chars().all(|c| c.is_ascii_uppercase())
}

fn is_number(text: &str) -> bool {
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return false;
    }
    let compact: String = text.chars().filter(|character| *character != '_').collect();
    let unsigned = compact.strip_prefix(['+', '-']).unwrap_or(&compact);
    is_integer(unsigned) || is_float(&compact)
}

/// Go's `strconv.ParseInt(text, 0, 64)`: decimal, or a base by its prefix, of at most 64 bits.
fn is_integer(unsigned: &str) -> bool {
    let lower = unsigned.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) && u64::from_str_radix(digits, radix).is_ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// `2006-1-2`, or with a time after `T`, `t` or a space.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let numbers: Vec<&str> = date.split('-').collect();
    let [year, month, day] = numbers.as_slice() else { return false };
    let within = |text: &str, range: std::ops::RangeInclusive<u32>| {
        (1..=2).contains(&text.len()) && text.parse().is_ok_and(|number| range.contains(&number))
    };
    let date_ok = year.len() == 4
        && year.bytes().all(|b| b.is_ascii_digit())
        && within(month, 1..=12)
        && within(day, 1..=31);
    date_ok && time.is_none_or(|(separator, time)| is_clock(time, separator != " "))
}

fn is_clock(time: &str, zone_required: bool) -> bool {
    let clock_end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(clock_end);
    let zone_ok = match zone {
        "" => !zone_required,
        "Z" => zone_required,
        offset => zone_required && offset.len() == 6 && offset.as_bytes()[3] == b':',
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return false };
    let two = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let second = second.split_once('.').map_or(*second, |(whole, _)| whole);
    zone_ok && two(hour) && two(minute) && two(second)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: a number only for YAML 1.1, so quoted for old readers.
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = unsigned.split_once('.').map_or(unsigned, |(whole, fraction)| {
        if fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') { whole } else { "" }
    });
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let first_ok = first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let rest: Vec<&str> = parts.collect();
    let sexagesimal = |part: &&str| {
        (1..=2).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u8>().is_ok_and(|n| n < 60)
    };
    first_ok && !rest.is_empty() && rest.iter().all(sexagesimal)
}
