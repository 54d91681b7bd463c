//! A request for a list or a watch, as far as it decides what is shown.

use serde_json::Value;

/// A selector's condition. Proxies know no others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    NoLabel(String),
    Field { path: String, value: String, equal: bool },
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) watch: bool,
    /// A watch that begins with all that there is.
    pub(super) initial: bool,
    conditions: Vec<Condition>,
}

impl Request {
    /// Reads a request's first line; `None` for anything but GET.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let target = line.strip_prefix("GET ")?.split(' ').next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self { path: path.to_owned(), ..Self::default() };
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            match key {
                "watch" => request.watch = value == "true" || value == "1",
                "sendInitialEvents" => request.initial = value == "true",
                "labelSelector" | "fieldSelector" => {
                    request.conditions.extend(value.split(',').filter_map(condition));
                }
                _ => {}
            }
        }
        Some(request)
    }

    /// True when the selectors let the object through.
    pub(super) fn selects(&self, object: &Value) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::NoLabel(label) => object["metadata"]["labels"][label].is_null(),
            Condition::Field { path, value, equal } => {
                let field = path.split('.').fold(object, |object, field| &object[field]);
                (field.as_str().unwrap_or_default() == value) == *equal
            }
        })
    }
}

fn condition(text: &str) -> Option<Condition> {
    if let Some(label) = text.strip_prefix('!') {
        return Some(Condition::NoLabel(label.to_owned()));
    }
    let (path, value, equal) = match text.split_once("!=") {
        Some((path, value)) => (path, value, false),
        None => text.split_once('=').map(|(path, value)| (path, value, true))?,
    };
    Some(Condition::Field { path: path.to_owned(), value: value.to_owned(), equal })
}

/// Percent-encoding; what is broken stays as it is.
fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => decoded.extend([char::from(byte).to_string().as_str(), &part[2..]]),
            None => decoded.extend(["%", part]),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let line = "GET /api/v1/services?fieldSelector=spec.clusterIP%21%3DNone&labelSelector=%21proxy&watch=true HTTP/1.1";
        let request = Request::parse(line).unwrap();
        assert!(request.watch && !request.initial);
        assert!(request.selects(&json!({"spec": {"clusterIP": "10.96.0.1"}})));
        assert!(request.selects(&json!({"spec": {}})));
        assert!(!request.selects(&json!({"spec": {"clusterIP": "None"}})));
        assert!(!request.selects(&json!({"metadata": {"labels": {"proxy": ""}}, "spec": {}})));
    }
}
