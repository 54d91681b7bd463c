//! A pod on a node, wired as the product does it, with our DNS server in the node's namespace at the cluster's DNS address.
//! Everything is held by descriptors: it ends with the process, however that ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use dns::corefile::{self, NoSources};
use dns::instance::{Instance, Options};
use dns::metrics::Metrics;
use nix::net::if_::if_nametoindex;
use pods::network::node::add_dns_address;
use testnet::cluster::{Cluster, Namespace, Node, Pod};
use testnet::scenario::Facts;

use super::ready::{self, Ready};
use super::system;
use crate::dns::names::{self, Workload};
use crate::dns::servers::{SERVER_CORE, stay_on};

/// The cluster's DNS address.
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The pod, the name of its pair on the node, and in the pod.
const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const ON_NODE: &str = "pod-1-5";
pub(super) const IN_POD: &str = "eth0";

/// The test bed.
pub(super) struct Site {
    cluster: Cluster,
    pod: Pod,
    /// Its pair's end on the node.
    pub(super) interface: u32,
    /// Questions for an A record, with our answers to them.
    pub(super) known: Ready,
    /// Questions for names that are not there.
    pub(super) unknown: Ready,
    #[allow(dead_code, reason = "dropping it stops the server")]
    instance: Instance,
}

impl Site {
    /// With a zone of so many Services.
    pub(super) fn start(services: u32) -> Result<Self> {
        let cluster = Cluster::start(&Facts::default())?;
        let pod = cluster.pod(IpAddr::V4(POD))?;
        let node = node_of(&cluster)?;
        node.run(|| add_dns_address(DNS))??;
        let interface = node.run(|| if_nametoindex(ON_NODE))?.context("the pod's interface")?;
        let names = names::Cluster { services, endpoints: 2 };
        let mut instance = node.run(|| {
            stay_on(SERVER_CORE);
            instance()
        })??;
        let mut model = names.model()?;
        instance.update(&model.snapshot(), &model.take_changes(), 1);
        let zone = instance.zone().context("no zone")?;
        let asked = |workload: Workload| ready::answers(&zone, &workload.packets(names, services as usize)?);
        let (known, unknown) = (asked(Workload::A)?, asked(Workload::Nxdomain)?);
        Ok(Self { cluster, pod, interface, known, unknown, instance })
    }

    /// Where our server, or an echo in its place, answers.
    pub(super) fn address(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(DNS, port)
    }

    /// Runs `work` as a process of the node would.
    pub(super) fn on_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(node_of(&self.cluster)?.namespace(), work)
    }

    /// Runs `work` as a process of the pod would.
    pub(super) fn in_pod<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(self.pod.namespace(), work)
    }

    /// Lets the pod's end of the pair receive by NAPI, or no more: an XDP program on the node's end sends only then.
    pub(super) fn set_napi_in_pod(&self, on: bool) -> Result<()> {
        self.in_pod(move || system::set_gro(IN_POD, on))?.context("GRO of the pod's interface")
    }

    /// Takes the proxy's rules away.
    pub(super) fn clear_rules(&self) -> Result<()> {
        self.on_node(dataplane::nftables::cleanup)?.context("the proxy's rules").map(drop)
    }
}

/// Runs `work` on a thread in this namespace.
fn inside<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> Result<T> {
    let handle = namespace.as_fd();
    let enter = move || pods::namespace::enter_network(handle).map(|()| work());
    let thread = std::thread::scope(|scope| scope.spawn(enter).join());
    Ok(thread.map_err(|_| anyhow!("work in a namespace panicked"))??)
}

fn node_of(cluster: &Cluster) -> Result<&Node> {
    cluster.node("worker-1").context("the first node")
}

/// One UDP thread with kubeadm's Corefile, everything counted.
fn instance() -> Result<Instance> {
    let text = corefile::kubeadm("cluster.local", "127.0.0.1:9");
    let config = corefile::read(&text, "Corefile", 53, &NoSources).context("our own Corefile")?;
    let options = Options {
        listen: vec![DNS.into()],
        hold: false,
        workers: 1,
        metrics: Arc::new(Metrics::default()),
        sink: Arc::new(|_: &str| {}),
    };
    Ok(Instance::start(config, options)?)
}
