//! A trace for people: one block for each step, what it is on the left, and the conclusion last.

use super::cluster::SenderKind;
use super::question::{Kernel, Live, LiveOutcome, NameStep};
use super::report::{Report, Verdict};
use crate::wiring::agent::explanation::{
    Delivery, DestinationKind, EndpointStanding, EndpointView, Fate, MasqueradeCause,
};

/// Width of the left column.
const LEFT: usize = 10;
/// Endpoints listed; a Service with more is clear enough by them.
const ENDPOINTS_MAX: usize = 40;

/// Lines under headings.
#[derive(Default)]
struct Page(String);

impl Page {
    fn block(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let mut heading = heading;
        for line in lines {
            self.0.push_str(format!("{heading:<LEFT$}{line}").trim_end());
            self.0.push('\n');
            heading = "";
        }
    }
}

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.block("sender", [sender(report)]);
    page.block("name", names(report));
    if let Some(delivery) = &report.delivery {
        page.block("service", service(report, delivery));
        page.block("endpoints", endpoints(delivery));
        if let Some(kernel) = &report.kernel {
            page.block("kernel", kernel_lines(report, delivery, kernel));
        }
        page.block("packet", packet(report, delivery));
    }
    if let Some(live) = &report.live {
        page.block("live", live_lines(report, live));
    }
    page.block("note", report.warnings.iter().cloned());
    page.0.push('\n');
    page.block("result", [result(report)]);
    if let Some(problem) = &report.problem {
        page.block("why", [problem.why.clone()]);
        page.block("try", problem.commands.iter().cloned());
    }
    page.0
}

fn sender(report: &Report) -> String {
    let sender = &report.sender;
    let address = sender.address.map_or_else(String::new, |address| address.to_string());
    match (sender.kind, &sender.name) {
        (SenderKind::Pod, Some(name)) => {
            let namespace = sender.namespace.as_deref().unwrap_or_default();
            format!("pod {namespace}/{name}, address {address}, on node {}", sender.node)
        }
        (SenderKind::Node, Some(name)) => {
            let namespace = sender.namespace.as_deref().unwrap_or_default();
            format!("pod {namespace}/{name}, which uses the network of node {} ({address})", sender.node)
        }
        (SenderKind::Node, None) => format!("a process of node {}, address {address}", sender.node),
        _ => format!("{address}, outside of the cluster; its packet arrives at node {}", sender.node),
    }
}

fn names(report: &Report) -> Vec<String> {
    let Some(first) = report.names.first() else { return Vec::new() };
    let host = &report.target.host;
    let how = if first.answered_by == "/etc/hosts" {
        format!("{host} is in the pod's /etc/hosts")
    } else {
        let searched = if report.names.len() > 1 || first.name != *host {
            ", completed with the search list of /etc/resolv.conf"
        } else {
            ""
        };
        format!("{host} is asked of the DNS server {}{searched}", first.answered_by)
    };
    let width = report.names.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let answer = |step: &NameStep| {
        let forwarded = if step.forwarded { "  (asked of the servers outside of the cluster)" } else { "" };
        format!("  {:<width$}  {}{forwarded}", step.name, meaning(&step.answer))
    };
    std::iter::once(how).chain(report.names.iter().map(answer)).collect()
}

fn meaning(answer: &str) -> String {
    match answer {
        "NXDOMAIN" => "NXDOMAIN (no such name)".to_owned(),
        "NODATA" => "NODATA (the name exists, without an address of this kind)".to_owned(),
        "SERVFAIL" => "SERVFAIL (the server could not find out)".to_owned(),
        other => other.to_owned(),
    }
}

