//! The node agent: service proxy and DNS of one node, fed from one watch of the API.
//!
//! ```text
//! feed (async) ─► slot ─► proxy thread: forwarding table, one nftables transaction ─► health checks of Services
//!       │      └► slot ─► dns thread: the next zone, published to the server's threads
//!       └─────────────────► observed: health and metrics, for the HTTP servers
//! ```
//!
//! `sluice agent` runs it on any cluster, a node of the embedded cluster beside its pods; `sluice proxy` and
//! `sluice dns` run one half.

mod around;
mod command;
mod feed;
mod health;
mod http;
mod interfaces;
mod metrics;
mod names;
mod node_facts;
mod observed;
mod process;
mod proxy;
mod proxy_config;
mod servers;
mod service_health;
mod slot;
pub(crate) mod stages;
pub(crate) mod status;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use command::{ApiFlags, Args, SubnetFlags, connect, node_name, run, stay, warn_without_node};
use feed::Sources;
use names::Names;
use observed::Observed;
use proxy::{Outfit, Proxy};
pub(crate) use proxy_config::{
    HEALTHZ_PORT, LocalPods, METRICS_PORT, NodePortAddress, ProxyConfig, SYNC_PERIOD,
};
use service_health::Checks;
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
    tasks: Vec<JoinHandle<()>>,
    proxy: bool,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// Starts both halves and the watch that feeds them. Sockets and rules belong to this thread's network namespace.
    pub(crate) async fn start(client: Client, config: Config) -> anyhow::Result<Self> {
        let stages = Arc::new(Stages::default());
        let observed = config.proxy.as_ref().map(|proxy| Arc::new(Observed::new(proxy)));
        let servers = servers::start(config.proxy.as_ref().zip(observed.as_ref()), &stages).await?;
        let mut agent = Self {
            slots: Vec::new(),
            tasks: servers.into_iter().map(tokio::spawn).collect(),
            proxy: config.proxy.is_some(),
            threads: Vec::new(),
        };
        let sources = Sources::new(&config, observed.clone())?;
        if let Some(dns) = &config.dns {
            let names = Names::start(dns, Arc::clone(&stages)).context("starting DNS")?;
            agent.start_consumer("names", |slot| names.run(slot))?;
        }
        if let (Some(proxy), Some(observed)) = (config.proxy, observed) {
            let (checks, asked) = watch::channel(Checks::default());
            agent.tasks.push(tokio::spawn(service_health::run(asked, Arc::clone(&observed))));
            let dns_address = config.dns.iter().find_map(|dns| dns.listen.first()).map(SocketAddr::ip);
            let outfit = Outfit { node: config.node, config: proxy, dns_address, stages, observed, checks };
            let proxy = Proxy::open(outfit).context("starting the service proxy")?;
            agent.start_consumer("proxy", |slot| proxy.run(slot))?;
        }
        agent.tasks.push(tokio::spawn(feed::feed(client, sources, agent.slots.clone())));
        Ok(agent)
    }

    /// Whether rules stay in the kernel when it stops.
    pub(crate) fn leaves_rules(&self) -> bool {
        self.proxy
    }

    /// Stops: what is on its way is finished. The rules stay in the kernel, so that a restart loses nothing.
    pub(crate) fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.slots.iter().for_each(|slot| slot.close());
        for thread in self.threads {
            // A consumer that panicked has said so already.
            let _ = thread.join();
        }
    }

    /// Starts the thread of one half, with a slot of its own.
    fn start_consumer(
        &mut self,
        name: &str,
        work: impl FnOnce(&Slot) + Send + 'static,
    ) -> anyhow::Result<()> {
        let slot = Arc::new(Slot::default());
        self.slots.push(Arc::clone(&slot));
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || work(&slot));
        self.threads.push(started.with_context(|| format!("starting the {name} thread"))?);
        Ok(())
    }
}

impl Sources {
    /// What the halves of an agent need.
    fn new(config: &Config, observed: Option<Arc<Observed>>) -> anyhow::Result<Self> {
        let proxy = config.proxy.as_ref();
        let interfaces = proxy.filter(|proxy| proxy.follows_interfaces());
        let interfaces = interfaces.map(|_| interfaces::watch()).transpose()?;
        Ok(Self {
            namespaces: config.dns.is_some(),
            node: config.node.clone(),
            service_cidrs: proxy.is_some_and(|proxy| proxy.service_cidrs.is_none()),
            interfaces: interfaces.map(StreamExt::boxed),
            observed,
        })
    }
}
