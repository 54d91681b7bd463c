//! Who sends the packets of a scenario: the pod or node that a line names, by a real client in its namespace.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::cluster::probe::{self, Answer};
use crate::cluster::{Cluster, Error, Namespace, Node};
use crate::scenario::{Packet, Probe, Source};

/// A sender: its namespace, its own address, its node's.
pub(super) struct Sender {
    /// Where it stands.
    pub(super) namespace: Namespace,
    /// Its own address.
    pub(super) address: Ipv4Addr,
    /// Its node's.
    pub(super) node: Ipv4Addr,
}

impl Sender {
    /// The one that a line names.
    pub(super) fn find(cluster: &Cluster, source: &Source) -> Result<Self, Error> {
        let node = node_of(cluster, source)?;
        let own = node.facts().address;
        Ok(match source {
            Source::Pod(address) => {
                Self { namespace: cluster.pod(*address)?.namespace().clone(), address: *address, node: own }
            }
            Source::Node(_) => Self { namespace: node.namespace().clone(), address: own, node: own },
        })
    }

    /// Sends one packet and waits for what comes of it.
    pub(super) fn send(&self, packet: &Packet, patience: Duration) -> Result<Answer, String> {
        let (probe, source, to) = (packet.probe, self.address, packet.destination);
        let port = packet.port.unwrap_or(0);
        let sent = self.namespace.run(move || match probe {
            Probe::Tcp => probe::tcp(to, patience),
            Probe::Udp => probe::udp_from(port, to, patience),
            Probe::LateReset => match probe::late_reset(source, to) {
                Ok(()) => Answer::Silence,
                Err(error) => Answer::Other(error.to_string()),
            },
        });
        sent.map_err(|error| super::chain(&error))
    }
}

/// The node on which the sender is.
pub(super) fn node_of<'a>(cluster: &'a Cluster, source: &Source) -> Result<&'a Node, Error> {
    let node = cluster.nodes().iter().find(|node| match source {
        Source::Pod(address) => node.facts().pod_cidr.contains(address),
        Source::Node(name) => node.facts().name == *name,
    });
    node.ok_or(match source {
        Source::Pod(address) => Error::Nowhere(*address),
        Source::Node(_) => Error::Nowhere(Ipv4Addr::UNSPECIFIED),
    })
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
