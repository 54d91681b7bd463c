//! What the API says about the sender, and, when something is wrong, about the Service that was meant.

use std::net::IpAddr;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};

use super::question::Resolver;
use crate::wiring::agent::explanation::ServiceView;

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SenderKind {
    /// A pod with an address of its own.
    #[default]
    Pod,
    /// A process of a node, or a pod that uses the node's network.
    Node,
    /// Somebody else.
    Outside,
}

/// The sender and the node at which its packets meet the service proxy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sender {
    pub(crate) kind: SenderKind,
    /// A pod's.
    pub(crate) namespace: Option<String>,
    /// A pod's.
    pub(crate) name: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) node: String,
    #[serde(skip)]
    pub(crate) resolver: Resolver,
}

/// What is known of the cluster once something is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// All Services.
    pub(crate) services: Vec<Service>,
    pub(crate) namespaces: Vec<String>,
    /// Pods of the Service's namespace.
    pub(crate) pods: Vec<Pod>,
    /// EndpointSlices of the Service.
    pub(crate) slices: Vec<EndpointSlice>,
}

/// The sender that the command line names.
pub(crate) struct Asked<'a> {
    pub(crate) pod: Option<&'a str>,
    pub(crate) from: Option<IpAddr>,
    pub(crate) node: Option<&'a str>,
    pub(crate) namespace: &'a str,
    /// The address asked for, if it is one: a node port is met on its node.
    pub(crate) to: Option<IpAddr>,
}

/// Finds the sender.
pub(crate) async fn sender(client: &Client, asked: &Asked<'_>) -> anyhow::Result<Sender> {
    if let Some(name) = asked.pod {
        let pods: Api<Pod> = Api::namespaced(client.clone(), asked.namespace);
        let pod = pods.get_opt(name).await.context("asking the API for the pod")?;
        let pod = pod.with_context(|| {
            format!("there is no pod {name} in namespace {}: `sluice get pods -A` lists all", asked.namespace)
        })?;
        return sender_pod(&pod);
    }
    let nodes = list::<Node>(Api::all(client.clone()), ListParams::default()).await?;
    if let Some(address) = asked.from {
        return from_address(client, asked, address, &nodes).await;
    }
    let name = asked.node.context(
        "who asks? say a pod, `sluice trace POD HOST:PORT`, a node with --node, or an address with --from-ip",
    )?;
    let node = nodes.iter().find(|node| node.name_any() == name);
    let node = node.with_context(|| format!("there is no node {name}; there are {}", names(&nodes)))?;
    Ok(Sender {
        kind: SenderKind::Node,
        address: addresses(node).into_iter().next(),
        node: name.to_owned(),
        resolver: borrowed(asked.namespace),
        ..Sender::default()
    })
}

fn names(nodes: &[Node]) -> String {
    nodes.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ")
}

/// A node's processes and clients outside do not use the cluster's DNS; a name is looked up for them as for a pod.
fn borrowed(namespace: &str) -> Resolver {
    Resolver { policy: "ClusterFirst".to_owned(), namespace: namespace.to_owned(), ..Resolver::default() }
}

fn sender_pod(pod: &Pod) -> anyhow::Result<Sender> {
    let spec = pod.spec.as_ref().context("the pod has no spec")?;
    let status = pod.status.clone().unwrap_or_default();
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let phase = status.phase.unwrap_or_default();
    let address = status.pod_ip.and_then(|ip| ip.parse().ok()).with_context(|| {
        format!("the pod {namespace}/{name} has no address yet ({phase}): see `sluice describe pod {name} -n {namespace}`")
    })?;
    let host_network = spec.host_network.unwrap_or(false);
    Ok(Sender {
        kind: if host_network { SenderKind::Node } else { SenderKind::Pod },
        address: Some(address),
        node: spec.node_name.clone().context("the pod is on no node")?,
        resolver: pod_resolver(pod, &namespace, address),
        namespace: Some(namespace),
        name: Some(name),
    })
}

