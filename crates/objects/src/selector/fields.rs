//! Field selectors: comparisons with the few fields that the API lets a client select by, which differ by kind.

use serde_json::Value;

use super::SelectorError;
use crate::resource::Resource;

/// The fields of every kind.
const METADATA: &[&str] = &["metadata.name", "metadata.namespace"];
const PODS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];
const EVENTS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    field: String,
    equal: bool,
    value: String,
}

/// Comparisons that must all hold; without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    comparisons: Vec<Comparison>,
}

impl FieldSelector {
    /// Reads `metadata.name=x,status.phase!=Running` for objects of `resource`.
    ///
    /// # Errors
    /// If the text does not follow the grammar, or the kind cannot be selected by a field.
    pub fn parse(resource: &Resource, text: &str) -> Result<Self, SelectorError> {
        let mut comparisons = Vec::new();
        for part in split_unescaped(text).iter().filter(|part| !part.is_empty()) {
            let mut comparison = comparison(part)?;
            if resource.group == "events.k8s.io" {
                comparison.field = stored_event_field(&comparison.field);
            }
            check(resource, &comparison.field)?;
            comparisons.push(comparison);
        }
        Ok(Self { comparisons })
    }

    /// True if it matches everything.
    pub fn is_empty(&self) -> bool {
        self.comparisons.is_empty()
    }

    /// The value that `field` must have, if the selector says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.comparisons.iter().find(|c| c.equal && c.field == field).map(|c| c.value.as_str())
    }

    /// True if the object satisfies it.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.comparisons.iter().all(|c| (field(object, &c.field) == c.value) == c.equal)
    }
}

/// Events are stored in the core group's form.
fn stored_event_field(field: &str) -> String {
    match field.strip_prefix("regarding.") {
        Some(rest) => format!("involvedObject.{rest}"),
        None if field == "reportingController" => "reportingComponent".to_owned(),
        None => field.to_owned(),
    }
}

fn comparison(part: &str) -> Result<Comparison, SelectorError> {
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((field, value)) = part.split_once(sign) {
            return Ok(Comparison { field: field.to_owned(), equal, value: unescape(value) });
        }
    }
    Err(SelectorError(format!("invalid selector: '{part}'; can't understand '{part}'")))
}

/// Splits at commas that are not escaped by a backslash.
fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        if byte == b',' && !escaped {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str) -> String {
    value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\")
}

fn check(resource: &Resource, field: &str) -> Result<(), SelectorError> {
    if METADATA.contains(&field) {
        return Ok(());
    }
    let (allowed, named_kind) = match resource.kind {
        "Pod" => (PODS, true),
        "Event" => (EVENTS, true),
        "Node" => (&["spec.unschedulable"][..], true),
        "Namespace" => (&["status.phase"][..], true),
        "Secret" => (&["type"][..], true),
        "Service" => (&["spec.clusterIP", "spec.type"][..], true),
        "ReplicaSet" | "ReplicationController" => (&["status.replicas"][..], true),
        _ => (&[][..], false),
    };
    if allowed.contains(&field) {
        return Ok(());
    }
    let text = if named_kind {
        format!("field label not supported: {field}")
    } else {
        format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    };
    Err(SelectorError(text))
}

/// The field's value as text; a field that is not there is empty, as in Go.
fn field(object: &Value, path: &str) -> String {
    match path {
        "source" => return field(object, "source.component"),
        "status.podIPs" => return field(object, "status.podIP"),
        "spec.unschedulable" | "spec.hostNetwork" => {
            let value = path.split('.').fold(object, |value, key| &value[key]);
            return value.as_bool().unwrap_or_default().to_string();
        }
        "reportingComponent" if object["reportingComponent"].as_str().unwrap_or_default().is_empty() => {
            return field(object, "source.component");
        }
        _ => {}
    }
    match path.split('.').fold(object, |value, key| &value[key]) {
        Value::Null => {
            if path == "status.replicas" {
                "0".to_owned()
            } else {
                String::new()
            }
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::by_kind;

    #[test]
    fn fields_match_as_upstream() {
        let pods = by_kind("v1", "Pod").unwrap();
        let pod = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": {"nodeName": "worker-1"},
                         "status": {"phase": "Running"}});
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,spec.nodeName=worker-1", true),
            ("spec.nodeName!=worker-1", false),
            ("status.phase!=Succeeded,status.phase!=Failed", true),
            ("status.podIP=", true),
        ];
        for (text, expected) in cases {
            assert_eq!(FieldSelector::parse(pods, text).unwrap().matches_object(&pod), expected, "{text}");
        }
    }

    #[test]
    fn booleans_have_their_zero_value() {
        let nodes = by_kind("v1", "Node").unwrap();
        let selector = FieldSelector::parse(nodes, "spec.unschedulable=false").unwrap();
        assert!(selector.matches_object(&json!({"spec": {}})));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let refusal = |kind, text| {
            let resource = by_kind(if kind == "Deployment" { "apps/v1" } else { "v1" }, kind).unwrap();
            FieldSelector::parse(resource, text).unwrap_err().to_string()
        };
        assert_eq!(refusal("Pod", "spec.foo=1"), "field label not supported: spec.foo");
        assert_eq!(
            refusal("Deployment", "spec.foo=1"),
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert!(refusal("Pod", "nonsense").starts_with("invalid selector"));
    }
}
