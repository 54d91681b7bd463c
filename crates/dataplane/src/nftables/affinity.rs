//! Names of what session affinity needs, and what is read back from them.
//!
//! Affinity is kube-proxy's: a dynamic set of client addresses for each endpoint of a Service port, with a timeout that
//! each new connection starts anew. All virtual IPs and both policies of a Service port share the sets. Names carry
//! the Service port and the endpoint, so that a new process, or a new layout, finds what the last one remembered. They
//! fit nft's rules for identifiers (`:` becomes `.`) and the kernel's limit of 255 letters, whatever the Service's
//! names are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use services::{Protocol, TrafficPolicy};

use crate::forwarding_table::Frontend;

const STICKY: &str = "sticky-";
const ENDPOINT: &str = "endpoint-";
const SET: &str = "affinity-";
const LOCAL: &str = "local";
/// Comment of a rule for clients that come back begins so; the endpoint follows.
const AGAIN: &str = "again ";

/// A Service port whose clients are remembered, in one family: `namespace/name/protocol`, and `/port` when it has a
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Group(Box<str>);

impl Group {
    pub(super) fn of(frontend: &Frontend, protocol: Protocol) -> Self {
        let port = if frontend.port.is_empty() { String::new() } else { format!("/{}", frontend.port) };
        Self(format!("{}/{protocol}{port}", frontend.service).into())
    }

    /// The chain that remembers the client and translates to the endpoint.
    pub(super) fn endpoint_chain(&self, endpoint: SocketAddr) -> String {
        format!("{ENDPOINT}{self}{}", suffix(endpoint))
    }

    /// The clients of the endpoint.
    pub(super) fn set(&self, endpoint: SocketAddr) -> String {
        format!("{SET}{self}{}", suffix(endpoint))
    }

    /// The lists of its endpoints, one for each policy.
    pub(super) fn stickies(&self) -> [Sticky; 2] {
        [TrafficPolicy::Cluster, TrafficPolicy::Local].map(|policy| Sticky::new(self.clone(), policy))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn suffix(endpoint: SocketAddr) -> String {
    let address = match endpoint.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.to_string().replace(':', "."),
    };
    format!("__{address}/{}", endpoint.port())
}

/// A list of endpoints that clients come back to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sticky {
    pub(super) group: Group,
    /// Chosen by policy Local.
    local: bool,
}

impl Sticky {
    pub(super) fn new(group: Group, policy: TrafficPolicy) -> Self {
        Self { group, local: policy == TrafficPolicy::Local }
    }

    /// The chain that finds a client's endpoint: `sticky-default/web/tcp/http`. With policy Local `/local` follows,
    /// behind an empty port's name if there is none, so that no port can be named like it.
    pub(super) fn chain(&self) -> String {
        let port = if self.local && !self.group.names_port() { "/" } else { "" };
        let local = if self.local { "/local" } else { "" };
        format!("{STICKY}{}{port}{local}", self.group)
    }

    /// The list of a chain's name.
    pub(super) fn of_chain(name: &str) -> Option<Self> {
        let name = name.strip_prefix(STICKY)?;
        let parts: Vec<&str> = name.split('/').collect();
        let (parts, local) = match parts.as_slice() {
            [parts @ .., "", LOCAL] if parts.len() == 3 => (parts, true),
            [parts @ .., LOCAL] if parts.len() == 4 => (parts, true),
            parts => (parts, false),
        };
        let whole = matches!(parts.len(), 3 | 4) && parts.iter().all(|part| !part.is_empty());
        whole.then(|| Self { group: Group(parts.join("/").into()), local })
    }
}

impl Group {
    fn names_port(&self) -> bool {
        self.0.split('/').count() == 4
    }
}

/// True for a chain that only affinity makes.
pub(super) fn is_chain(name: &str) -> bool {
    name.starts_with(STICKY) || name.starts_with(ENDPOINT)
}

/// True for a set of clients.
pub(super) fn is_set(name: &str) -> bool {
    name.starts_with(SET)
}

/// Comment of the rule for clients that come back to an endpoint.
pub(super) fn again(endpoint: SocketAddr) -> String {
    format!("{AGAIN}{endpoint}")
}

/// The endpoints of a sticky chain, by the comments of its rules: sorted, as they were written.
pub(super) fn listed(comments: &[String]) -> Vec<SocketAddr> {
    comments.iter().filter_map(|comment| comment.strip_prefix(AGAIN)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(port: &str) -> Group {
        Group(if port.is_empty() {
            "default/web/tcp".into()
        } else {
            format!("default/web/tcp/{port}").into()
        })
    }

    #[test]
    fn names_are_read_back() {
        for port in ["", "http", "local"] {
            let [cluster, local] = group(port).stickies();
            assert_ne!(cluster.chain(), local.chain());
            assert_eq!(Sticky::of_chain(&cluster.chain()), Some(cluster));
            assert_eq!(Sticky::of_chain(&local.chain()), Some(local));
        }
        assert_eq!(group("").stickies()[1].chain(), "sticky-default/web/tcp//local");
        assert_eq!(Sticky::of_chain("sticky-default"), None);
        assert_eq!(Sticky::of_chain("n3"), None);
    }

    #[test]
    fn names_fit() {
        let long = "n".repeat(63);
        let group = Group(format!("{long}/{long}/sctp/{long}").into());
        let endpoint: SocketAddr = "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535".parse().unwrap();
        for name in [group.endpoint_chain(endpoint), group.set(endpoint), group.stickies()[1].chain()] {
            assert!(name.len() < 256 && !name.contains(':'), "{name}");
        }
    }
}
