//! Query strings, percent-decoded.

/// All values by name, in order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// `true` and `1`, as Go's ParseBool has it.
    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.first(name), Some("true" | "1" | "t" | "T" | "TRUE" | "True"))
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = rest.clone().take(2).collect::<Vec<_>>();
                let value = std::str::from_utf8(&digits).ok().filter(|digits| digits.len() == 2);
                match value.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(value) => {
                        rest.nth(1);
                        value
                    }
                    None => b'%',
                }
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn repeated_and_encoded_values() {
        let query =
            Query::parse(Some("command=sh&command=-c&command=echo+a%20%26%3D%2&tty=true&stdin=false"));
        assert_eq!(query.all("command"), ["sh", "-c", "echo a &=%2"]);
        assert!(query.is_true("tty") && !query.is_true("stdin") && !query.is_true("none"));
    }
}
