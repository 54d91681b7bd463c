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

pub(crate) mod api_requests;
mod around;
mod command;
mod connections;
pub(crate) mod corefile;
pub(crate) mod endpoints;
mod events;
pub(crate) mod explanation;
mod feed;
mod guard;
mod health;
mod http;
mod interfaces;
mod memory;
mod metrics;
pub(crate) mod names;
mod node_facts;
mod observed;
mod pods_feed;
mod process;
mod proxy;
mod proxy_config;
mod selection;
mod servers;
mod service_health;
mod slot;
pub(crate) mod stages;
pub(crate) mod status;
pub(crate) mod status_client;
pub(crate) mod watched;
mod watching;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::StreamExt;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use command::{ApiFlags, Args, SubnetFlags, connect, node_name, run, stay, warn_without_node};
use corefile::{CorefileSource, Place};
use endpoints::Exposure;
use feed::Sources;
use names::{Dns, Names};
use observed::Observed;
use proxy::{Outfit, Proxy};
pub(crate) use proxy_config::{
    HEALTHZ_PORT, LocalPods, METRICS_PORT, NodePortAddress, ProxyConfig, SYNC_PERIOD,
};
use selection::Selection;
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
    /// What it answers, and how.
    pub(crate) corefile: CorefileSource,
    /// The cluster's DNS address, put on loopback while the agent runs: the node answers it itself.
    pub(crate) local_address: Option<Ipv4Addr>,
    /// Where it listens: the cluster's DNS address, local to this node, and the node's own address.
    /// Blocks of the Corefile that say `bind` listen there instead. Empty: every address.
    pub(crate) listen: Vec<IpAddr>,
    /// UDP threads for each address. A node that serves a cluster has one for each core; the lab's nodes share a machine
    /// whose one thread answers more than all their pods ask.
    pub(crate) udp_workers: usize,
    /// Who may ask for its health and its counts.
    pub(crate) exposure: Exposure,
}

impl Config {
    /// The agent of a node of the embedded cluster.
    pub(crate) fn of_node(node: &pods::NodeConfig) -> Self {
        let upstream = (node.gateway, DNS_PORT).into();
        let text = names::made_corefile(&node.dns_domain, DNS_PORT, Some(&[upstream]));
        Self {
            node: node.name.clone(),
            proxy: Some(ProxyConfig {
                service_cidrs: Some(vec![node.service_cidr.into()]),
                local_pods: LocalPods::ClusterCidrs(vec![node.cluster_pod_cidr.into()]),
                ..ProxyConfig::default()
            }),
            dns: Some(DnsConfig {
                corefile: CorefileSource {
                    place: Place::ConfigMap { default: text, resolver: Some(upstream), must_be_good: false },
                    skip_unsupported: false,
                },
                local_address: Some(node.dns_address),
                listen: vec![node.dns_address.into(), node.address.addr().into()],
                udp_workers: 1,
                exposure: Exposure::Loopback,
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
    dns: Option<Arc<Dns>>,
    proxy: bool,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// Starts both halves and the watch that feeds them. Sockets and rules belong to this thread's network namespace.
    /// Without a client there is no watch: a Corefile without `kubernetes` needs none.
    pub(crate) async fn start(client: impl Into<Option<Client>>, config: Config) -> anyhow::Result<Self> {
        let client = client.into();
        let stages = Arc::new(Stages::new(config.proxy.is_some(), config.dns.is_some()));
        let (observed, reports) = config.proxy.as_ref().map(Observed::new).unzip();
        let observed = observed.map(Arc::new);
        let servers = servers::start(config.proxy.as_ref().zip(observed.as_ref()), &stages).await?;
        let mut agent = Self {
            slots: Vec::new(),
            tasks: servers.into_iter().map(tokio::spawn).collect(),
            dns: None,
            proxy: config.proxy.is_some(),
            threads: Vec::new(),
        };
        let mut sources = Sources::new(&config, observed.clone())?;
        if let Some(dns) = &config.dns {
            let selection = agent.start_names(dns, client.as_ref(), &stages, &sources.node).await?;
            sources.selection = if agent.proxy { selection.with_all_detail() } else { selection };
        }
        if let (Some(proxy), Some(observed)) = (config.proxy, observed) {
            let (checks, asked) = watch::channel(Checks::default());
            agent.tasks.push(tokio::spawn(service_health::run(asked, Arc::clone(&observed))));
            let dns_address = config.dns.iter().find_map(|dns| dns.listen.first()).copied();
            let outfit = Outfit { node: config.node, config: proxy, dns_address, stages, observed, checks };
            let proxy = Proxy::open(outfit).context("starting the service proxy")?;
            agent.start_consumer("proxy", |slot| proxy.run(slot))?;
        }
        if let Some(client) = client {
            if let Some(reports) = reports {
                let made = events::publish(client.clone(), sources.node.clone(), reports);
                agent.tasks.push(tokio::spawn(made));
            }
            agent.tasks.push(tokio::spawn(feed::feed(client, sources, agent.slots.clone())));
        }
        Ok(agent)
    }

    /// Starts the DNS half and what follows its Corefile; returns which objects it needs.
    async fn start_names(
        &mut self,
        config: &DnsConfig,
        client: Option<&Client>,
        stages: &Arc<Stages>,
        node: &str,
    ) -> anyhow::Result<Selection> {
        let loaded = config.corefile.load(client).await?;
        let selection = Selection::of(&loaded.config);
        ensure!(
            !self.proxy || selection.is_everything(),
            "labels, namespace_labels and noendpoints of the kubernetes plugin are for sluice dns: the proxy beside it \
             needs every object"
        );
        let names =
            Names::start(config, loaded.config.clone(), Arc::clone(stages)).context("starting DNS")?;
        let dns = Arc::clone(names.dns());
        for server in endpoints::start(&loaded.config, &dns, config.exposure)? {
            self.tasks.push(tokio::spawn(server));
        }
        dns.at_work(&loaded.hash);
        let corefile = config.corefile.clone();
        let follow = corefile.follow(client.cloned(), Arc::clone(&dns), loaded.tree, node.to_owned());
        self.tasks.push(tokio::spawn(follow));
        if let Some(client) = client.filter(|_| selection.pods) {
            self.tasks.push(tokio::spawn(pods_feed::feed(client.clone(), Arc::clone(&dns))));
        }
        self.dns = Some(dns);
        self.start_consumer("names", |slot| names.run(slot))?;
        Ok(selection)
    }

    /// Whether rules stay in the kernel when it stops.
    pub(crate) fn leaves_rules(&self) -> bool {
        self.proxy
    }

    /// Says that it is about to stop; returns how long DNS should go on answering, so that nobody asks a server that has
    /// gone.
    pub(crate) fn begin_stop(&self) -> std::time::Duration {
        self.dns.as_ref().map(|dns| dns.begin_stop()).unwrap_or_default()
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
            selection: Selection::forwarded(),
            node: config.node.clone(),
            service_cidrs: proxy.is_some_and(|proxy| proxy.service_cidrs.is_none()),
            interfaces: interfaces.map(StreamExt::boxed),
            observed,
        })
    }
}
