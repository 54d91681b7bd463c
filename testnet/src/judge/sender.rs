//! Who sends the packets of a scenario: the pod, node or outsider that a line names, by a real client in its namespace.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::probe::{self, Answer, Late};
use crate::cluster::{Cluster, Error, Namespace, Node};
use crate::scenario::{Packet, Probe, Source};

/// A sender: its namespace, its own address, its node's.
pub(super) struct Sender {
    /// Where it stands.
    pub(super) namespace: Namespace,
    /// Its own address.
    pub(super) address: IpAddr,
    /// Those that masquerading may put in place of its own: its node's, or that of the node by which it enters, and of
    /// the one that it goes to.
    pub(super) nodes: Vec<IpAddr>,
}

impl Sender {
    /// The one that a packet names.
    pub(super) fn find(cluster: &Cluster, packet: &Packet) -> Result<Self, Error> {
        let (node, to) = (node_of(cluster, &packet.source)?, packet.destination.ip());
        let own = node.facts().address_to(to).ok_or(Error::Nowhere(to))?;
        let (pod, address) = match &packet.source {
            // To an address of the node's own it speaks from that very address.
            Source::Node(_) if node.facts().addresses.contains(&to) => (None, to),
            Source::Node(_) => (None, own),
            Source::Pod(address) => (Some(cluster.pod(*address)?), *address),
            Source::Outside { address, entry } => (Some(cluster.outside(*address, entry)?), *address),
        };
        let namespace = pod.map_or_else(|| node.namespace().clone(), |pod| pod.namespace().clone());
        let others = cluster.nodes().iter().filter(|node| node.facts().addresses.contains(&to));
        let others = others.filter_map(|node| node.facts().address_to(to));
        Ok(Self { namespace, address, nodes: [own].into_iter().chain(others).collect() })
    }

    /// Sends one packet and waits for what comes of it.
    pub(super) fn send(&self, packet: &Packet, patience: Duration) -> Result<Answer, String> {
        let (probe, source, to) = (packet.probe, self.address, packet.destination);
        let port = packet.port.unwrap_or(0);
        let late = move |what| match probe::late(what, source, to) {
            Ok(()) => Answer::Silence,
            // The kernel tells a process of the node itself that its packet was dropped on the way out.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Answer::Silence,
            Err(error) => Answer::Other(error.to_string()),
        };
        let sent = self.namespace.run(move || match probe {
            Probe::Tcp => probe::tcp(to, patience),
            Probe::Udp => probe::udp_from(port, to, patience),
            Probe::Sctp => probe::sctp(to, patience),
            Probe::Fragments => probe::fragments(to, patience),
            Probe::LateReset => late(Late::Reset),
            Probe::LateFin => late(Late::Fin),
        });
        sent.map_err(|error| super::chain(&error))
    }
}

/// The node on which the sender is, or by which it enters.
pub(super) fn node_of<'a>(cluster: &'a Cluster, source: &Source) -> Result<&'a Node, Error> {
    match source {
        Source::Pod(address) => {
            let node = cluster.nodes().iter().find(|node| node.facts().has_pod(*address));
            node.ok_or(Error::Nowhere(*address))
        }
        Source::Node(name) | Source::Outside { entry: name, .. } => {
            cluster.node(name).ok_or_else(|| Error::NoNode(name.clone()))
        }
    }
}

/// An answer in the words of a packet line.
pub(super) fn said(answer: &Answer) -> String {
    match answer {
        Answer::Heard(heard) => format!("{} (which saw {})", heard.server, heard.client.ip()),
        Answer::Refused(after) => format!("reject (after {after:?})"),
        Answer::Silence => "drop (silence)".to_owned(),
        Answer::Other(text) => text.clone(),
    }
}