/// What the kubelet writes into the pod's `/etc/resolv.conf` and `/etc/hosts`.
fn pod_resolver(pod: &Pod, namespace: &str, address: IpAddr) -> Resolver {
    let spec = pod.spec.clone().unwrap_or_default();
    let policy = spec.dns_policy.unwrap_or_else(|| "ClusterFirst".to_owned());
    let policy = match (policy.as_str(), spec.host_network.unwrap_or(false)) {
        ("None", _) => "None",
        ("Default", _) | ("ClusterFirst", true) => "Default",
        _ => "ClusterFirst",
    };
    let config = spec.dns_config.unwrap_or_default();
    let options = config.options.unwrap_or_default().into_iter();
    let aliases = spec.host_aliases.unwrap_or_default().into_iter();
    let aliases = aliases.filter_map(|alias| Some((alias.ip.parse::<IpAddr>().ok()?, alias.hostnames?)));
    let mut hosts: Vec<(String, IpAddr)> =
        aliases.flat_map(|(ip, names)| names.into_iter().map(move |name| (name, ip))).collect();
    hosts.push(("localhost".to_owned(), IpAddr::from([127, 0, 0, 1])));
    hosts.push((spec.hostname.unwrap_or_else(|| pod.name_any()), address));
    Resolver {
        policy: policy.to_owned(),
        namespace: namespace.to_owned(),
        servers: config.nameservers.iter().flatten().filter_map(|server| server.parse().ok()).collect(),
        searches: config.searches.unwrap_or_default(),
        options: options
            .filter_map(|option| match (option.name?, option.value) {
                (name, Some(value)) => Some(format!("{name}:{value}")),
                (name, None) => Some(name),
            })
            .collect(),
        hosts,
    }
}

async fn from_address(
    client: &Client,
    asked: &Asked<'_>,
    address: IpAddr,
    nodes: &[Node],
) -> anyhow::Result<Sender> {
    let params = ListParams::default().fields(&format!("status.podIP={address}"));
    let pods = list::<Pod>(Api::all(client.clone()), params).await?;
    let live = |pod: &&Pod| {
        let spec = pod.spec.as_ref();
        spec.is_some_and(|spec| !spec.host_network.unwrap_or(false) && spec.node_name.is_some())
    };
    if let Some(pod) = pods.iter().find(live) {
        return sender_pod(pod);
    }
    if let Some(node) = nodes.iter().find(|node| addresses(node).contains(&address)) {
        return Ok(Sender {
            kind: SenderKind::Node,
            address: Some(address),
            node: node.name_any(),
            resolver: borrowed(asked.namespace),
            ..Sender::default()
        });
    }
    let met = asked.to.and_then(|to| nodes.iter().find(|node| addresses(node).contains(&to)));
    let named = asked.node.map(str::to_owned);
    let node =
        named.or_else(|| Some(met.or(nodes.first())?.name_any())).context("the cluster has no nodes")?;
    Ok(Sender {
        kind: SenderKind::Outside,
        address: Some(address),
        node,
        resolver: borrowed(asked.namespace),
        ..Sender::default()
    })
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    let status = node.status.clone().unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default().into_iter();
    addresses.filter_map(|address| address.address.parse().ok()).collect()
}

async fn list<K>(api: Api<K>, params: ListParams) -> anyhow::Result<Vec<K>>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    Ok(api.list(&params).await.context("asking the API")?.items)
}

/// Everything that a reason may be found in.
pub(crate) async fn facts(client: &Client, service: Option<&ServiceView>) -> anyhow::Result<Facts> {
    let namespaces = list::<Namespace>(Api::all(client.clone()), ListParams::default()).await?;
    let mut facts = Facts {
        services: list(Api::all(client.clone()), ListParams::default()).await?,
        namespaces: namespaces.iter().map(ResourceExt::name_any).collect(),
        ..Facts::default()
    };
    if let Some(service) = service {
        let namespace = &service.namespace;
        facts.pods = list(Api::namespaced(client.clone(), namespace), ListParams::default()).await?;
        let label = format!("kubernetes.io/service-name={}", service.name);
        let params = ListParams::default().labels(&label);
        facts.slices = list(Api::namespaced(client.clone(), namespace), params).await?;
    }
    Ok(facts)
}

impl Facts {
    /// A Service by its names.
    pub(crate) fn service(&self, view: &ServiceView) -> Option<&Service> {
        self.services.iter().find(|service| {
            service.namespace().as_deref() == Some(&view.namespace) && service.name_any() == view.name
        })
    }
}

/// Refuses what cannot be combined.
pub(crate) fn check(asked: &Asked<'_>) -> anyhow::Result<()> {
    if asked.pod.is_some() && (asked.from.is_some() || asked.node.is_some()) {
        bail!("a pod has an address and a node already: leave out --from-ip and --node");
    }
    Ok(())
}
