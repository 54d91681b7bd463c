//! What lies beyond the wire: clients of the cluster, and servers at addresses that are nobody's in it.
//!
//! Each is a pod on a router of its own, which has an address on the wire. A client's router has one node as its gateway,
//! and only that node knows the way back: so one client address may enter by several nodes. A server is routed by the
//! nodes' gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use pods::network::node as network;

use super::{Cluster, Error, GATEWAY, GATEWAY_V6, Node, Pod, gateway_of, node};
use crate::scenario::NodeFacts;

/// The first router's host part on the wire; nodes are below.
const FIRST: u8 = 200;

/// Pods beyond the wire, with their routers, by address and the node that they enter by.
#[derive(Debug, Default)]
pub(super) struct Outside(Mutex<BTreeMap<(IpAddr, String), (Node, Pod)>>);

impl Outside {
    /// The client with this address that enters by `entry`.
    pub(super) fn client(&self, cluster: &Cluster, address: IpAddr, entry: &Node) -> Result<Pod, Error> {
        let gateway = entry.facts().address_to(address).ok_or(Error::Nowhere(address))?;
        let (pod, router) = self.place(cluster, address, &entry.facts().name, gateway)?;
        entry.namespace().set_up(move || network::set_pod_route(IpNet::from(address), router))?;
        Ok(pod)
    }

    /// The one that answers at this address.
    pub(super) fn server(&self, cluster: &Cluster, address: IpAddr) -> Result<Pod, Error> {
        self.place(cluster, address, "", gateway_of(address).addr()).map(|(pod, _)| pod)
    }

    /// True for an address that is beyond the wire.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().any(|(known, _)| *known == address)
    }

    /// The pod and its router's address on the wire.
    fn place(
        &self,
        cluster: &Cluster,
        address: IpAddr,
        entry: &str,
        gateway: IpAddr,
    ) -> Result<(Pod, IpAddr), Error> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address, entry.to_owned());
        if let Some((router, pod)) = places.get(&key) {
            return Ok((pod.clone(), router.facts().addresses[0]));
        }
        let number = places.len();
        let own = router_address(address.is_ipv4(), number);
        let facts = NodeFacts {
            name: format!("the router of {address}"),
            addresses: vec![own],
            pod_cidrs: vec![IpNet::from(address)],
            zone: None,
        };
        let name = format!("outside-{number}");
        let router = Node::plug(cluster.wire(), &name, &facts, &[gateway], &cluster.echo)?;
        node::await_link(router.namespace(), gateway_or_node(cluster, gateway))?;
        // What comes back from beyond the wire takes this way.
        node::await_link(cluster.wire(), own)?;
        let pod = router.pod(address)?;
        places.insert(key, (router, pod.clone()));
        Ok((pod, own))
    }
}

/// Who can tell that the router's link carries packets: the gateway itself if it is a node, else any node.
fn gateway_or_node(cluster: &Cluster, gateway: IpAddr) -> IpAddr {
    let of_node = |node: &&Node| node.facts().addresses.contains(&gateway);
    let any = cluster.nodes().iter().find_map(|node| node.facts().address_to(gateway));
    if cluster.nodes().iter().any(|node| of_node(&node)) { gateway } else { any.unwrap_or(gateway) }
}

fn router_address(ipv4: bool, number: usize) -> IpAddr {
    let host = u32::from(FIRST) + u32::try_from(number).unwrap_or(u32::MAX);
    if ipv4 {
        Ipv4Addr::from(u32::from(GATEWAY.network()) + host).into()
    } else {
        Ipv6Addr::from(u128::from(GATEWAY_V6.network()) + u128::from(host)).into()
    }
}