fn service(report: &Report, delivery: &Delivery) -> Vec<String> {
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
                format!("  {field}: Local, but pods and nodes may use every endpoint of the cluster")
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

fn endpoints(delivery: &Delivery) -> Vec<String> {
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
        EndpointStanding::In => String::new(),
        EndpointStanding::NotReady => "not ready".to_owned(),
        EndpointStanding::Terminated => "being deleted, and does not serve any more".to_owned(),
        EndpointStanding::Terminating => "being deleted; others are ready".to_owned(),
        EndpointStanding::OtherNode => "not on this node (policy Local)".to_owned(),
        EndpointStanding::HintedToOtherNodes => "kept for clients on other nodes (topology hints)".to_owned(),
        EndpointStanding::HintedToOtherZones => "kept for clients in other zones (topology hints)".to_owned(),
        EndpointStanding::OtherPort => "does not have this port by name".to_owned(),
        EndpointStanding::OtherFamily => "of the other IP family".to_owned(),
    };
    if endpoint.slices > 1 {
        let more = format!("in {} EndpointSlices, counted once", endpoint.slices);
        words = if words.is_empty() { more } else { format!("{words}; {more}") };
    }
    words
}

fn kernel_lines(report: &Report, delivery: &Delivery, kernel: &Kernel) -> Vec<String> {
    let node = &report.sender.node;
    if kernel.elements.is_empty() && delivery.table_line.is_none() {
        return Vec::new();
    }
    let head = if kernel.agrees {
        format!(
            "node {node} holds the same; these elements of the table \"sluice\" decide (nft list table ip sluice):"
        )
    } else {
        format!("node {node} does NOT hold the same:")
    };
    let width = kernel.elements.iter().map(|element| element.set.len()).max().unwrap_or(0);
    let elements =
        kernel.elements.iter().map(|element| format!("  {:<width$}  {{ {} }}", element.set, element.text));
    let mut lines: Vec<String> = std::iter::once(head).chain(elements).collect();
    if !kernel.agrees {
        let shown = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(format!("  wanted  {}", shown(&delivery.table_line)));
        lines.push(format!("  holds   {}", shown(&kernel.line)));
    }
    lines
}

fn packet(report: &Report, delivery: &Delivery) -> Vec<String> {
    let socket = delivery.destination.split_once(' ').map_or("", |(_, socket)| socket);
    let sender = report.sender.address.map_or_else(String::new, |address| address.to_string());
    match delivery.fate {
        Fate::Refused if report.target.protocol == "tcp" => {
            vec!["refused at once, by a TCP reset (\"connection refused\")".to_owned()]
        }
        Fate::Refused => vec!["refused at once, by ICMP \"port unreachable\"".to_owned()],
        Fate::Dropped => {
            vec!["dropped without an answer: the sender waits until it gives up (\"timed out\")".to_owned()]
        }
        Fate::Local => vec![format!("delivered on node {} itself, as it is", report.sender.node)],
        Fate::Untouched => vec![format!("{sender} -> {socket} stays as it is")],
        Fate::Forwarded => forwarded(report, delivery, &sender, socket),
    }
}

fn forwarded(report: &Report, delivery: &Delivery, sender: &str, socket: &str) -> Vec<String> {
    let chosen: Vec<&EndpointView> = delivery.endpoints.iter().filter(|endpoint| endpoint.is_in()).collect();
    let Some(first) = chosen.first() else { return Vec::new() };
    let node = &report.sender.node;
    let mut lines = vec![format!(
        "the destination {socket} is replaced by the endpoint's (DNAT), for instance {}",
        first.socket()
    )];
    lines.extend(sources(report, &chosen, sender));
    let width = chosen.iter().map(|endpoint| endpoint.address.len()).max().unwrap_or(0);
    lines.extend(chosen.iter().take(ENDPOINTS_MAX).filter_map(|endpoint| {
        let route = endpoint.route.as_ref()?;
        Some(format!("from {node} to {:<width$}  {route}", endpoint.address))
    }));
    lines.push(format!("the reply comes back through {node}, which puts {socket} back as its source"));
    lines
}

