//! The DNS half: each update of the model becomes the next zone, which is published whole.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use dns::corefile::Config;
use dns::instance::{Instance, Options};
use dns::metrics::Metrics;
use dns::zone::PodTable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{debug, info, warn};

use super::api_requests;
use super::slot::{Slot, Taken, Update};
use super::stages::Stages;
use super::{DnsConfig, memory};

/// How long nobody is answered while the API has not told all, as CoreDNS's `startup_timeout`.
const STARTUP: Duration = Duration::from_secs(5);

/// The running servers, for everyone who asks about them.
pub(crate) struct Dns {
    instance: Mutex<Instance>,
    pub(crate) metrics: Arc<Metrics>,
    stopping: AtomicBool,
}

impl Dns {
    /// Lends the instance.
    pub(crate) fn with<T>(&self, use_: impl FnOnce(&mut Instance) -> T) -> T {
        use_(&mut self.instance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The plugin that is not ready to answer, if there is one.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        let ready = !self.stopping.load(Ordering::Acquire) && self.with(|instance| instance.is_ready());
        (!ready).then_some("kubernetes")
    }

    /// Answers as this Corefile says from now on.
    pub(crate) fn reload(&self, config: Config) -> anyhow::Result<()> {
        Ok(self.with(|instance| instance.reload(config))?)
    }

    /// Takes up the cluster's pods.
    pub(crate) fn set_pods(&self, pods: PodTable) {
        self.with(|instance| instance.set_pods(pods));
    }

    /// Says that it is about to stop, so that nobody new asks; returns how long it should go on answering (`lameduck`).
    pub(crate) fn begin_stop(&self) -> Duration {
        self.stopping.store(true, Ordering::Release);
        let lameduck = |instance: &mut Instance| {
            let blocks = instance.config().blocks.iter();
            blocks.filter_map(|block| block.health.as_ref()).map(|health| health.lameduck).max()
        };
        self.with(lameduck).unwrap_or_default()
    }
}

/// The servers and what feeds them.
pub(crate) struct Names {
    /// Goes behind the servers: queries then go to other nodes.
    _address: Option<LocalAddress>,
    dns: Arc<Dns>,
    stages: Arc<Stages>,
}

impl Names {
    /// Binds; queries are answered from the first update on.
    pub(crate) fn start(config: &DnsConfig, corefile: Config, stages: Arc<Stages>) -> anyhow::Result<Self> {
        raise_descriptor_limit();
        let address = config.local_address.map(LocalAddress::place).transpose()?;
        let metrics = Arc::new(Metrics::default());
        let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", ""), ("goversion", "")];
        metrics.set("coredns_build_info", &build, 1);
        // A counter that is not there cannot be alerted on.
        for counter in [
            "coredns_panics_total",
            "coredns_reload_failed_total",
            "coredns_health_request_failures_total",
            "coredns_forward_healthcheck_broken_total",
            "coredns_forward_max_concurrent_rejects_total",
        ] {
            metrics.add(counter, &[], 0);
        }
        api_requests::count_in(&metrics);
        let options = Options {
            listen: config.listen.clone(),
            hold: true,
            workers: config.udp_workers,
            metrics: Arc::clone(&metrics),
            sink: Arc::new(|line| say!("{line}")),
        };
        let instance = Mutex::new(Instance::start(corefile, options)?);
        let dns = Arc::new(Dns { instance, metrics, stopping: AtomicBool::new(false) });
        stages.set_dns(Arc::clone(&dns));
        Ok(Self { _address: address, dns, stages })
    }

    /// The running servers.
    pub(crate) fn dns(&self) -> &Arc<Dns> {
        &self.dns
    }

    /// Publishes zones until the slot is closed; then the servers answer what they have received, and stop.
    pub(crate) fn run(self, slot: &Slot) {
        let (mut patience, mut synced) = (Some(STARTUP), false);
        loop {
            match slot.take(patience.take()) {
                Taken::Update(update) => {
                    self.publish(&update);
                    if !std::mem::replace(&mut synced, true) {
                        info!("all names of the cluster are known and answered");
                    }
                }
                Taken::Timeout => {
                    warn!(
                        "the API has not told all within {STARTUP:?}: until it has, names of the cluster are SERVFAIL"
                    );
                    self.dns.with(Instance::open);
                }
                Taken::Closed => return self.dns.with(Instance::stop),
            }
        }
    }

