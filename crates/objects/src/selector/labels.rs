//! Label selectors, in the text form of the `labelSelector` parameter and the object form of `spec.selector`.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Object;
use serde_json::Value;

use super::SelectorError;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label has one of the values (`=`, `==`, `in`).
    In,
    /// The label is missing or has none of the values (`!=`, `notin`).
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label's key.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// With what; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<String>,
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|v| self.values.iter().any(|w| w == v));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Requirements that must all hold; without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads `app=web,tier in (front, back),!debug`.
    ///
    /// # Errors
    /// If the text does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            if part.trim().is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(SelectorError("found '', expected: identifier after ','".to_owned()));
            }
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self { requirements })
    }

    /// The selector of a workload's `spec.selector`. Matches nothing that lacks a required label; an empty one matches
    /// everything, as upstream's does.
    ///
    /// # Errors
    /// If an expression has an operator that does not exist.
    pub fn from_object(object: &Object) -> Result<Self, SelectorError> {
        let equal = object.match_labels.iter().flatten().map(|(key, value)| equals(key, value));
        let mut requirements: Vec<_> = equal.collect();
        for expression in object.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!("\"{other}\" is not a valid label selector operator")));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        Ok(Self { requirements })
    }

    /// The selector of a Service: every label equal.
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        Self { requirements: labels.iter().map(|(key, value)| equals(key, value)).collect() }
    }

    /// True if it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Its conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// True if these labels satisfy it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
    }

    /// True if the object's labels satisfy it.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.requirements.iter().all(|r| r.matches(labels.get(&r.key).and_then(Value::as_str)))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match (r.operator, r.values.as_slice()) {
                (Operator::In, [one]) => write!(f, "{comma}{}={one}", r.key)?,
                (Operator::NotIn, [one]) => write!(f, "{comma}{}!={one}", r.key)?,
                (Operator::In, many) => write!(f, "{comma}{} in ({})", r.key, many.join(","))?,
                (Operator::NotIn, many) => write!(f, "{comma}{} notin ({})", r.key, many.join(","))?,
                (Operator::Exists, _) => write!(f, "{comma}{}", r.key)?,
                (Operator::DoesNotExist, _) => write!(f, "{comma}!{}", r.key)?,
            }
        }
        Ok(())
    }
}

fn equals(key: &str, value: &str) -> Requirement {
    Requirement { key: key.to_owned(), operator: Operator::In, values: vec![value.to_owned()] }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth <= 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    if let Some(key) = part.strip_prefix('!') {
        return build(key, Operator::DoesNotExist, Vec::new(), part);
    }
    for (sign, operator) in [("!=", Operator::NotIn), ("==", Operator::In), ("=", Operator::In)] {
        if let Some((key, value)) = part.split_once(sign) {
            return build(key, operator, vec![value.trim().to_owned()], part);
        }
    }
    let Some((key, rest)) = part.split_once(char::is_whitespace) else {
        return build(part, Operator::Exists, Vec::new(), part);
    };
    let rest = rest.trim_start();
    let (operator, list) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(list), _) => (Operator::NotIn, list),
        (None, Some(list)) => (Operator::In, list),
        (None, None) => {
            return Err(unparsable(&format!(
                "found '{rest}', expected: in, notin, =, ==, !=, gt, lt after '{key}'"
            )));
        }
    };
    let list = list.trim().strip_prefix('(').and_then(|l| l.strip_suffix(')'));
    let list = list.ok_or_else(|| unparsable(&format!("found '{rest}', expected: a list in parentheses")))?;
    build(key, operator, list.split(',').map(|v| v.trim().to_owned()).collect(), part)
}

fn build(
    key: &str,
    operator: Operator,
    values: Vec<String>,
    part: &str,
) -> Result<Requirement, SelectorError> {
    let key = key.trim();
    if !is_key(key) {
        return Err(unparsable(&format!("found '{part}', expected: identifier")));
    }
    if let Some(bad) = values.iter().find(|v| !is_value(v)) {
        return Err(unparsable(&format!(
            "values[0][{key}]: Invalid value: \"{bad}\": a valid label must be an empty string or consist of \
             alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
             'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )));
    }
    Ok(Requirement { key: key.to_owned(), operator, values })
}

fn unparsable(why: &str) -> SelectorError {
    SelectorError(format!("unable to parse requirement: {why}"))
}

/// A qualified name: an optional DNS prefix and `/`, then a label value that is not empty.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let prefix_fits = prefix.is_none_or(|p| {
        !p.is_empty()
            && p.len() <= 253
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    });
    prefix_fits && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    let ends_fit = [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric);
    bytes.len() <= 63 && ends_fit && bytes.iter().all(|b| inner(*b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_selectors_match_as_upstream() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front", "k8s.io/x": ""}}});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app = web , tier = front", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("tier in (front, back)", true),
            ("tier notin (front,back)", false),
            ("missing notin (a)", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("k8s.io/x=", true),
            ("app=web,!tier", false),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_object(&object), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_selector_is_refused() {
        for text in ["a b", "a in b", "=x", "a=b c", "a,,b", ",", "-a", "a in (b", "a=-b", "x/y/z"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_parses() {
        let text = "app=web,tier in (a,b),!debug,x,y!=z";
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn objects_become_selectors() {
        let object: Object = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}],
        }))
        .unwrap();
        assert_eq!(LabelSelector::from_object(&object).unwrap().to_string(), "app=web,tier!=back");
    }
}