/// Whether, and why, the endpoints see the sender's own address.
fn sources(report: &Report, chosen: &[&EndpointView], sender: &str) -> Vec<String> {
    let node = &report.sender.node;
    let mut causes: Vec<MasqueradeCause> = chosen.iter().filter_map(|endpoint| endpoint.masquerade).collect();
    causes.dedup();
    let plain = chosen.iter().any(|endpoint| endpoint.masquerade.is_none());
    let told = causes.into_iter().map(|cause| {
        let becomes = format!("the source becomes {node}'s address (masquerade)");
        match cause {
            MasqueradeCause::Hairpin => {
                format!("if the sender itself is chosen, {becomes}: else the answer would not pass the node")
            }
            MasqueradeCause::External => {
                format!("{becomes}: the endpoint may be on another node, and the answer must come back here")
            }
            MasqueradeCause::Own => {
                format!("{becomes}: it is the node's own connection to an address from outside")
            }
            MasqueradeCause::All => format!("{becomes}: this proxy does so always (--masquerade-all)"),
            MasqueradeCause::NotAPod => {
                let how = report.pods_told.as_ref().map_or_else(String::new, |how| format!(" ({how})"));
                format!("{becomes}: the sender is no pod{how}")
            }
        }
    });
    let stays =
        plain.then(|| format!("the source stays {sender} (no masquerade), so the endpoint sees who asks"));
    stays.into_iter().chain(told).collect()
}

fn live_lines(report: &Report, live: &Live) -> Vec<String> {
    let what = if report.target.protocol == "udp" { "a datagram" } else { "a connection" };
    let ended = match (live.outcome, report.target.protocol.as_str()) {
        (LiveOutcome::Answered, "udp") => format!("answered after {} ms", live.milliseconds),
        (LiveOutcome::Answered, _) => format!("connected after {} ms, and closed again", live.milliseconds),
        (LiveOutcome::Refused, _) => format!("refused after {} ms", live.milliseconds),
        (LiveOutcome::Unreachable, _) => "unreachable".to_owned(),
        (LiveOutcome::Silence, _) => format!("no answer within {:.0} s", live.milliseconds / 1000.0),
    };
    let mut lines = vec![format!("{what} was sent, {} -> {}: {ended}", live.source, live.destination)];
    if live.path.is_empty() {
        lines.push("no rule of the node saw its first packet".to_owned());
    } else {
        lines.push(format!("the way of its first packet through the rules of node {}:", report.sender.node));
    }
    lines.extend(way(live));
    if let Some(connection) = &live.connection {
        lines.push(format!("connection tracking: {connection}"));
    }
    lines
}

/// The steps under the packet that took them, which is told again where it has changed.
fn way(live: &Live) -> Vec<String> {
    let width = live.path.iter().map(|step| step.chain.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut told = String::new();
    for (index, step) in live.path.iter().enumerate() {
        if let Some(packet) = &step.packet {
            let by = step.arrived_by.as_ref().map_or_else(String::new, |name| format!(", in by {name}"));
            let out = step.leaves_by.as_ref().map_or_else(String::new, |name| format!(", out by {name}"));
            let text = format!("  {packet}{by}{out}");
            if text != told {
                lines.push(text.clone());
                told = text;
            }
        }
        // A chain without a word is told by its policy, in the next step.
        let silent = step.rule.is_none() && step.verdict == "continue";
        if silent && live.path.get(index + 1).is_some_and(|next| next.chain == step.chain) {
            continue;
        }
        let rule =
            step.rule.as_ref().map_or_else(|| "no rule matches".to_owned(), |rule| format!("\"{rule}\""));
        let ours = step.table == dataplane::nftables::TABLE;
        let table = if ours { String::new() } else { format!("  (table {})", step.table) };
        lines.push(format!("    {:<width$}  {rule}: {}{table}", step.chain, step.verdict));
    }
    lines
}

fn result(report: &Report) -> String {
    let seen = report.live.is_some();
    let text = match (report.verdict, seen) {
        (Verdict::Connects, true) => "it connects",
        (Verdict::Connects, false) => "it would connect, as far as the network goes; --live tries it",
        (Verdict::Refused, true) => "it is refused",
        (Verdict::Refused, false) => "it would be refused",
        (Verdict::Dropped, true) => "it times out",
        (Verdict::Dropped, false) => "it would time out",
        (Verdict::NoAddress, _) => "no connection: the name has no address",
        (Verdict::Unknown, _) => "cannot be told",
    };
    text.to_owned()
}