    fn publish(&self, update: &Update) {
        self.dns.with(|instance| instance.update(&update.snapshot, &update.changes, now_seconds()));
        if self.stages.dns_synced() {
            memory::give_back();
        }
        for trigger in &update.triggers {
            // A clock that was set back says nothing.
            if let Ok(passed) = trigger.elapsed() {
                let kind = [("service_kind", "headless_with_selector")];
                let name = "coredns_kubernetes_dns_programming_duration_seconds";
                self.dns.metrics.observe(name, &kind, passed.as_secs_f64());
            }
        }
    }
}

/// Each query that waits for an upstream may hold a socket: the usual limit of 1024 descriptors is for programs of another
/// kind. What cannot be raised stays; queries beyond it are SERVFAIL.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(65_536)), hard));
    if let Err(error) = raised {
        debug!("the limit of descriptors stays as it is: {error}");
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
        if is_served(self.0) {
            return info!("the DNS address {} stays for the server that has taken our place", self.0);
        }
        if let Err(error) = pods::network::node::remove_dns_address(self.0) {
            warn!("the DNS address {} stays on the loopback interface: {error}", self.0);
        }
    }
}

/// True when somebody else answers there: a socket is bound to this very address. A program that listens on all of them is
/// no server of the cluster's names, and with the address gone queries go to other nodes.
fn is_served(address: Ipv4Addr) -> bool {
    // Of this thread, whose network namespace may be a node's.
    match std::fs::read_to_string("/proc/thread-self/net/udp") {
        Ok(sockets) => has_socket(&sockets, address),
        Err(error) => {
            warn!("whether another server has taken our place cannot be seen: {error}");
            false
        }
    }
}

/// Looks through the kernel's list, where addresses are hexadecimal numbers of the machine's byte order (proc(5)).
fn has_socket(sockets: &str, address: Ipv4Addr) -> bool {
    let number = u32::from_ne_bytes(address.octets());
    let bound = format!("{number:08X}:{:04X}", super::DNS_PORT);
    sockets.lines().any(|line| line.split_whitespace().nth(1) == Some(bound.as_str()))
}

/// The Corefile of a server that is given a domain and upstreams instead of one: kubeadm's.
pub(crate) fn made_corefile(domain: &str, port: u16, upstreams: Option<&[std::net::SocketAddr]>) -> String {
    let upstreams = match upstreams {
        None | Some([]) => "/etc/resolv.conf".to_owned(),
        Some(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    dns::corefile::kubeadm(domain, &upstreams).replace(".:53", &format!(".:{port}"))
}

/// The addresses without their port, which must be one for all.
pub(crate) fn one_port(listen: &[std::net::SocketAddr]) -> anyhow::Result<(Vec<IpAddr>, u16)> {
    let port = listen.first().map_or(super::DNS_PORT, std::net::SocketAddr::port);
    let other = listen.iter().find(|address| address.port() != port);
    anyhow::ensure!(
        other.is_none(),
        "the addresses to listen on have different ports: write a Corefile (--conf) with both"
    );
    Ok((listen.iter().map(std::net::SocketAddr::ip).collect(), port))
}

/// The SOA serial: the second of the last change, as CoreDNS has it.
fn now_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Serial arithmetic is modulo 2^32 (RFC 1982).
    (since.as_secs() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_address_are_found_in_the_kernels_list() {
        let line =
            |bound: &str| format!("  sl  local_address rem_address   st\n  327: {bound} 00000000:0000 07");
        let number = |octets: [u8; 4]| u32::from_ne_bytes(octets);
        let address = Ipv4Addr::new(10, 96, 0, 10);
        for (octets, port, found) in [
            ([10, 96, 0, 10], 53, true),
            ([10, 96, 0, 10], 54, false),
            ([10, 96, 0, 1], 53, false),
            ([0, 0, 0, 0], 53, false),
        ] {
            let list = line(&format!("{:08X}:{port:04X}", number(octets)));
            assert_eq!(has_socket(&list, address), found, "{list}");
        }
    }
}
