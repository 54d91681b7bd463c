//! One address and port of a Service, and what happens to packets for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use services::{Protocol, ServiceName};

/// Address, port and protocol that clients use. Orders by address, port, protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The virtual IP.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl FrontendKey {
    /// The key of a protocol, address and port.
    #[must_use]
    pub fn new(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        Self { address, port, protocol }
    }
}

/// What becomes of a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It goes to one of these, at random. Sorted, without duplicates, never empty.
    Balance(Arc<[SocketAddr]>),
    /// No endpoint anywhere: refused, TCP by reset, others by ICMP port unreachable.
    Refuse,
    /// Policy Local and no endpoint on this node, though elsewhere: dropped (KEP-2086).
    Drop,
}

impl Target {
    /// The endpoints, none unless it balances.
    #[must_use]
    pub fn endpoints(&self) -> &[SocketAddr] {
        match self {
            Self::Balance(endpoints) => endpoints,
            Self::Refuse | Self::Drop => &[],
        }
    }
}

/// What a Service port's address does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The Service.
    pub service: ServiceName,
    /// Name of its port, `""` when unnamed.
    pub port: Arc<str>,
    /// What happens to new connections.
    pub target: Target,
    /// Addresses among the endpoints that are on this node (or may be), for hairpin masquerade.
    pub local: Box<[IpAddr]>,
}

impl Frontend {
    /// `namespace/name`, with `:port` when the port is named.
    #[must_use]
    pub fn owner(&self) -> String {
        if self.port.is_empty() {
            self.service.to_string()
        } else {
            format!("{}:{}", self.service, self.port)
        }
    }
}
