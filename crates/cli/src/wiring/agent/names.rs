//! The DNS half: each update of the model becomes the next zone, which is published whole.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use dns::server::{Server, Sockets};
use dns::zone::{Zone, ZoneConfig};
use tracing::warn;

use super::DnsConfig;
use super::slot::{Slot, Taken, Update};
use super::stages::Stages;

/// kubeadm's TTL of cluster names, seconds.
const TTL_SECONDS: u32 = 30;
/// UDP threads for each address: on a development machine one keeps up with everything.
const WORKERS: usize = 1;

/// The running server and the zone that it answers from.
pub(crate) struct Names {
    /// Goes when the server stops: queries then go to other nodes.
    _address: Option<LocalAddress>,
    server: Arc<Server>,
    zone: Arc<Zone>,
    stages: Arc<Stages>,
}

impl Names {
    /// Binds and answers: SERVFAIL for cluster names until the first update.
    pub(crate) fn start(config: &DnsConfig, stages: Arc<Stages>) -> anyhow::Result<Self> {
        let mut zone = ZoneConfig::cluster(&config.domain)
            .with_context(|| format!("the DNS domain {:?} is not a name", config.domain))?;
        zone.ttl = TTL_SECONDS;
        zone.pods = dns::zone::Pods::Insecure;
        zone.local_addresses = config.listen.iter().map(SocketAddr::ip).collect();
        let zone = Arc::new(Zone::empty(Arc::new(zone)));
        let address = config.local_address.map(LocalAddress::place).transpose()?;
        let sockets = config.listen.iter().map(|address| Sockets::bind(*address, WORKERS));
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        let server = Server::start(Arc::clone(&zone), config.upstreams.clone().unwrap_or_default(), sockets)?;
        if config.upstreams.is_none() {
            let own: Vec<IpAddr> = config.listen.iter().map(SocketAddr::ip).collect();
            server.follow_upstreams(move || dns::resolv_conf::host_upstreams(&own));
        }
        let server = Arc::new(server);
        stages.set_dns(Arc::clone(&server));
        Ok(Self { _address: address, server, zone, stages })
    }

    /// Publishes zones until the slot is closed.
    pub(crate) fn run(mut self, slot: &Slot) {
        loop {
            match slot.take(None) {
                Taken::Update(update) => self.publish(&update),
                Taken::Timeout => {}
                Taken::Closed => return,
            }
        }
    }

    fn publish(&mut self, update: &Update) {
        self.zone = Arc::new(self.zone.update(&update.snapshot, &update.changes, now_seconds()));
        self.server.publish(Arc::clone(&self.zone));
        self.server.set_synced(true);
        self.stages.dns_synced();
    }
}

/// The cluster's DNS address on loopback, for as long as this lives.
struct LocalAddress(Ipv4Addr);

impl LocalAddress {
    fn place(address: Ipv4Addr) -> anyhow::Result<Self> {
        let placed = pods::network::node::add_dns_address(address);
        placed.with_context(|| format!("adding the DNS address {address} to the loopback interface"))?;
        Ok(Self(address))
    }
}

impl Drop for LocalAddress {
    fn drop(&mut self) {
        if let Err(error) = pods::network::node::remove_dns_address(self.0) {
            warn!("the DNS address {} stays on the loopback interface: {error}", self.0);
        }
    }
}

/// The SOA serial: the second of the last change, as CoreDNS has it.
fn now_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Serial arithmetic is modulo 2^32 (RFC 1982).
    (since.as_secs() & u64::from(u32::MAX)) as u32
}
