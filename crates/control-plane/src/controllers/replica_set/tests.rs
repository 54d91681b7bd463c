//! From pods to what is made, deleted and told.

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

use super::ReplicaSets;
use crate::controllers::cluster::Cluster;
use crate::controllers::fixtures::{PodOf, object, plan, planned};
use crate::controllers::object::Object;

fn set(replicas: i32, status: Value) -> Object {
    let spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
    });
    object::<ReplicaSet>("web-1", json!({"metadata": {"generation": 1}, "spec": spec, "status": status}))
}

fn pod(name: &'static str) -> PodOf<'static> {
    PodOf { name, owner: "web-1", node: "n1", ..PodOf::default() }
}

/// The plan without its status write.
fn work(replicas: i32, pods: Vec<PodOf>) -> Vec<String> {
    let pods = pods.into_iter().map(PodOf::object);
    let cluster = Cluster::of(std::iter::once(set(replicas, json!({"replicas": 0}))).chain(pods));
    let plan = planned::<ReplicaSet>(&ReplicaSets, &cluster, "web-1");
    plan.into_iter().filter(|line| !line.contains("/status")).collect()
}

#[test]
fn it_makes_what_is_missing_and_counts_only_active_pods() {
    let finished = PodOf { phase: "Failed", ..pod("a") };
    let leaving = PodOf { deleting: true, ..pod("b") };
    for (replicas, pods, expected) in [
        (0, vec![], 0),
        (3, vec![], 3),
        (3, vec![pod("a"), pod("b")], 1),
        (2, vec![pod("a"), pod("b")], 0),
        (2, vec![finished, leaving], 2),
    ] {
        assert_eq!(work(replicas, pods), vec!["create Pod web-1-"; expected]);
    }
}

#[test]
fn it_deletes_in_kubernetes_order() {
    let pending = || PodOf { phase: "Pending", ..pod("pending") };
    let unbound = || PodOf { phase: "Pending", node: "", ..pod("unbound") };
    let ready = |name, node, second| PodOf { node, ready: Some(second), ..pod(name) };
    for (keep, pods, expected) in [
        (1, vec![pending(), unbound()], vec!["unbound"]),
        (1, vec![ready("ready", "n1", 1), pending()], vec!["pending"]),
        (1, vec![ready("ready", "n1", 1), pod("unready")], vec!["unready"]),
        (2, vec![ready("a", "n1", 1), ready("b", "n2", 1), ready("c", "n1", 990)], vec!["c"]),
        (1, vec![ready("old", "n1", 1), ready("new", "n2", 990)], vec!["new"]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|name| format!("delete Pod {name}")).collect();
        assert_eq!(work(keep, pods), expected);
    }
}

#[test]
fn it_adopts_what_matches_and_lets_go_what_does_not() {
    let orphan = PodOf { owner: "", ..pod("orphan") };
    let renamed = PodOf { app: "other", ..pod("renamed") };
    let foreign = PodOf { owner: "web-2", ..pod("foreign") };
    let lines = work(1, vec![orphan, renamed, foreign]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("patch Pod orphan") && lines[0].contains("\"uid\":\"web-1\""), "{lines:?}");
    assert!(
        lines[1].starts_with("patch Pod renamed") && lines[1].contains("\"ownerReferences\":[]"),
        "{lines:?}"
    );
}

#[test]
fn the_status_counts_and_is_written_only_when_it_differs() {
    let pods = || {
        [PodOf { ready: Some(1), ..pod("a") }, pod("b"), PodOf { deleting: true, ..pod("c") }]
            .map(PodOf::object)
    };
    let cluster = Cluster::of(std::iter::once(set(2, json!({"replicas": 0}))).chain(pods()));
    let lines = planned::<ReplicaSet>(&ReplicaSets, &cluster, "web-1");
    let expected =
        r#"patch ReplicaSet web-1/status {"status":{"availableReplicas":1,"fullyLabeledReplicas":2,"#;
    assert!(lines[0].starts_with(expected), "{lines:?}");
    assert!(lines[0].contains(r#""readyReplicas":1,"replicas":2,"terminatingReplicas":1"#), "{lines:?}");
    let same = json!({
        "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "availableReplicas": 1,
        "terminatingReplicas": 1, "observedGeneration": 1,
    });
    let cluster = Cluster::of(std::iter::once(set(2, same)).chain(pods()));
    assert!(planned::<ReplicaSet>(&ReplicaSets, &cluster, "web-1").is_empty());
}

#[test]
fn min_ready_seconds_delay_availability() {
    let mut waiting = set(1, json!({"replicas": 0}));
    if let Object::ReplicaSet(set) = &mut waiting {
        std::sync::Arc::make_mut(set).spec.min_ready_seconds = Some(30);
    }
    let cluster = Cluster::of([waiting, PodOf { ready: Some(990), ..pod("a") }.object()]);
    let plan = plan::<ReplicaSet>(&ReplicaSets, &cluster, "web-1");
    assert_eq!(plan.again, Some(std::time::Duration::from_secs(20)));
    let lines = crate::controllers::action::summary(&plan);
    assert!(lines[0].contains("readyReplicas") && !lines[0].contains("availableReplicas"), "{lines:?}");
}
