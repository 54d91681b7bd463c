//! Matching of labels, as the API defines it for `LabelSelector` and for the plain selectors of Services.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

/// True if `labels` satisfy every part of `selector`. An empty selector matches everything: callers for whom
/// that is wrong (all workloads) ask [`is_empty`] first.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let named = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    named && selector.match_expressions.iter().flatten().all(|rule| holds(rule, value(&rule.key)))
}

/// True if the selector has no part at all.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// True if `labels` hold all pairs of `selector`.
pub(crate) fn contains_all(labels: Option<&Labels>, selector: &Labels) -> bool {
    selector.iter().all(|(key, wanted)| labels.and_then(|labels| labels.get(key)) == Some(wanted))
}

fn holds(rule: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let listed = |value: &String| rule.values.iter().flatten().any(|allowed| allowed == value);
    match rule.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn operators() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        for (expression, expected) in [
            (rule("app", "In", &["web", "api"]), true),
            (rule("app", "In", &["api"]), false),
            (rule("tier", "In", &["api"]), false),
            (rule("app", "NotIn", &["web"]), false),
            (rule("tier", "NotIn", &["web"]), true),
            (rule("app", "Exists", &[]), true),
            (rule("tier", "Exists", &[]), false),
            (rule("tier", "DoesNotExist", &[]), true),
            (rule("app", "Near", &["web"]), false),
        ] {
            let shown = format!("{expression:?}");
            let selector =
                LabelSelector { match_expressions: Some(vec![expression]), ..LabelSelector::default() };
            assert_eq!(matches(&selector, Some(&labels)), expected, "{shown}");
        }
    }
}
