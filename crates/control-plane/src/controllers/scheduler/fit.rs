//! Which nodes a pod may run on, and in which words they refuse (those of Kubernetes' scheduler, which people
//! search for).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};

use crate::controllers::label_selector;
use crate::controllers::node_lifecycle::TAINTS;

/// Pods that a node takes if it does not say (the kubelet's default).
const DEFAULT_POD_CAPACITY: usize = 110;

/// True if the change of a node may matter to a waiting pod. A heartbeat does not.
pub(super) fn differs(old: &Node, new: &Node) -> bool {
    let part = |node: &Node| {
        let spec = node.spec.clone().unwrap_or_default();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone());
        (node.metadata.labels.clone(), spec.unschedulable, spec.taints, is_ready(node), allocatable)
    };
    part(old) != part(new)
}

/// True if the node's condition Ready holds.
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|held| held.type_ == "Ready" && held.status == "True")
}

/// Why the node, which has `pods` pods, does not take `pod`; `None` if it does.
pub(super) fn refusal(node: &Node, pod: &Pod, pods: usize) -> Option<&'static str> {
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        return Some("node(s) were unschedulable");
    }
    if !is_ready(node) {
        return Some("node(s) were not ready");
    }
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    if taints.into_iter().any(|taint| repels(taint, pod)) {
        return Some("node(s) had untolerated taint(s)");
    }
    if !is_selected(node, pod) {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    (pods >= capacity(node)).then_some("Too many pods")
}

/// One sentence out of the refusals of all nodes.
pub(super) fn explain(refusals: Vec<&'static str>) -> String {
    if refusals.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    let total = refusals.len();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    refusals.into_iter().for_each(|reason| *counted.entry(reason).or_default() += 1);
    let mut parts: Vec<_> = counted.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{total} nodes are available: {}.", parts.join(", "))
}

fn capacity(node: &Node) -> usize {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    allocatable.and_then(|all| all.get("pods")?.0.parse().ok()).unwrap_or(DEFAULT_POD_CAPACITY)
}

/// Taints that only repeat a node's state do not count: that is judged by the state itself, which is never
/// late.
fn repels(taint: &Taint, pod: &Pod) -> bool {
    if taint.effect == "NoSchedule" && TAINTS.contains(&taint.key.as_str()) {
        return false;
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref()).into_iter().flatten();
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
        && !tolerations.into_iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let value = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && value == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

fn is_selected(node: &Node, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.metadata.labels.as_ref();
    if !spec.node_selector.as_ref().is_none_or(|selector| label_selector::contains_all(labels, selector)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// A term without any rule matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let by_label = term.match_expressions.as_deref().unwrap_or_default();
    let by_field = term.match_fields.as_deref().unwrap_or_default();
    let name =
        |rule: &NodeSelectorRequirement| node.metadata.name.as_ref().filter(|_| rule.key == "metadata.name");
    !(by_label.is_empty() && by_field.is_empty())
        && by_label.iter().all(|rule| holds(rule, labels.and_then(|labels| labels.get(&rule.key))))
        && by_field.iter().all(|rule| holds(rule, name(rule)))
}

fn holds(rule: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = rule.values.as_deref().unwrap_or_default();
    let listed = |value: &String| values.contains(value);
    let compared = |holds: fn(&i64, &i64) -> bool| {
        let numbers =
            value.and_then(|value| value.parse().ok()).zip(values.first().and_then(|v| v.parse().ok()));
        numbers.is_some_and(|(value, bound)| holds(&value, &bound))
    };
    match rule.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}
