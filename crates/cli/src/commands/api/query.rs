//! Query strings: percent-encoding and assembly.

/// A path with query parameters; empty values are left out.
pub(crate) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    let mut separator = '?';
    for (key, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(separator);
        text.push_str(key);
        text.push('=');
        text.push_str(&encode(value));
        separator = '&';
    }
    text
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn queries_are_encoded_and_empty_values_left_out() {
        assert_eq!(
            with_query(
                "/api/v1/pods",
                &[("labelSelector", "app=a b"), ("fieldSelector", ""), ("limit", "500")]
            ),
            "/api/v1/pods?labelSelector=app%3Da%20b&limit=500"
        );
        assert_eq!(with_query("/x", &[]), "/x");
    }
}
