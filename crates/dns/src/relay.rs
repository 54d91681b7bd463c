//! The way out of the cluster's own network: takes sockets made in another network namespace and forwards every query
//! to the host's resolvers, from the namespace that this process stands in.
//!
//! It is a [`Server`] that is authoritative for nothing, with a [`Chain`] that only forwards: the same bounds, and SERVFAIL at
//! once when there is no resolver.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use crate::chain::{Chain, ChainError, Surroundings};
use crate::corefile::{Block, To};
use crate::server::{Server, ServerError, Sockets};
use crate::zone::{Zone, ZoneConfig};

/// Starts a relay on these sockets to these resolvers. It stops when the returned server is dropped.
///
/// # Errors
/// [`ServerError`] when a socket is unusable or a thread cannot be started.
pub fn start(udp: UdpSocket, tcp: TcpListener, upstreams: Vec<To>) -> Result<Server, ServerError> {
    let nothing = Arc::new(Zone::empty(Arc::new(ZoneConfig::forward_only())));
    let server = Server::start_chain(
        nothing,
        Chain::forwarding(upstreams)?,
        vec![Sockets::from_parts(udp, Some(tcp))?],
    )?;
    server.set_synced(true);
    Ok(server)
}

impl Chain {
    /// A chain that does nothing but ask these resolvers, in this order, for a server without a Corefile.
    ///
    /// # Errors
    /// As [`Chain::new`], which happens only with upstreams behind TLS.
    pub fn forwarding(upstreams: Vec<To>) -> Result<Arc<Self>, ChainError> {
        let around = Surroundings {
            own: Vec::new(),
            avoid: Vec::new(),
            metrics: Arc::default(),
            sink: Arc::new(|_: &str| {}),
        };
        Self::new(&[&Block::forwarding(upstreams)], ":53", &around)
    }
}
