//! Which pods go first when there are too many, in the order of Kubernetes' `ActivePodsWithRanks`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::controllers::cluster::Cluster;
use crate::controllers::pod;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `pods`, those that go first at the front: unbound, pending, not ready, cheap, sharing their node with more
/// of the others, ready or created more recently (on a logarithmic scale, KEP-2185), restarted more often.
pub(super) fn first_to_go(cluster: &Cluster, pods: &[Arc<Pod>], now: Timestamp) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for node in pods.iter().filter_map(|pod| cluster.node_of(pod)) {
        *on_node.entry(node).or_default() += 1;
    }
    let shared = |pod: &Pod| cluster.node_of(pod).and_then(|node| on_node.get(node)).copied().unwrap_or(0);
    let mut order = pods.to_vec();
    order.sort_by(|a, b| {
        let bound = |pod: &Pod| cluster.node_of(pod).is_some();
        bound(a)
            .cmp(&bound(b))
            .then_with(|| liveliness(a).cmp(&liveliness(b)))
            .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
            .then_with(|| cost(a).cmp(&cost(b)))
            .then_with(|| shared(b).cmp(&shared(a)))
            .then_with(|| by_age(pod::ready_since(a), pod::ready_since(b), now))
            .then_with(|| restarts(b).cmp(&restarts(a)))
            .then_with(|| by_age(created(a), created(b), now))
            .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
    });
    order
}

fn liveliness(pod: &Pod) -> u8 {
    match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

/// The younger first; ages of the same power of two are equal, so that the choice among them is arbitrary.
fn by_age(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let magnitude = |time: Option<Timestamp>| {
        let seconds = time.map_or(0, |time| now.duration_since(time).as_secs().max(0));
        u64::try_from(seconds).unwrap_or(0).checked_ilog2().map_or(0, |log| log + 1)
    };
    magnitude(a).cmp(&magnitude(b))
}
