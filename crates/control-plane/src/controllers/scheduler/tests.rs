//! From a waiting pod to a node, or to the reason why not.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Scheduler;
use crate::controllers::cluster::Cluster;
use crate::controllers::fixtures::{PodOf, node, plan, planned};
use crate::controllers::object::{Key, Object};

fn waiting(fields: Value) -> Object {
    PodOf { name: "p", owner: "web", phase: "Pending", fields, ..PodOf::default() }.object()
}

fn bound(name: &str, owner: &str, node: &str) -> Object {
    PodOf { name, owner, node, ..PodOf::default() }.object()
}

fn plain(name: &str) -> Object {
    node(name, true, json!({}), json!({"kubernetes.io/hostname": name}))
}

#[test]
fn it_spreads_the_pods_of_an_owner_and_then_all() {
    for (what, others, expected) in [
        ("empty", vec![], "n1"),
        ("one of ours on n1", vec![bound("a", "web", "n1")], "n2"),
        (
            "ours count more",
            vec![bound("a", "web", "n1"), bound("b", "x", "n2"), bound("c", "x", "n2")],
            "n2",
        ),
        ("then all pods", vec![bound("b", "x", "n1")], "n2"),
    ] {
        let cluster = Cluster::of([plain("n1"), plain("n2"), waiting(json!({}))].into_iter().chain(others));
        assert_eq!(planned::<Pod>(&Scheduler, &cluster, "p"), [format!("bind p to {expected}")], "{what}");
    }
}

#[test]
fn what_is_assumed_counts_and_is_not_bound_twice() {
    let other = PodOf { name: "a", owner: "web", phase: "Pending", ..PodOf::default() }.object();
    let mut cluster = Cluster::of([plain("n1"), plain("n2"), waiting(json!({})), other]);
    cluster.assume(&Key::new("default", "a"), "n1");
    assert_eq!(planned::<Pod>(&Scheduler, &cluster, "p"), ["bind p to n2"]);
    assert!(planned::<Pod>(&Scheduler, &cluster, "a").is_empty());
}

#[test]
fn nodes_refuse_with_a_reason() {
    let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    let affinity = |operator: &str, values: Value| {
        let rule = json!({"key": "disk", "operator": operator, "values": values});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}}})
    };
    let selector = "1 node(s) didn't match Pod's node affinity/selector";
    for (ready, spec, pod, expected) in [
        (true, json!({}), json!({}), None),
        (false, json!({}), json!({}), Some("1 node(s) were not ready")),
        (true, json!({"unschedulable": true}), json!({}), Some("1 node(s) were unschedulable")),
        (true, taint.clone(), json!({}), Some("1 node(s) had untolerated taint(s)")),
        (true, taint.clone(), json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}), None),
        (true, taint.clone(), json!({"tolerations": [{"key": "gpu", "value": "yes"}]}), None),
        (
            true,
            taint.clone(),
            json!({"tolerations": [{"key": "gpu", "value": "no"}]}),
            Some("1 node(s) had untolerated taint(s)"),
        ),
        (true, taint, json!({"tolerations": [{"operator": "Exists"}]}), None),
        (true, json!({}), json!({"nodeSelector": {"disk": "ssd"}}), None),
        (true, json!({}), json!({"nodeSelector": {"disk": "hdd"}}), Some(selector)),
        (true, json!({}), affinity("In", json!(["ssd"])), None),
        (true, json!({}), affinity("NotIn", json!(["ssd"])), Some(selector)),
        (
            true,
            json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}),
            json!({}),
            None,
        ),
    ] {
        let shown = format!("{ready} {spec} {pod}");
        let cluster = Cluster::of([node("n1", ready, spec, json!({"disk": "ssd"})), waiting(pod)]);
        let lines = planned::<Pod>(&Scheduler, &cluster, "p");
        match expected {
            None => assert_eq!(lines, ["bind p to n1"], "{shown}"),
            Some(reason) => assert!(
                lines[0].contains(&format!("0/1 nodes are available: {reason}.")),
                "{shown}: {lines:?}"
            ),
        }
    }
}

#[test]
fn reasons_are_counted_and_told_once() {
    let cordoned = json!({"unschedulable": true});
    let nodes = [
        node("n1", false, json!({}), json!({})),
        node("n2", true, cordoned.clone(), json!({})),
        node("n3", true, cordoned, json!({})),
    ];
    let mut cluster = Cluster::of(nodes.into_iter().chain([waiting(json!({}))]));
    let first = plan::<Pod>(&Scheduler, &cluster, "p");
    let note = first.actions[0].success.clone().unwrap();
    assert_eq!(
        note.message,
        "0/3 nodes are available: 1 node(s) were not ready, 2 node(s) were unschedulable."
    );
    let mut told = PodOf { name: "p", owner: "web", phase: "Pending", ..PodOf::default() }.object();
    if let Object::Pod(pod) = &mut told {
        let condition = json!([{"type": "PodScheduled", "status": "False", "message": note.message}]);
        let pod = std::sync::Arc::make_mut(pod);
        pod.status.get_or_insert_default().conditions = serde_json::from_value(condition).unwrap();
    }
    cluster.observe(told);
    assert!(plan::<Pod>(&Scheduler, &cluster, "p").actions.is_empty());
}

#[test]
fn pods_that_are_not_ours_are_left_alone() {
    for fields in [
        json!({"schedulerName": "other"}),
        json!({"schedulingGates": [{"name": "wait"}]}),
        json!({"nodeName": "n2"}),
    ] {
        let cluster = Cluster::of([plain("n1"), waiting(fields.clone())]);
        assert!(planned::<Pod>(&Scheduler, &cluster, "p").is_empty(), "{fields}");
    }
}

#[test]
fn a_full_node_takes_no_more() {
    let mut full = json!({"metadata": {}, "status": {"allocatable": {"pods": "1"}}});
    full["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    let full = crate::controllers::fixtures::object::<k8s_openapi::api::core::v1::Node>("n1", full);
    let cluster = Cluster::of([full, waiting(json!({})), bound("a", "x", "n1")]);
    let lines = planned::<Pod>(&Scheduler, &cluster, "p");
    assert!(lines[0].contains("0/1 nodes are available: 1 Too many pods."), "{lines:?}");
}
