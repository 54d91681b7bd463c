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
    /// The label is a greater number (`>`).
    GreaterThan,
    /// The label is a smaller number (`<`).
    LessThan,
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
            Operator::GreaterThan => self.compares(value, |label, bound| label > bound),
            Operator::LessThan => self.compares(value, |label, bound| label < bound),
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse().ok();
        let (label, bound) = (value.and_then(number), self.values.first().and_then(|text| number(text)));
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
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
        super::grammar::parse(text).map(|requirements| Self { requirements }).map_err(SelectorError)
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
                (Operator::GreaterThan, bound) => write!(f, "{comma}{}>{}", r.key, bound.concat())?,
                (Operator::LessThan, bound) => write!(f, "{comma}{}<{}", r.key, bound.concat())?,
            }
        }
        Ok(())
    }
}

fn equals(key: &str, value: &str) -> Requirement {
    Requirement { key: key.to_owned(), operator: Operator::In, values: vec![value.to_owned()] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_selectors_match_as_upstream() {
        let object =
            json!({"metadata": {"labels": {"app": "web", "tier": "front", "k8s.io/x": "", "n": "3"}}});
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
            ("n>2", true),
            ("n<2", false),
            ("app>2", false),
            ("tier in (,front)", true),
            ("in in (in)", false),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_object(&object), expected, "{text}");
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
