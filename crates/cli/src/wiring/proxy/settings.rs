//! What a KubeProxyConfiguration means: checked as kube-proxy checks it, with its defaults, and without what does not
//! apply to Sluice. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use ipnet::IpNet;
use serde_json::Value;

use super::configuration::{Conntrack, KubeProxyConfiguration};
use super::conntrack_limits::ConntrackLimits;
use crate::wiring::agent::{
    HEALTHZ_PORT, LocalPods, METRICS_PORT, NodePortAddress, ProxyConfig, SYNC_PERIOD,
};

/// kube-proxy's own: among the last that the kernel kills.
const OOM_SCORE_ADJ: i32 = -999;
const HOUR: Duration = Duration::from_secs(3600);

/// Everything that a configuration decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// The kubeconfig; `None`: the one that a pod is given.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The Node's name, if not the host's.
    pub(crate) node: Option<String>,
    /// kube-proxy's `-v`.
    pub(crate) verbosity: u32,
    /// For this process.
    pub(crate) oom_score_adj: i32,
    /// For the kernel.
    pub(crate) conntrack: ConntrackLimits,
    /// For the agent.
    pub(crate) proxy: ProxyConfig,
    /// Fields that mean nothing here but are set.
    pub(crate) ignored: Vec<&'static str>,
    /// What is done otherwise than asked for.
    pub(crate) remarks: Vec<String>,
}

impl Settings {
    /// Checks a configuration and fills in what it leaves open.
    ///
    /// # Errors
    /// Names every field that makes no sense.
    pub(crate) fn new(from: &KubeProxyConfiguration) -> anyhow::Result<Self> {
        let mut mistakes = Mistakes::default();
        let mut remarks = Vec::new();
        check_mode(from, &mut mistakes, &mut remarks);
        let proxy = proxy(from, &mut mistakes, &mut remarks);
        let oom_score_adj = from.oom_score_adj.unwrap_or(OOM_SCORE_ADJ);
        if !(-1000..=1000).contains(&oom_score_adj) {
            mistakes.add("oomScoreAdj", oom_score_adj, "must be within the range [-1000, 1000]");
        }
        let conntrack = conntrack(&from.conntrack, &mut mistakes);
        mistakes.into_result()?;
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            kubeconfig: text(&from.client_connection.kubeconfig).map(PathBuf::from),
            node: text(&from.hostname_override).map(|name| name.to_lowercase()),
            verbosity: from.logging.verbosity,
            oom_score_adj,
            conntrack,
            proxy,
            ignored: ignored(from),
            remarks,
        })
    }
}

/// What is wrong with a configuration, all of it.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, field: &str, value: impl std::fmt::Debug, rule: &str) {
        self.0.push(format!("{field}: {value:?} {rule}"));
    }

    /// The parsed text, or a mistake.
    fn parse<T: FromStr>(&mut self, field: &str, text: &str, rule: &str) -> Option<T> {
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.add(field, text, rule);
        }
        parsed
    }

    fn into_result(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        bail!("{}", self.0.join("; "))
    }
}

fn check_mode(from: &KubeProxyConfiguration, mistakes: &mut Mistakes, remarks: &mut Vec<String>) {
    match from.mode.as_str() {
        "nftables" => {}
        "" => remarks.push("no mode is named; it is nftables".to_owned()),
        mode @ ("iptables" | "ipvs") => {
            remarks.push(format!("mode {mode}: Sluice knows only nftables, and uses it"));
        }
        mode => mistakes.add("mode", mode, "must be nftables"),
    }
}

