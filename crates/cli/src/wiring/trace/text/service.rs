//! The Service behind the address, its policies and its endpoints.

use dataplane::forwarding_table::Standing;

use super::ENDPOINTS_MAX;
use crate::wiring::agent::explanation::{Delivery, DestinationKind, EndpointView};
use crate::wiring::trace::report::Report;

pub(super) fn lines(report: &Report, delivery: &Delivery) -> Vec<String> {
    let socket = delivery.destination.split_once(' ').map_or("", |(_, socket)| socket);
    let view = delivery.service.clone().unwrap_or_default();
    let name = format!("{}/{}", view.namespace, view.name);
    let port = if view.port_name.is_empty() { String::new() } else { format!(", port {:?}", view.port_name) };
    let is = |what: &str| format!("{socket} is {what} of Service {name}{port}");
    let first = match delivery.kind {
        DestinationKind::ClusterIp => is("the cluster IP and port"),
        DestinationKind::ExternalIp => is("an external IP and port"),
        DestinationKind::LoadBalancer => is("the load balancer's address and port"),
        DestinationKind::NodePort => is("a node port"),
        DestinationKind::NodeLocal if view.name.is_empty() => {
            return vec![format!("{socket} is answered by a server on node {} itself", report.sender.node)];
        }
        DestinationKind::NodeLocal => {
            return vec![
                is("an address and port"),
                format!(
                    "  which a server on node {} itself answers, without translation",
                    report.sender.node
                ),
            ];
        }
        DestinationKind::UndefinedPort => {
            return vec![format!(
                "the address belongs to Service {name}, which defines {}",
                delivery.defined_ports.join(", ")
            )];
        }
        DestinationKind::LeftAlone => {
            return vec![format!("the address belongs to Service {name}, which is left to another proxy")];
        }
        DestinationKind::Unallocated => {
            return vec![format!("{socket} is in the subnet of service addresses, and no Service has it")];
        }
        DestinationKind::Direct => {
            return vec![format!("{socket} is no Service's address: the packet goes there as it is")];
        }
    };
    std::iter::once(first).chain(policies(delivery)).collect()
}

/// Which endpoints may be chosen and for how long, in words.
fn policies(delivery: &Delivery) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(field), Some(policy)) = (&delivery.policy_field, &delivery.policy) {
        lines.push(match (policy.as_str(), delivery.short_circuit) {
            ("Local", _) => format!("  {field}: Local, so only endpoints on this node may be chosen"),
            (_, true) => {
                format!("  {field}: Local, which is for clients outside: pods and the node itself are served as by Cluster")
            }
            _ => format!("  {field}: Cluster, so endpoints on every node may be chosen"),
        });
    }
    if !delivery.source_ranges.is_empty() {
        let word =
            if delivery.source_allowed { "the sender is among them" } else { "the sender is not among them" };
        lines.push(format!("  loadBalancerSourceRanges: {}; {word}", delivery.source_ranges.join(", ")));
    }
    lines.push(match delivery.affinity_seconds {
        Some(seconds) => format!(
            "  sessionAffinity: ClientIP, so the sender comes to the same endpoint again within {seconds} s"
        ),
        None => "  sessionAffinity: None, so every connection is a new choice".to_owned(),
    });
    lines
}

pub(super) fn endpoints(delivery: &Delivery) -> Vec<String> {
    let chosen = delivery.endpoints.iter().filter(|endpoint| endpoint.is_in()).count();
    if !matches!(
        delivery.kind,
        DestinationKind::ClusterIp
            | DestinationKind::ExternalIp
            | DestinationKind::LoadBalancer
            | DestinationKind::NodePort
    ) {
        return Vec::new();
    }
    let all = delivery.endpoints.len();
    let head = match (chosen, all) {
        (_, 0) => "the Service has none".to_owned(),
        (0, _) => format!("none of {all} may be chosen"),
        (1, 1) => "there is one".to_owned(),
        (1, _) => format!("1 of {all} may be chosen"),
        _ => format!("{chosen} of {all} may be chosen, each as likely as the others"),
    };
    let width = |text: fn(&EndpointView) -> String| {
        delivery.endpoints.iter().map(|endpoint| text(endpoint).len()).max().unwrap_or(0)
    };
    let pod = |endpoint: &EndpointView| endpoint.pod.clone().unwrap_or_else(|| "-".to_owned());
    let node = |endpoint: &EndpointView| endpoint.node.clone().unwrap_or_else(|| "-".to_owned());
    let (sockets, pods, nodes) = (width(EndpointView::socket), width(pod), width(node));
    let fallback =
        chosen > 0 && delivery.endpoints.iter().all(|endpoint| !endpoint.is_in() || endpoint.terminating);
    let mut listed: Vec<&EndpointView> = delivery.endpoints.iter().collect();
    // Those that may be chosen first.
    listed.sort_by_key(|endpoint| !endpoint.is_in());
    let lines = listed.into_iter().take(ENDPOINTS_MAX).map(|endpoint| {
        let mark = if endpoint.is_in() { "in " } else { "out" };
        let (pod, node, socket) = (pod(endpoint), node(endpoint), endpoint.socket());
        format!("  {mark}  {socket:<sockets$}  {pod:<pods$}  {node:<nodes$}  {}", remark(endpoint))
    });
    let mut lines: Vec<String> = std::iter::once(head).chain(lines).collect();
    if all > ENDPOINTS_MAX {
        lines.push(format!("  … and {} more", all - ENDPOINTS_MAX));
    }
    if fallback {
        lines.push("  no endpoint is ready, so those that end but still serve are used".to_owned());
    }
    lines
}

fn remark(endpoint: &EndpointView) -> String {
    let mut words = match endpoint.standing {
        Standing::In => String::new(),
        Standing::NotReady => "not ready".to_owned(),
        Standing::Terminated => "being deleted, and does not serve any more".to_owned(),
        Standing::Terminating => "being deleted; others are ready".to_owned(),
        Standing::OtherNode => "not on this node (policy Local)".to_owned(),
        Standing::HintedToOtherNodes => "kept for clients on other nodes (topology hints)".to_owned(),
        Standing::HintedToOtherZones => "kept for clients in other zones (topology hints)".to_owned(),
        Standing::OtherPort => "does not have this port by name".to_owned(),
        Standing::OtherFamily => "of the other IP family".to_owned(),
    };
    if endpoint.slices > 1 {
        let more = format!("in {} EndpointSlices, counted once", endpoint.slices);
        words = if words.is_empty() { more } else { format!("{words}; {more}") };
    }
    words
}
