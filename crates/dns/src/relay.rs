//! The way out of the cluster's own network: takes sockets made in another network namespace and forwards every query
//! to the host's resolvers, from the namespace that this process stands in.
//!
//! It is a [`Server`] that is authoritative for nothing: the same bounds, and SERVFAIL at once when there is no resolver.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use crate::server::{Server, ServerError, Sockets};
use crate::zone::{Zone, ZoneConfig};

/// Starts a relay on these sockets. It stops when the returned server is dropped.
///
/// # Errors
/// [`ServerError`] when a socket is unusable or a thread cannot be started.
pub fn start(udp: UdpSocket, tcp: TcpListener, upstreams: Vec<SocketAddr>) -> Result<Server, ServerError> {
    let nothing = Arc::new(Zone::empty(Arc::new(ZoneConfig::forward_only())));
    let server = Server::start(nothing, upstreams, vec![Sockets::from_parts(udp, Some(tcp))?])?;
    server.set_synced(true);
    Ok(server)
}
