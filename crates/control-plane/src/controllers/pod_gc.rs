//! Pods of nodes that are gone: nobody will ever end them, so they are deleted at once, after the server has
//! confirmed that the node is gone.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Target};

/// The controller.
pub(super) struct PodGc;

impl Controller for PodGc {
    fn component(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        let lost = change.of::<Node>().0.filter(|_| change.new.is_none());
        let lost = lost.and_then(|node| node.metadata.name.clone());
        let bound = change.of::<Pod>().1.and_then(|pod| pod.spec.as_ref()?.node_name.clone());
        let bound = bound.filter(|node| !node.is_empty() && !exists(cluster, node));
        let nodes = lost.into_iter().chain(bound);
        wake.extend(nodes.map(|node| Target { kind: Kind::Node, key: Key::new("", &node) }));
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let node = &target.key.name;
        if exists(cluster, node) {
            return plan;
        }
        for pod in cluster.pods_on(node) {
            plan.then(Verb::CollectPod {
                pod: Target { kind: Kind::Pod, key: Key::of(&pod.metadata) },
                uid: pod.metadata.uid.clone().unwrap_or_default(),
                node: node.clone(),
            });
        }
        plan
    }
}

fn exists(cluster: &Cluster, node: &str) -> bool {
    cluster.get::<Node>(&Key::new("", node)).is_some()
}