fn proxy(from: &KubeProxyConfiguration, mistakes: &mut Mistakes, remarks: &mut Vec<String>) -> ProxyConfig {
    let bind = match from.bind_address.as_str() {
        "" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        text => mistakes
            .parse("bindAddress", text, "must be an IP address")
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
    };
    let (everywhere, loopback): (IpAddr, IpAddr) = match bind {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let healthz = from.healthz_bind_address.as_deref();
    let metrics = from.metrics_bind_address.as_deref();
    let (sync_period, min_sync_period) = periods(from, mistakes);
    ProxyConfig {
        service_cidrs: None,
        primary_address: Some(bind).filter(|address| !address.is_unspecified()),
        local_pods: local_pods(from, mistakes),
        node_port_addresses: node_port_addresses(&from.node_port_addresses, mistakes, remarks),
        masquerade_all: match from.mode.as_str() {
            "nftables" => from.nftables.masquerade_all,
            _ => from.iptables.masquerade_all,
        },
        healthz: socket_address("healthzBindAddress", healthz, (everywhere, HEALTHZ_PORT), mistakes),
        metrics: socket_address("metricsBindAddress", metrics, (loopback, METRICS_PORT), mistakes),
        bind_hard_fail: from.bind_address_hard_fail,
        sync_period,
        min_sync_period,
    }
}

/// `IP:PORT`, or an IP with the default port; empty is nowhere.
fn socket_address(
    field: &str,
    text: Option<&str>,
    default: (IpAddr, u16),
    mistakes: &mut Mistakes,
) -> Option<SocketAddr> {
    let Some(text) = text else { return Some(default.into()) };
    if text.is_empty() {
        return None;
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, default.1).into());
    }
    let address: Option<SocketAddr> = mistakes.parse(field, text, "must be IP:port");
    if address.is_some_and(|address| address.port() == 0) {
        mistakes.add(field, text, "must have a port between 1 and 65535");
    }
    address
}

/// Those of the mode that the file names, as kube-proxy has it; then those of nftables stand for them.
fn periods(from: &KubeProxyConfiguration, mistakes: &mut Mistakes) -> (Duration, Duration) {
    let (section, sync, min) = match from.mode.as_str() {
        "nftables" => ("nftables", from.nftables.sync_period, from.nftables.min_sync_period),
        "ipvs" => ("ipvs", from.ipvs.sync_period, from.ipvs.min_sync_period),
        _ => ("iptables", from.iptables.sync_period, from.iptables.min_sync_period),
    };
    let sync = if sync.0.is_zero() { SYNC_PERIOD } else { sync.0 };
    if min.0 > sync {
        mistakes.add(&format!("{section}.minSyncPeriod"), min.0, "must not be greater than syncPeriod");
    }
    (sync, min.0)
}

fn local_pods(from: &KubeProxyConfiguration, mistakes: &mut Mistakes) -> LocalPods {
    let mut name = |field: &str, name: &String| {
        if name.is_empty() {
            mistakes.add(field, name, "must not be empty with this detectLocalMode");
        }
        name.clone()
    };
    let detect = &from.detect_local;
    match from.detect_local_mode.as_str() {
        "" | "ClusterCIDR" => LocalPods::ClusterCidrs(cluster_cidrs(&from.cluster_cidr, mistakes)),
        "NodeCIDR" => LocalPods::NodeCidr,
        "BridgeInterface" => LocalPods::Bridge(name("detectLocal.bridgeInterface", &detect.bridge_interface)),
        "InterfaceNamePrefix" => {
            LocalPods::InterfacePrefix(name("detectLocal.interfaceNamePrefix", &detect.interface_name_prefix))
        }
        mode => {
            let rule = "must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix";
            mistakes.add("detectLocalMode", mode, rule);
            LocalPods::NodeCidr
        }
    }
}

fn cluster_cidrs(text: &str, mistakes: &mut Mistakes) -> Vec<IpNet> {
    const FIELD: &str = "clusterCIDR";
    if text.is_empty() {
        return Vec::new();
    }
    let rule = "must be a CIDR, such as 10.244.0.0/16";
    let parts = text.split(',');
    let cidrs: Vec<IpNet> = parts.filter_map(|part| mistakes.parse(FIELD, part, rule)).collect();
    let one_each = match cidrs.as_slice() {
        [] | [_] => true,
        [first, second] => matches!(first, IpNet::V4(_)) != matches!(second, IpNet::V4(_)),
        _ => false,
    };
    if !one_each {
        mistakes.add(FIELD, text, "must be one CIDR, or one of each IP family");
    }
    cidrs
}

