//! Who listens in a scenario's cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use services::Protocol;

use crate::cluster::{Cluster, Error};
use crate::judge::sender::node_of;
use crate::scenario::{Event, Object, Outcome, PacketCase, Scenario};

type Listener = (Protocol, SocketAddr);

/// Opens a server at every endpoint and target, at the nodes' own answers and at what lies beyond the wire; none where
/// a refusal is expected.
pub(super) fn open(cluster: &Cluster, scenario: &Scenario) -> Result<(), Error> {
    for (protocol, address) in in_pods(scenario) {
        cluster.listen(protocol, address)?;
    }
    for case in scenario.steps.iter().flat_map(|step| &step.packets) {
        let (protocol, to) = (case.packet.probe.protocol(), case.packet.destination);
        match case.outcome {
            Outcome::Local => node_of(cluster, &case.packet.source)?.listen(protocol, to)?,
            Outcome::Pass => cluster.listen(protocol, to)?,
            Outcome::RefusedBy(target) => drop(cluster.pod(target.address.ip())?),
            _ => {}
        }
    }
    Ok(())
}

fn in_pods(scenario: &Scenario) -> BTreeSet<Listener> {
    let mut listeners = BTreeSet::new();
    for step in &scenario.steps {
        for event in &step.events {
            if let Event::Apply(_, Object::EndpointSlice(slice)) = event {
                listeners.extend(endpoints(slice));
            }
        }
        listeners.extend(step.packets.iter().flat_map(targets));
    }
    listeners.retain(|(_, address)| scenario.facts.node_of(address.ip()).is_some());
    let closed = |case: &PacketCase| matches!(case.outcome, Outcome::RefusedBy(_));
    let closed = scenario.steps.iter().flat_map(|step| &step.packets).filter(|case| closed(case));
    for listener in closed.flat_map(targets) {
        listeners.remove(&listener);
    }
    listeners
}

fn targets(case: &PacketCase) -> impl Iterator<Item = Listener> {
    let protocol = case.packet.probe.protocol();
    case.outcome.targets().iter().map(move |target| (protocol, target.address))
}

fn endpoints(slice: &EndpointSlice) -> Vec<Listener> {
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let addresses: Vec<IpAddr> = addresses.filter_map(|address| address.parse().ok()).collect();
    let mut listeners = Vec::new();
    for port in slice.ports.iter().flatten() {
        let protocol = Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"));
        let number = port.port.and_then(|number| u16::try_from(number).ok());
        if let (Some(protocol), Some(number)) = (protocol, number) {
            listeners.extend(addresses.iter().map(|address| (protocol, SocketAddr::new(*address, number))));
        }
    }
    listeners
}
