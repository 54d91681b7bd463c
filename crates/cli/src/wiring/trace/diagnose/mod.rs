//! Says in one sentence why a connection does not go through, and what to type next. Pure: from the report and from what
//! the API holds.

mod endpoints;
mod names;
#[cfg(test)]
mod tests;

use dataplane::forwarding_table::Standing;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt;

use super::cluster::{Facts, SenderKind};
use super::question::LiveOutcome;
use super::report::{Problem, Report, Verdict};
use crate::wiring::agent::explanation::{Delivery, DestinationKind, Fate, ServiceView};

/// The Service that a name was meant to be, when it has no address, or no virtual one.
pub(crate) fn meant(report: &Report) -> Option<ServiceView> {
    report.target.address().is_none().then(|| names::view(report))
}

/// Fills in the problem; a direct connection to a pod that is a headless Service's is judged here too, because only the
/// API knows which ports its pods have.
pub(crate) fn explain(report: &mut Report, facts: &Facts) {
    if report.is_direct() && report.live.is_none() {
        headless(report, facts);
    }
    if report.verdict != Verdict::Connects && report.problem.is_none() {
        report.problem = problem(report, facts);
    }
}

pub(super) fn say(why: impl Into<String>, commands: impl IntoIterator<Item = String>) -> Problem {
    Problem { why: why.into(), commands: commands.into_iter().collect() }
}

fn problem(report: &Report, facts: &Facts) -> Option<Problem> {
    if let Some(missing) = &report.unsynced {
        let node = &report.sender.node;
        return Some(say(
            format!(
                "The agent of {node} has not read everything from the API yet ({missing}), so nothing can be told."
            ),
            ["sluice trace … (again, in a moment)".to_owned()],
        ));
    }
    let Some(delivery) = &report.delivery else { return Some(names::problem(report, facts)) };
    if let Some(problem) = observed(report, delivery) {
        return Some(problem);
    }
    if report.kernel.as_ref().is_some_and(|kernel| !kernel.agrees) {
        let node = &report.sender.node;
        return Some(say(
            format!(
                "The kernel of {node} does not hold what its agent wants it to hold: somebody changed the table, or the last change failed."
            ),
            [format!("sluice dump forwarding --node {node}"), format!("sluice dump nft --node {node}")],
        ));
    }
    Some(match (delivery.kind, delivery.fate) {
        (DestinationKind::UndefinedPort, _) => undefined_port(report, delivery, facts),
        (DestinationKind::Unallocated, _) => unallocated(report),
        (DestinationKind::LeftAlone, _) => left_alone(delivery),
        (DestinationKind::Direct, _) => node_port(report, facts).unwrap_or_else(|| direct(report)),
        (_, Fate::Dropped) if !delivery.source_allowed => source_range(report, delivery),
        (_, Fate::Dropped) => policy_local(report, delivery),
        _ => endpoints::problem(delivery, facts),
    })
}

/// What only the real packet tells: the table forwards it, and the endpoint does not take it.
fn observed(report: &Report, delivery: &Delivery) -> Option<Problem> {
    let live = report.live.as_ref()?;
    if !matches!(delivery.fate, Fate::Forwarded | Fate::Untouched) {
        return None;
    }
    let socket = live.endpoint.clone().unwrap_or_else(|| live.destination.clone());
    let pod = delivery.endpoints.iter().find(|endpoint| endpoint.socket() == socket);
    let pod = pod.and_then(|endpoint| endpoint.pod.clone());
    let namespace = delivery.service.as_ref().map_or("default", |service| service.namespace.as_str());
    let who = pod.as_ref().map_or_else(|| socket.clone(), |pod| format!("pod {pod} ({socket})"));
    let look = pod.map_or_else(Vec::new, |pod| {
        vec![format!("sluice describe pod {pod} -n {namespace}"), format!("sluice logs {pod} -n {namespace}")]
    });
    match live.outcome {
        LiveOutcome::Answered => None,
        LiveOutcome::Refused => Some(say(
            format!(
                "The service network delivered the packet, and {who} refused it: nothing listens on that port there, so the Service's targetPort may be wrong."
            ),
            look,
        )),
        LiveOutcome::Unreachable | LiveOutcome::Silence => Some(say(
            format!(
                "The packet was sent on to {who}, and no answer came back: the server does not answer, or something between the nodes drops the packet."
            ),
            look,
        )),
    }
}

