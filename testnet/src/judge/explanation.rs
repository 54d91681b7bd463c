//! Explanations under the judge of the forwarding tables: whatever a scenario makes of a table, `sluice trace` must call
//! those endpoints in that the table chooses from, and give every other a reason.

use std::net::{IpAddr, SocketAddr};

use dataplane::forwarding_table::{Destination, ForwardingTable, FrontendKey, Packet, Reasons, Standing};
use services::Snapshot;

/// Somebody outside of every scenario's cluster, of each family.
const OUTSIDE: [&str; 2] = ["198.51.100.77", "2001:db8:ffff::77"];

/// What the explanations of a table's frontends say wrong, one line for each.
pub(super) fn contradictions(table: &ForwardingTable, snapshot: &Snapshot) -> Vec<String> {
    let mut sources: Vec<IpAddr> = OUTSIDE.iter().filter_map(|text| text.parse().ok()).collect();
    sources.extend(&table.facts().addresses);
    // Endpoints are the pods that we know; one that reaches itself is a case of its own.
    sources.extend(table.frontends().filter_map(|(_, frontend)| Some(frontend.endpoints().next()?.ip())));
    sources.sort_unstable();
    sources.dedup();
    let packets = table.keys().flat_map(|destination| {
        let same_family = move |source: &&IpAddr| source.is_ipv4() == destination.address.is_ipv4();
        sources.iter().filter(same_family).map(move |source| Packet { source: *source, destination })
    });
    packets.filter_map(|packet| contradiction(table, snapshot, &packet)).collect()
}

fn contradiction(table: &ForwardingTable, snapshot: &Snapshot, packet: &Packet) -> Option<String> {
    let explanation = table.explain(packet, snapshot);
    if explanation.outcome != table.judge(packet) {
        return Some(format!("{packet}: explained as {}", explanation.outcome));
    }
    match explanation.destination {
        Destination::Answered(_) => None,
        Destination::Frontend(reasons) => wrong_endpoints(table, packet, &reasons),
        other => Some(format!("{packet}: explained as {other:?}")),
    }
}

fn wrong_endpoints(table: &ForwardingTable, packet: &Packet, reasons: &Reasons) -> Option<String> {
    let key: &FrontendKey = &packet.destination;
    let chosen = table.target_for(packet.source, table.frontend(key)?).endpoints();
    let taking = reasons.endpoints.iter().filter(|endpoint| endpoint.standing == Standing::In);
    let told: Vec<SocketAddr> = taking.clone().filter_map(|endpoint| endpoint.socket()).collect();
    if told != chosen {
        return Some(format!("{packet}: chooses from {chosen:?}, explained as {told:?}"));
    }
    let masked = |address: IpAddr| table.masquerades(packet.source, key, address);
    let wrong = taking.clone().find(|endpoint| endpoint.masquerade.is_some() != masked(endpoint.address))?;
    Some(format!("{packet}: masquerade to {} explained as {:?}", wrong.address, wrong.masquerade))
}
