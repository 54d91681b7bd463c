//! Ages and durations in kubectl's short form, `4s`, `3m25s`, `2d`.

use jiff::Timestamp;

/// How long ago an RFC 3339 time is; `<unknown>` for what is none.
pub(crate) fn since(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human(Timestamp::now().duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds in the short form (apimachinery's HumanDuration).
pub(crate) fn human(seconds: i64) -> String {
    const HOUR: i64 = 60;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let minutes = seconds / 60;
    let two = |whole: i64, unit: &str, rest: i64, rest_unit: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{rest_unit}") }
    };
    match minutes {
        0..2 => format!("{seconds}s"),
        2..10 => two(minutes, "m", seconds % 60, "s"),
        10..180 => format!("{minutes}m"),
        180..480 => two(minutes / HOUR, "h", minutes % HOUR, "m"),
        480..2880 => format!("{}h", minutes / HOUR),
        2880..11520 => two(minutes / DAY, "d", minutes % DAY / HOUR, "h"),
        11520..1_051_200 => format!("{}d", minutes / DAY),
        1_051_200..4_204_800 => two(minutes / YEAR, "y", minutes % YEAR / DAY, "d"),
        _ => format!("{}y", minutes / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn durations_are_short() {
        let cases = [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (205, "3m25s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (70_000_000, "2y80d"),
            (252_288_000, "8y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human(seconds), expected, "{seconds}");
        }
    }
}