fn node_port_addresses(
    entries: &[String],
    mistakes: &mut Mistakes,
    remarks: &mut Vec<String>,
) -> Vec<NodePortAddress> {
    const FIELD: &str = "nodePortAddresses";
    let rule = "must be a CIDR or one of primary, localhost, all";
    let mut addresses = Vec::new();
    for entry in entries {
        let address = match entry.as_str() {
            "primary" => Some(NodePortAddress::Primary),
            "localhost" => Some(NodePortAddress::Localhost),
            "all" => Some(NodePortAddress::All),
            cidr => mistakes.parse(FIELD, cidr, rule).map(NodePortAddress::Within),
        };
        let keyword = !matches!(address, Some(NodePortAddress::Within(_)));
        if keyword && address.as_ref().is_some_and(|address| addresses.contains(address)) {
            mistakes.add(FIELD, entry, "is there twice");
        }
        addresses.extend(address);
    }
    let loopback = |address: &NodePortAddress| match address {
        NodePortAddress::Localhost => true,
        NodePortAddress::Within(cidr) => cidr.addr().is_loopback(),
        _ => false,
    };
    if addresses.iter().any(loopback) {
        remarks.push(
            "node ports are not served on loopback addresses, as in kube-proxy's nftables mode".to_owned(),
        );
    }
    if addresses.is_empty() { vec![NodePortAddress::Primary] } else { addresses }
}

fn conntrack(from: &Conntrack, mistakes: &mut Mistakes) -> ConntrackLimits {
    let mut count = |field: &str, value: Option<i32>, default: u32| {
        let value = value.map_or(Ok(default), u32::try_from);
        value.unwrap_or_else(|_| {
            mistakes.add(field, "a negative number", "must be greater than or equal to 0");
            0
        })
    };
    let max_per_core = count("conntrack.maxPerCore", from.max_per_core, 32 * 1024);
    let min = count("conntrack.min", from.min, 128 * 1024);
    let or =
        |value: Option<super::configuration::GoDuration>, default| value.map_or(default, |value| value.0);
    ConntrackLimits {
        max_per_core,
        min,
        tcp_established: or(from.tcp_established_timeout, 24 * HOUR),
        tcp_close_wait: or(from.tcp_close_wait_timeout, HOUR),
        tcp_be_liberal: from.tcp_be_liberal,
        udp: from.udp_timeout.0,
        udp_stream: from.udp_stream_timeout.0,
    }
}

/// Fields without a meaning here.
const IGNORED: [&str; 27] = [
    "featureGates",
    "clientConnection.acceptContentTypes",
    "clientConnection.contentType",
    "clientConnection.qps",
    "clientConnection.burst",
    "logging.flushFrequency",
    "logging.vmodule",
    "logging.options.text.splitStream",
    "logging.options.text.infoBufferSize",
    "logging.options.json.splitStream",
    "logging.options.json.infoBufferSize",
    "enableProfiling",
    "showHiddenMetricsForVersion",
    "iptables.masqueradeBit",
    "iptables.localhostNodePorts",
    "ipvs.scheduler",
    "ipvs.excludeCIDRs",
    "ipvs.strictARP",
    "ipvs.tcpTimeout",
    "ipvs.tcpFinTimeout",
    "ipvs.udpTimeout",
    "nftables.masqueradeBit",
    "winkernel.networkName",
    "winkernel.sourceVip",
    "configSyncPeriod",
    "portRange",
    "windowsRunAsService",
];

fn ignored(from: &KubeProxyConfiguration) -> Vec<&'static str> {
    // A configuration that was read can be written.
    let object = serde_json::to_value(from).unwrap_or_default();
    let field = |path: &&&str| path.split('.').fold(&object, |at, name| &at[name]);
    let mut named: Vec<&str> = IGNORED.iter().filter(|path| is_set(field(path))).copied().collect();
    if !matches!(from.logging.format.as_str(), "" | "text") {
        named.push("logging.format");
    }
    named
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !matches!(value.as_str(), "" | "0" | "0s"),
        Value::Array(value) => !value.is_empty(),
        Value::Object(value) => !value.is_empty(),
    }
}
