//! What becomes of the packet's destination and source, and which way it goes.

use dataplane::forwarding_table::MasqueradeReason;

use super::ENDPOINTS_MAX;
use crate::wiring::agent::explanation::{Delivery, EndpointView, Fate};
use crate::wiring::trace::report::Report;

pub(super) fn lines(report: &Report, delivery: &Delivery) -> Vec<String> {
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
    let mut causes: Vec<MasqueradeReason> =
        chosen.iter().filter_map(|endpoint| endpoint.masquerade).collect();
    causes.dedup();
    let plain = chosen.iter().any(|endpoint| endpoint.masquerade.is_none());
    let told = causes.into_iter().map(|cause| {
        let becomes = format!("the source becomes {node}'s address (masquerade)");
        match cause {
            MasqueradeReason::Hairpin => {
                format!("if the sender itself is chosen, {becomes}: else the answer would not pass the node")
            }
            MasqueradeReason::External => {
                format!("{becomes}: the endpoint may be on another node, and the answer must come back here")
            }
            MasqueradeReason::Own => {
                format!("{becomes}: the node itself asks, at an address for clients outside")
            }
            MasqueradeReason::All => format!("{becomes}: this proxy does so always (--masquerade-all)"),
            MasqueradeReason::NotAPod => {
                let how = report.pods_told.as_ref().map_or_else(String::new, |how| format!(" ({how})"));
                format!("{becomes}: the sender is no pod{how}")
            }
        }
    });
    let stays =
        plain.then(|| format!("the source stays {sender} (no masquerade), so the endpoint sees who asks"));
    stays.into_iter().chain(told).collect()
}