pub(super) fn of(view: &ServiceView) -> String {
    format!("{}/{}", view.namespace, view.name)
}

fn undefined_port(report: &Report, delivery: &Delivery, facts: &Facts) -> Problem {
    let Some(view) = &delivery.service else { return unallocated(report) };
    let port = report.target.port;
    let protocol = report.target.protocol.to_uppercase();
    let same_number = delivery.defined_ports.iter().any(|defined| defined.starts_with(&format!("{port}/")));
    let ports =
        facts.service(view).and_then(|service| service.spec.as_ref()?.ports.clone()).unwrap_or_default();
    let is_target = ports.iter().find(|defined| target_port(defined) == Some(i32::from(port)));
    let hint = match (same_number, is_target) {
        (true, _) => format!(" Port {port} is there, but not for {protocol}."),
        (false, Some(defined)) => {
            format!(" {port} is the port of its pods; the Service's own is {}.", defined.port)
        }
        _ => String::new(),
    };
    let host = &report.target.host;
    let commands = delivery.defined_ports.iter().filter_map(|defined| {
        let (number, rest) = defined.split_once('/')?;
        let protocol = rest.split(' ').next()?.to_lowercase();
        let flag = if protocol == "tcp" { String::new() } else { format!(" --proto {protocol}") };
        Some(format!("sluice trace {} {host}:{number}{flag}", who(report)))
    });
    say(
        format!(
            "Service {} has no port {port}/{protocol}; it defines {}.{hint}",
            of(view),
            delivery.defined_ports.join(", ")
        ),
        commands,
    )
}

fn target_port(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<i32> {
    match port.target_port.as_ref()? {
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number) => Some(*number),
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(_) => None,
    }
}

/// The words of the command line that say who asks.
pub(super) fn who(report: &Report) -> String {
    let sender = &report.sender;
    match (&sender.name, &sender.namespace) {
        (Some(name), Some(namespace)) if namespace == "default" => name.clone(),
        (Some(name), Some(namespace)) => format!("-n {namespace} {name}"),
        _ if sender.kind == SenderKind::Node => format!("--node {}", sender.node),
        _ => format!("--from-ip {}", sender.address.map_or_else(String::new, |ip| ip.to_string())),
    }
}

fn unallocated(report: &Report) -> Problem {
    let host = &report.target.host;
    say(
        format!(
            "No Service has the address {host}, although it is in the subnet of service addresses: the Service was deleted, or made again with another address."
        ),
        ["sluice get services -A".to_owned()],
    )
}

fn left_alone(delivery: &Delivery) -> Problem {
    let view = delivery.service.clone().unwrap_or_default();
    say(
        format!(
            "Service {} carries the label service.kubernetes.io/service-proxy-name (or headless), which leaves it to another proxy.",
            of(&view)
        ),
        [format!("sluice get service {} -n {} --show-labels", view.name, view.namespace)],
    )
}

/// A node port of some Service, at an address where this node does not serve node ports.
fn node_port(report: &Report, facts: &Facts) -> Option<Problem> {
    let port = i32::from(report.target.port);
    let of_port = |service: &&Service| {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
        ports.is_some_and(|ports| ports.iter().any(|defined| defined.node_port == Some(port)))
    };
    let service = facts.services.iter().find(of_port)?;
    let node = &report.sender.node;
    Some(say(
        format!(
            "{port} is the node port of Service {}/{}, but node {node} does not serve node ports at {}.",
            service.namespace().unwrap_or_default(),
            service.name_any(),
            report.target.host,
        ),
        [format!("sluice get node {node} -o wide"), format!("sluice dump forwarding --node {node}")],
    ))
}

