//! Who is collected, who holds whom.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Garbage;
use crate::controllers::cluster::{Change, Cluster};
use crate::controllers::engine::Controller;
use crate::controllers::fixtures::{PodOf, now, object, owned_by, planned};
use crate::controllers::object::{Key, Kind, Object, Target};

fn set(name: &str, meta: Value) -> Object {
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}});
    object::<ReplicaSet>(name, json!({"metadata": meta, "spec": spec}))
}

fn deleting(finalizer: &str) -> Value {
    json!({"deletionTimestamp": now().wall.to_string(), "finalizers": [finalizer], "resourceVersion": "5"})
}

fn pod(owner: &'static str) -> Object {
    PodOf { name: "p", owner, ..PodOf::default() }.object()
}

#[test]
fn an_object_is_collected_when_all_its_owners_are_gone() {
    let both = object::<Pod>(
        "p",
        json!({"metadata": {"ownerReferences": [owned_by("ReplicaSet", "r")[0], owned_by("Deployment", "d")[0]]}}),
    );
    let unknown = object::<Pod>(
        "p",
        json!({"metadata": {"ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "w"}]}}),
    );
    let reborn = set("r", json!({})).clone();
    let collected = vec!["collect Pod p".to_owned()];
    for (what, objects, expected) in [
        ("no owner", vec![pod("")], vec![]),
        ("owner there", vec![pod("r"), set("r", json!({}))], vec![]),
        ("owner gone", vec![pod("r")], collected.clone()),
        (
            "another object with its name",
            vec![PodOf { name: "p", owner: "old", ..PodOf::default() }.object(), reborn],
            collected.clone(),
        ),
        ("one of two is there", vec![both.clone(), set("r", json!({}))], vec![]),
        ("both gone", vec![both], collected),
        ("owner of another kind", vec![unknown], vec![]),
    ] {
        assert_eq!(planned::<Pod>(&Garbage, &Cluster::of(objects), "p"), expected, "{what}");
    }
}

#[test]
fn foreground_deletion_waits_for_dependents() {
    let owner = || set("r", deleting("foregroundDeletion"));
    let held = Cluster::of([owner(), pod("r")]);
    assert_eq!(planned::<ReplicaSet>(&Garbage, &held, "r"), ["delete Pod p"]);
    let going =
        Cluster::of([owner(), PodOf { name: "p", owner: "r", deleting: true, ..PodOf::default() }.object()]);
    assert!(planned::<ReplicaSet>(&Garbage, &going, "r").is_empty());
    let alone = planned::<ReplicaSet>(&Garbage, &Cluster::of([owner()]), "r");
    assert_eq!(alone, [r#"patch ReplicaSet r {"metadata":{"finalizers":[],"resourceVersion":"5"}}"#]);
}

#[test]
fn orphans_lose_the_reference_first() {
    let owner = || set("r", deleting("orphan"));
    let lines = planned::<ReplicaSet>(&Garbage, &Cluster::of([owner(), pod("r")]), "r");
    assert!(
        lines.len() == 1 && lines[0].starts_with(r#"patch Pod p {"metadata":{"ownerReferences":[]"#),
        "{lines:?}"
    );
    assert_eq!(planned::<ReplicaSet>(&Garbage, &Cluster::of([owner()]), "r").len(), 1);
}

#[test]
fn the_end_of_an_owner_wakes_its_dependents_and_theirs_the_owner() {
    let wakes = |cluster: &Cluster, change: &Change| {
        let mut targets = Vec::new();
        Garbage.wakes(cluster, change, &mut targets);
        targets
    };
    let gone = Change { old: Some(set("r", json!({}))), new: None };
    let target = |kind, name| Target { kind, key: Key::new("default", name) };
    assert_eq!(wakes(&Cluster::of([pod("r")]), &gone), [target(Kind::Pod, "p")]);
    let waiting = object::<Deployment>(
        "d",
        json!({"metadata": deleting("foregroundDeletion"), "spec": {
        "selector": {}, "template": {}}}),
    );
    let dependent = set("r", json!({"ownerReferences": owned_by("Deployment", "d")}));
    let gone = Change { old: Some(dependent), new: None };
    assert_eq!(wakes(&Cluster::of([waiting]), &gone), [target(Kind::Deployment, "d")]);
}
