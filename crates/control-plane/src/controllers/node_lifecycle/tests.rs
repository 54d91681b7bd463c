//! Silence, and what follows from it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::NodeLifecycle;
use crate::controllers::action::summary;
use crate::controllers::cluster::{Change, Cluster};
use crate::controllers::fixtures::{PodOf, lease, node, now, plan, seen_at};

const CONTROLLER: NodeLifecycle = NodeLifecycle { grace: Duration::from_secs(40) };

#[test]
fn a_silent_node_becomes_unknown() {
    for (what, objects, again, lost) in [
        ("heartbeat", vec![seen_at(990)], Some(30), false),
        ("old heartbeat, fresh lease", vec![seen_at(100), lease(995)], Some(35), false),
        ("both old", vec![seen_at(100), lease(950)], None, true),
        ("just too old", vec![seen_at(960)], None, true),
    ] {
        let mut cluster = Cluster::of(objects.clone());
        for object in objects {
            cluster.node_life.observe(&Change { old: None, new: Some(object) }, now());
        }
        let plan = plan::<Node>(&CONTROLLER, &cluster, "n1");
        assert_eq!(plan.again, again.map(Duration::from_secs), "{what}");
        let lines = summary(&plan);
        assert_eq!(lines.iter().any(|line| line.contains("NodeStatusUnknown")), lost, "{what}: {lines:?}");
    }
}

#[test]
fn pods_of_a_lost_node_are_marked_once() {
    let pod = |name, ready| PodOf { name, node: "n1", ready, ..PodOf::default() }.object();
    // The fixture's node has been not ready since second 900.
    let pods =
        [pod("before", Some(800)), pod("same", Some(900)), pod("after", Some(901)), pod("unready", None)];
    let cluster = Cluster::of(std::iter::once(node("n1", false, json!({}), json!({}))).chain(pods));
    let lines = summary(&plan::<Node>(&CONTROLLER, &cluster, "n1"));
    let marked: Vec<_> =
        lines.iter().filter(|line| line.starts_with("patch Pod")).map(|line| &line[10..14]).collect();
    assert_eq!(marked, ["befo", "same"], "{lines:?}");
    let ready = Cluster::of([node("n1", true, json!({}), json!({})), pod("a", Some(800))]);
    assert!(summary(&plan::<Node>(&CONTROLLER, &ready, "n1")).is_empty());
}

#[test]
fn taints_follow_the_state() {
    for (ready, spec, expected) in [
        (true, json!({}), None),
        (false, json!({}), Some("node.kubernetes.io/not-ready")),
        (true, json!({"unschedulable": true}), Some("node.kubernetes.io/unschedulable")),
        (
            true,
            json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}),
            Some("\"taints\":null"),
        ),
        (true, json!({"taints": [{"key": "mine", "effect": "NoSchedule"}]}), None),
    ] {
        let cluster = Cluster::of([node("n1", ready, spec.clone(), json!({}))]);
        let lines = summary(&plan::<Node>(&CONTROLLER, &cluster, "n1"));
        match expected {
            None => assert!(lines.is_empty(), "{spec}: {lines:?}"),
            Some(text) => assert!(lines[0].contains(text), "{spec}: {lines:?}"),
        }
    }
}
