//! `sluice agent`: service proxy and DNS for one node of any cluster. Also what `sluice proxy` and `sluice dns` share
//! with it: the connection to the API, and staying until told to stop.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use dns::server::Sockets;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tracing::{info, warn};

use super::api_requests;
use super::corefile::{CorefileSource, Place};
use super::endpoints::Exposure;
use super::names::made_corefile;
use super::{Agent, Config, DNS_PORT, DnsConfig, ProxyConfig, memory};
use crate::wiring::proxy::ForwardingFlags;
use crate::wiring::stop_signals::StopSignals;
use crate::wiring::{logging, maybe_empty_path};

/// Arguments of `sluice agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    api: ApiFlags,
    /// Name of this node's Node object [default: the host name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    #[command(flatten)]
    subnets: SubnetFlags,
    #[command(flatten)]
    forwarding: ForwardingFlags,
    #[command(flatten)]
    dns: DnsFlags,
}

/// How the API is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiFlags {
    /// Kubeconfig of the cluster [default: the one that a pod is given]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    kubeconfig: Option<PathBuf>,
}

/// The service subnets.
#[derive(Debug, clap::Args)]
pub(crate) struct SubnetFlags {
    /// Subnet of the service addresses; may be given twice [default: the cluster's ServiceCIDR objects]
    #[arg(long, value_name = "CIDR")]
    service_cidr: Vec<IpNet>,
}

/// The DNS half.
#[derive(Debug, clap::Args)]
pub(crate) struct DnsFlags {
    /// The cluster's DNS address, answered on this node [default: the ClusterIP of kube-system/kube-dns]
    #[arg(long, value_name = "ADDRESS")]
    dns_address: Option<IpAddr>,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    dns_domain: String,
    /// Leave out what the Corefile of kube-system/coredns asks for and is not served here, instead of refusing to start
    #[arg(long)]
    skip_unsupported: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    stay(async move {
        let client = args.api.connect().await?;
        let node = node_name(args.node_name)?;
        let dns = args.dns.resolve(&client, &node).await?;
        let proxy = ProxyConfig { service_cidrs: args.subnets.chosen(), ..args.forwarding.resolve()? };
        Agent::start(client, Config { node, proxy: Some(proxy), dns: Some(dns) }).await
    })
}

/// Starts an agent and lets it work until Ctrl-C or SIGTERM.
pub(crate) fn stay(start: impl Future<Output = anyhow::Result<Agent>>) -> anyhow::Result<ExitCode> {
    logging::start("info");
    memory::share_one_heap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = StopSignals::listen()?;
        let agent = start.await?;
        signals.wait().await;
        if agent.leaves_rules() {
            info!("stopping; the rules stay, `sluice cleanup --rules` removes them");
        } else {
            info!("stopping");
        }
        let lameduck = agent.begin_stop();
        if !lameduck.is_zero() {
            info!("going on for {lameduck:?}, while nobody new is sent here");
            tokio::time::sleep(lameduck).await;
        }
        agent.stop();
        Ok(ExitCode::SUCCESS)
    })
}

/// The name asked for, else the host's.
pub(crate) fn node_name(asked: Option<String>) -> anyhow::Result<String> {
    let host = || nix::unistd::gethostname().context("reading the host name");
    // The kubelet registers under the lower-cased host name.
    asked.map_or_else(|| host().map(|name| name.to_string_lossy().to_lowercase()), Ok)
}

/// The proxy works without its Node object, but then knows neither its zone nor which endpoints are its own.
pub(crate) async fn warn_without_node(client: &Client, node: &str, flag: &str) {
    // An API that does not answer is told by the watches.
    if let Ok(None) = Api::<Node>::all(client.clone()).get_opt(node).await {
        warn!(
            "there is no Node {node} (see {flag}): until there is, every endpoint counts as another node's"
        );
    }
}

impl ApiFlags {
    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.kubeconfig.as_deref(), None).await
    }
}

/// Connects as a kubeconfig says, to another address if one is given; with neither, as a pod is told to.
pub(crate) async fn connect(kubeconfig: Option<&Path>, master: Option<&str>) -> anyhow::Result<Client> {
    let master = master.filter(|url| !url.is_empty());
    let master: Option<http::Uri> =
        master.map(|url| url.parse().with_context(|| format!("--master {url:?} is no URL"))).transpose()?;
    let named = kubeconfig.filter(|path| !path.as_os_str().is_empty());
    let config = match (named, master) {
        (Some(file), master) => {
            ensure!(file.exists(), "stat {}: no such file or directory", file.display());
            let read = Kubeconfig::read_from(file).with_context(|| format!("reading {}", file.display()))?;
            let mut config =
                kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
            config.cluster_url = master.unwrap_or(config.cluster_url);
            config
        }
        (None, Some(master)) => kube::Config::new(master),
        (None, None) => kube::Config::incluster()
            .context("no --kubeconfig is given, and this is not a pod of a cluster")?,
    };
    api_requests::client(config).context("preparing the connection to the API")
}

impl SubnetFlags {
    /// The subnets asked for, if any.
    pub(crate) fn chosen(&self) -> Option<Vec<IpNet>> {
        Some(self.service_cidr.clone()).filter(|cidrs| !cidrs.is_empty())
    }
}

impl DnsFlags {
    /// Listens on the cluster's DNS address and on the node's own, forwards to the host's resolvers.
    pub(crate) async fn resolve(&self, client: &Client, node: &str) -> anyhow::Result<DnsConfig> {
        let address = match self.dns_address {
            Some(address) => address,
            None => cluster_dns(client).await?,
        };
        let own = node_address(client, node).await?;
        let IpAddr::V4(local) = address else {
            bail!("the DNS address must be an IPv4 address, not {address}; name one with --dns-address")
        };
        let text = made_corefile(&self.dns_domain, DNS_PORT, None);
        Ok(DnsConfig {
            corefile: CorefileSource {
                place: Place::ConfigMap { default: text, resolver: None, must_be_good: true },
                skip_unsupported: self.skip_unsupported,
            },
            local_address: Some(local),
            listen: vec![address, own],
            udp_workers: Sockets::default_workers(),
            exposure: Exposure::Loopback,
        })
    }
}

async fn cluster_dns(client: &Client) -> anyhow::Result<IpAddr> {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let service = services
        .get("kube-dns")
        .await
        .context("reading the Service kube-system/kube-dns; name its address with --dns-address")?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
    address.parse().with_context(|| {
        format!("kube-system/kube-dns has the ClusterIP {address:?}; name an address with --dns-address")
    })
}

async fn node_address(client: &Client, node: &str) -> anyhow::Result<IpAddr> {
    let nodes: Api<Node> = Api::all(client.clone());
    let object = nodes
        .get(node)
        .await
        .with_context(|| format!("reading the Node {node}; name this node with --node-name"))?;
    let addresses = object.status.into_iter().flat_map(|status| status.addresses.unwrap_or_default());
    let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP");
    internal
        .and_then(|address| address.address.parse().ok())
        .with_context(|| format!("the Node {node} has no InternalIP"))
}
