//! Kubernetes quantities such as `128Mi`, `500m`, `1e3`.

/// The value in base units; `None` if the text is no quantity.
pub(crate) fn parse(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let suffix = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix));
    let (number, factor) = match suffix {
        Some((suffix, factor)) => (&text[..text.len() - suffix.len()], *factor),
        None => (text, 1.0),
    };
    let digits = number.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    let value: f64 = number.parse().ok().filter(|_| digits)?;
    Some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn quantities() {
        let cases =
            [("128Mi", Some(134_217_728.0)), ("500m", Some(0.5)), ("2", Some(2.0)), ("1e3", Some(1000.0))];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in ["", "Mi", "x", "nan", "inf", "1Zi"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
