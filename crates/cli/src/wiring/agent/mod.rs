//! The node agent: service proxy and DNS of one node, fed from one watch of the API.
//!
//! ```text
//! feed (async) ─► slot ─► proxy thread: forwarding table, one nftables transaction
//!              └► slot ─► dns thread: the next zone, published to the server's threads
//! ```
//!
//! `sluice agent` runs it on any cluster, a node of the embedded cluster beside its pods; `sluice proxy` and
//! `sluice dns` run one half.

mod command;
mod feed;
mod names;
mod proxy;
mod proxy_config;
mod slot;
pub(crate) mod stages;
pub(crate) mod status;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use tokio::task::JoinHandle;

pub(crate) use command::{ApiFlags, Args, SubnetFlags, connect, node_name, run, stay, warn_without_node};
use names::Names;
use proxy::Proxy;
pub(crate) use proxy_config::{
    HEALTHZ_PORT, LocalPods, METRICS_PORT, NodePortAddress, ProxyConfig, SYNC_PERIOD,
};
use slot::Slot;
use stages::Stages;

/// What an agent does on its node.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The node's name.
    pub(crate) node: String,
    /// Whether, and how, it programs the kernel.
    pub(crate) proxy: Option<ProxyConfig>,
    /// Whether, and how, it answers names.
    pub(crate) dns: Option<DnsConfig>,
}

/// The DNS half.
#[derive(Clone, Debug)]
pub(crate) struct DnsConfig {
    /// The cluster's domain, such as `cluster.local`.
    pub(crate) domain: String,
    /// The cluster's DNS address, put on loopback while the agent runs: the node answers it itself.
    pub(crate) local_address: Option<Ipv4Addr>,
    /// Where it listens: the cluster's DNS address, local to this node, and the node's own address.
    pub(crate) listen: Vec<SocketAddr>,
    /// Resolvers for names outside of the cluster; `None`: the host's, as they change.
    pub(crate) upstreams: Option<Vec<SocketAddr>>,
}

impl Config {
    /// The agent of a node of the embedded cluster.
    pub(crate) fn of_node(node: &pods::NodeConfig) -> Self {
        let listen =
            [node.dns_address, node.address.addr()].map(|address| SocketAddr::from((address, DNS_PORT)));
        Self {
            node: node.name.clone(),
            proxy: Some(ProxyConfig {
                service_cidrs: Some(vec![node.service_cidr.into()]),
                local_pods: LocalPods::ClusterCidrs(vec![node.cluster_pod_cidr.into()]),
                ..ProxyConfig::default()
            }),
            dns: Some(DnsConfig {
                domain: node.dns_domain.clone(),
                local_address: Some(node.dns_address),
                listen: listen.to_vec(),
                upstreams: Some(vec![(node.gateway, DNS_PORT).into()]),
            }),
        }
    }
}

/// DNS's port.
pub(crate) const DNS_PORT: u16 = 53;

/// A running agent.
pub(crate) struct Agent {
    slots: Vec<Arc<Slot>>,
    feed: JoinHandle<()>,
    status: JoinHandle<()>,
    proxy: bool,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// Starts both halves and the watch that feeds them. Sockets and rules belong to this thread's network namespace.
    pub(crate) async fn start(client: Client, config: Config) -> anyhow::Result<Self> {
        let listener = status::listen().await?;
        let stages = Arc::new(Stages::default());
        let (mut slots, mut threads) = (Vec::new(), Vec::new());
        if let Some(dns) = &config.dns {
            let names = Names::start(dns, Arc::clone(&stages)).context("starting DNS")?;
            threads.push(consumer("names", &mut slots, |slot| names.run(slot))?);
        }
        if let Some(proxy) = &config.proxy {
            let service_cidrs = match &proxy.service_cidrs {
                Some(cidrs) => cidrs.clone(),
                None => command::cluster_service_cidrs(&client).await,
            };
            let proxy = Proxy::open(&config, service_cidrs, Arc::clone(&stages));
            let proxy = proxy.context("starting the service proxy")?;
            threads.push(consumer("proxy", &mut slots, |slot| proxy.run(slot))?);
        }
        let feed = tokio::spawn(feed::feed(client, config.dns.is_some(), slots.clone()));
        let status = tokio::spawn(status::serve(listener, stages));
        Ok(Self { slots, feed, status, proxy: config.proxy.is_some(), threads })
    }

    /// Whether rules stay in the kernel when it stops.
    pub(crate) fn leaves_rules(&self) -> bool {
        self.proxy
    }

    /// Stops: what is on its way is finished. The rules stay in the kernel, so that a restart loses nothing.
    pub(crate) fn stop(self) {
        self.feed.abort();
        self.status.abort();
        self.slots.iter().for_each(|slot| slot.close());
        for thread in self.threads {
            // A consumer that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Starts the thread of one half, with a slot of its own.
fn consumer(
    name: &str,
    slots: &mut Vec<Arc<Slot>>,
    work: impl FnOnce(&Slot) + Send + 'static,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let slot = Arc::new(Slot::default());
    slots.push(Arc::clone(&slot));
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || work(&slot)).with_context(|| format!("starting the {name} thread"))
}
