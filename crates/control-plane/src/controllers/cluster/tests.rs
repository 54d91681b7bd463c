//! Which of two sources of truth wins, and what the indexes show.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::*;

fn pod(name: &str, version: u64, node: &str) -> Object {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("default".into());
    pod.metadata.name = Some(name.into());
    pod.metadata.resource_version = Some(version.to_string());
    pod.spec = Some(PodSpec { node_name: Some(node.into()), ..PodSpec::default() });
    Object::new(pod)
}

fn names_on(cluster: &Cluster, node: &str) -> Vec<String> {
    cluster.pods_on(node).filter_map(|pod| pod.metadata.name.clone()).collect()
}

#[test]
fn an_event_older_than_our_own_write_is_dropped() {
    let mut cluster = Cluster::of([pod("a", 5, "")]);
    assert!(cluster.written(pod("a", 8, "n1")).is_some());
    assert!(cluster.observe(pod("a", 6, "")).is_none());
    assert_eq!(names_on(&cluster, "n1"), ["a"]);
    assert!(names_on(&cluster, "").is_empty());
}

#[test]
fn an_answer_that_the_watch_has_passed_does_not_bring_an_object_back() {
    let mut cluster = Cluster::default();
    cluster.observe(pod("a", 5, "n1"));
    assert!(cluster.gone(&pod("a", 9, "n1")).is_some());
    assert!(cluster.written(pod("a", 7, "n1")).is_none());
    assert!(names_on(&cluster, "n1").is_empty());
}

#[test]
fn a_deletion_does_not_remove_a_successor_that_we_created() {
    let mut cluster = Cluster::of([pod("a", 5, "n1")]);
    cluster.written(pod("a", 12, "n2"));
    assert!(cluster.gone(&pod("a", 9, "n1")).is_none());
    assert_eq!(names_on(&cluster, "n2"), ["a"]);
}

#[test]
fn a_new_list_replaces_all_and_reports_each_difference() {
    let mut cluster = Cluster::of([pod("a", 5, "n1"), pod("b", 6, "n1")]);
    let changes = cluster.relisted(Kind::Pod, vec![pod("b", 8, "n2"), pod("c", 9, "n1")]);
    assert_eq!(changes.len(), 3);
    assert_eq!(names_on(&cluster, "n1"), ["c"]);
    assert_eq!(names_on(&cluster, "n2"), ["b"]);
}

#[test]
fn an_assumed_pod_counts_until_it_is_bound_or_gone() {
    let mut cluster = Cluster::of([pod("a", 5, ""), pod("b", 6, "")]);
    let (a, b) = (Key::new("default", "a"), Key::new("default", "b"));
    cluster.assume(&a, "n1");
    cluster.assume(&b, "n1");
    assert_eq!(cluster.assumed().count(), 2);
    assert!(cluster.bound(&a).is_some());
    assert_eq!(names_on(&cluster, "n1"), ["a"]);
    cluster.gone(&pod("b", 9, ""));
    assert_eq!(cluster.assumed().count(), 0);
}

#[test]
fn an_owner_finds_its_dependents() {
    let mut cluster = Cluster::default();
    let mut owned = Pod::default();
    owned.metadata.name = Some("a".into());
    owned.metadata.owner_references =
        Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
            uid: "u1".into(),
            controller: Some(true),
            ..Default::default()
        }]);
    cluster.observe(Object::new(owned.clone()));
    assert_eq!(cluster.dependents_of("u1").count(), 1);
    assert_eq!(cluster.pods_of("u1").count(), 1);
    owned.metadata.owner_references = None;
    cluster.observe(Object::new(owned));
    assert_eq!(cluster.dependents_of("u1").count(), 0);
    assert_eq!(cluster.pods_of("").count(), 1);
}