fn direct(report: &Report) -> Problem {
    let address = report.delivery.as_ref().map(|delivery| delivery.destination.clone()).unwrap_or_default();
    let outside = report.sender.kind == SenderKind::Outside;
    let who = if outside { format!("--node {}", report.sender.node) } else { who(report) };
    say(
        format!(
            "{address} is no address of a Service, so the service network lets the packet pass as it is; whether something answers there only a real packet tells."
        ),
        [format!("sluice trace {who} {} --live", report.target.text())],
    )
}

fn source_range(report: &Report, delivery: &Delivery) -> Problem {
    let view = delivery.service.clone().unwrap_or_default();
    let sender = report.sender.address.map_or_else(String::new, |address| address.to_string());
    say(
        format!(
            "{sender} may not use this address: spec.loadBalancerSourceRanges of Service {} allows {} only.",
            of(&view),
            delivery.source_ranges.join(", ")
        ),
        [format!("sluice get service {} -n {} -o yaml", view.name, view.namespace)],
    )
}

fn policy_local(report: &Report, delivery: &Delivery) -> Problem {
    let view = delivery.service.clone().unwrap_or_default();
    let field = delivery.policy_field.as_deref().unwrap_or("internalTrafficPolicy");
    let elsewhere = delivery.endpoints.iter().filter(|endpoint| endpoint.standing == Standing::OtherNode);
    let mut nodes: Vec<&str> = elsewhere.filter_map(|endpoint| endpoint.node.as_deref()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let node = &report.sender.node;
    say(
        format!(
            "Service {} has {field}: Local, and none of its ready pods is on {node}, where the packet enters; they are on {}.",
            of(&view),
            if nodes.is_empty() { "other nodes".to_owned() } else { nodes.join(", ") },
        ),
        [format!(
            "sluice patch service {} -n {} -p '{{\"spec\":{{\"{field}\":\"Cluster\"}}}}'",
            view.name, view.namespace
        )],
    )
}

/// A headless Service's name gives its pods' own addresses: ports are not translated, so the port must be the pods'.
fn headless(report: &mut Report, facts: &Facts) {
    let Some(view) = meant(report) else { return };
    let found = facts.service(&view).and_then(|service| Some((service, service.spec.as_ref()?)));
    let Some((service, spec)) = found.filter(|(_, spec)| spec.cluster_ip.as_deref() == Some("None")) else {
        return;
    };
    let ports: Vec<i32> = facts
        .slices
        .iter()
        .flat_map(|slice| slice.ports.iter().flatten().filter_map(|port| port.port))
        .collect();
    let port = i32::from(report.target.port);
    if ports.contains(&port) {
        report.verdict = Verdict::Connects;
        return;
    }
    report.verdict = Verdict::Refused;
    report.problem = Some(headless_port(report, service, spec, &ports));
}

fn headless_port(report: &Report, service: &Service, spec: &ServiceSpec, ports: &[i32]) -> Problem {
    let own = spec.ports.iter().flatten().any(|defined| defined.port == i32::from(report.target.port));
    let mut ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    ports.sort_unstable();
    ports.dedup();
    let untranslated = if own { ", and a headless Service translates no ports" } else { "" };
    say(
        format!(
            "Service {}/{} is headless: its name gives the addresses of its pods, which serve port {}, not {}{untranslated}.",
            service.namespace().unwrap_or_default(),
            service.name_any(),
            if ports.is_empty() { "none".to_owned() } else { ports.join(", ") },
            report.target.port,
        ),
        ports.iter().map(|port| format!("sluice trace {} {}:{port}", who(report), report.target.host)),
    )
}
