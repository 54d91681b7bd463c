//! kube-proxy's flags. Those that mean something here have fields; those that mean nothing are accepted by a table and
//! named in one warning; any other is an error.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::configuration::{GoDuration, KubeProxyConfiguration};
use crate::wiring::maybe_empty_path;

/// Flags of the program itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ProgramFlags {
    /// Read the configuration from this file, a KubeProxyConfiguration. As in kube-proxy, flags then count no more, but
    /// for --master, --hostname-override, -v and --cleanup
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Kubeconfig of the cluster [default: the one that a pod is given]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Address of the API, instead of the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub(crate) master: Option<String>,
    /// Write the configuration that the flags make to this file, then exit
    #[arg(long, value_name = "FILE")]
    pub(crate) write_config_to: Option<PathBuf>,
    /// Name of this node's Node object [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname_override: Option<String>,
    /// Must be nftables; iptables and ipvs are told in a warning, and nftables is used
    #[arg(long, value_name = "MODE")]
    pub(crate) proxy_mode: Option<String>,
    /// The oom-score-adj of this process
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Detail of the log: 4 and 5 show each sync, 6 and more everything
    #[arg(short = 'v', long = "v", value_name = "N")]
    pub(crate) verbosity: Option<u32>,
    /// Remove the rules, and nothing else, then exit
    #[arg(long)]
    pub(crate) cleanup: bool,
    /// Set the limits of connection tracking, which needs all of root's rights, then exit
    #[arg(long)]
    pub(crate) init_only: bool,
    /// Print the version and exit
    #[arg(long, value_name = "true|raw", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) conntrack: ConntrackFlags,
    #[command(flatten)]
    pub(crate) ignored: IgnoredFlags,
}

/// Flags of what is forwarded and where it is told; `sluice agent` has them too.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ForwardingFlags {
    /// The node's primary address [default: the Node object's]
    #[arg(long, value_name = "IP")]
    bind_address: Option<IpAddr>,
    /// Where /healthz and /livez are served; empty: nowhere [default: 0.0.0.0:10256]
    #[arg(long, value_name = "IP:PORT")]
    healthz_bind_address: Option<String>,
    /// Where /metrics is served; empty: nowhere [default: 127.0.0.1:10249]
    #[arg(long, value_name = "IP:PORT")]
    metrics_bind_address: Option<String>,
    /// Exit when one of these addresses cannot be had
    #[arg(long)]
    bind_address_hard_fail: bool,
    /// Subnets of the cluster's pods, one for each IP family: what comes from elsewhere to a cluster address is
    /// masqueraded
    #[arg(long, value_name = "CIDR[,CIDR]")]
    cluster_cidr: Option<String>,
    /// How traffic of this node's pods is told from other: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix
    /// [default: ClusterCIDR]
    #[arg(long, value_name = "MODE")]
    detect_local_mode: Option<String>,
    /// The bridge of --detect-local-mode BridgeInterface
    #[arg(long, value_name = "NAME")]
    pod_bridge_interface: Option<String>,
    /// The beginning of names of --detect-local-mode InterfaceNamePrefix
    #[arg(long, value_name = "PREFIX")]
    pod_interface_name_prefix: Option<String>,
    /// Where node ports are served: CIDRs, or primary, localhost, all [default: primary]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    nodeport_addresses: Vec<String>,
    /// Masquerade all traffic to cluster addresses
    #[arg(long)]
    masquerade_all: bool,
    /// Age of an update that makes /healthz unhealthy, halved [default: 30s]
    #[arg(long, value_name = "DURATION")]
    iptables_sync_period: Option<GoDuration>,
    /// Least time between two syncs [default: 0s, at once]
    #[arg(long, value_name = "DURATION")]
    iptables_min_sync_period: Option<GoDuration>,
    /// In place of --healthz-bind-address, whose port it sets; 0: nowhere
    #[arg(long, value_name = "PORT", hide = true)]
    healthz_port: Option<u16>,
    /// In place of --metrics-bind-address, whose port it sets; 0: nowhere
    #[arg(long, value_name = "PORT", hide = true)]
    metrics_port: Option<u16>,
}

/// Limits of connection tracking.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConntrackFlags {
    /// Connections tracked for each core, at least; 0: as it is [default: 32768]
    #[arg(long, value_name = "N")]
    conntrack_max_per_core: Option<i32>,
    /// Connections tracked, at least [default: 131072]
    #[arg(long, value_name = "N")]
    conntrack_min: Option<i32>,
    /// Timeout of established TCP connections; 0: as it is [default: 24h]
    #[arg(long, value_name = "DURATION")]
    conntrack_tcp_timeout_established: Option<GoDuration>,
    /// Timeout of TCP connections closed by one side [default: 1h]
    #[arg(long, value_name = "DURATION")]
    conntrack_tcp_timeout_close_wait: Option<GoDuration>,
    /// Do not check TCP's windows
    #[arg(long)]
    conntrack_tcp_be_liberal: bool,
    /// Timeout of unanswered UDP flows; 0: as it is
    #[arg(long, value_name = "DURATION")]
    conntrack_udp_timeout: Option<GoDuration>,
    /// Timeout of answered UDP flows; 0: as it is
    #[arg(long, value_name = "DURATION")]
    conntrack_udp_timeout_stream: Option<GoDuration>,
}

impl ProgramFlags {
    /// The configuration with what the flags say.
    pub(crate) fn apply(&self, to: &mut KubeProxyConfiguration) {
        if let Some(file) = self.kubeconfig.as_ref() {
            to.client_connection.kubeconfig = file.display().to_string();
        }
        set(&mut to.mode, self.proxy_mode.clone());
        to.oom_score_adj = self.oom_score_adj.or(to.oom_score_adj);
        self.conntrack.apply(to);
    }
}

impl ForwardingFlags {
    /// The configuration with what the flags say.
    pub(crate) fn apply(&self, to: &mut KubeProxyConfiguration) {
        set(&mut to.bind_address, self.bind_address.map(|address| address.to_string()));
        to.healthz_bind_address =
            with_port(self.healthz_bind_address.as_deref(), self.healthz_port, "0.0.0.0");
        to.metrics_bind_address =
            with_port(self.metrics_bind_address.as_deref(), self.metrics_port, "127.0.0.1");
        to.bind_address_hard_fail |= self.bind_address_hard_fail;
        set(&mut to.cluster_cidr, self.cluster_cidr.clone());
        set(&mut to.detect_local_mode, self.detect_local_mode.clone());
        set(&mut to.detect_local.bridge_interface, self.pod_bridge_interface.clone());
        set(&mut to.detect_local.interface_name_prefix, self.pod_interface_name_prefix.clone());
        if !self.nodeport_addresses.is_empty() {
            to.node_port_addresses.clone_from(&self.nodeport_addresses);
        }
        // kube-proxy applies these to every mode but IPVS, whatever their names say.
        let nftables = &mut to.nftables;
        nftables.masquerade_all |= self.masquerade_all;
        nftables.sync_period = self.iptables_sync_period.unwrap_or(nftables.sync_period);
        nftables.min_sync_period = self.iptables_min_sync_period.unwrap_or(nftables.min_sync_period);
        to.iptables.masquerade_all = nftables.masquerade_all;
        (to.iptables.sync_period, to.iptables.min_sync_period) =
            (nftables.sync_period, nftables.min_sync_period);
    }
}

impl ConntrackFlags {
    fn apply(&self, to: &mut KubeProxyConfiguration) {
        let conntrack = &mut to.conntrack;
        conntrack.max_per_core = self.conntrack_max_per_core.or(conntrack.max_per_core);
        conntrack.min = self.conntrack_min.or(conntrack.min);
        conntrack.tcp_established_timeout =
            self.conntrack_tcp_timeout_established.or(conntrack.tcp_established_timeout);
        conntrack.tcp_close_wait_timeout =
            self.conntrack_tcp_timeout_close_wait.or(conntrack.tcp_close_wait_timeout);
        conntrack.tcp_be_liberal |= self.conntrack_tcp_be_liberal;
        conntrack.udp_timeout = self.conntrack_udp_timeout.unwrap_or(conntrack.udp_timeout);
        conntrack.udp_stream_timeout =
            self.conntrack_udp_timeout_stream.unwrap_or(conntrack.udp_stream_timeout);
    }
}

fn set(field: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The deprecated flags name only the port, for an address without one; port 0 is nowhere.
fn with_port(address: Option<&str>, port: Option<u16>, default: &str) -> Option<String> {
    match port {
        None => address.map(str::to_owned),
        Some(0) => Some(String::new()),
        Some(port) => {
            let address = address.unwrap_or(default);
            let alone = address.parse::<IpAddr>().ok();
            Some(alone.map_or_else(|| address.to_owned(), |ip| SocketAddr::from((ip, port)).to_string()))
        }
    }
}

/// Flags of kube-proxy that mean nothing here: those that were given, as they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct IgnoredFlags(pub(crate) Vec<String>);

/// With a value.
const IGNORED: [&str; 21] = [
    "boot-id-file",
    "config-sync-period",
    "feature-gates",
    "iptables-masquerade-bit",
    "ipvs-exclude-cidrs",
    "ipvs-min-sync-period",
    "ipvs-scheduler",
    "ipvs-sync-period",
    "ipvs-tcp-timeout",
    "ipvs-tcpfin-timeout",
    "ipvs-udp-timeout",
    "kube-api-burst",
    "kube-api-content-type",
    "kube-api-qps",
    "log-flush-frequency",
    "log-json-info-buffer-size",
    "log-text-info-buffer-size",
    "logging-format",
    "machine-id-file",
    "show-hidden-metrics-for-version",
    "vmodule",
];

/// Without one.
const IGNORED_SWITCHES: [&str; 5] = [
    "iptables-localhost-nodeports",
    "ipvs-strict-arp",
    "log-json-split-stream",
    "log-text-split-stream",
    "profiling",
];

impl clap::Args for IgnoredFlags {
    fn augment_args(command: Command) -> Command {
        let hidden = |name: &'static str| Arg::new(name).long(name).hide(true);
        let valued = IGNORED.into_iter().map(|name| hidden(name).action(ArgAction::Append));
        let switches = IGNORED_SWITCHES.into_iter().map(|name| hidden(name).action(ArgAction::SetTrue));
        command.args(valued.chain(switches))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for IgnoredFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &&str| {
            matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
                // The only format there is.
                && !(*name == "logging-format"
                    && matches.get_one::<String>(name).is_some_and(|format| format == "text"))
        };
        let names = IGNORED.into_iter().chain(IGNORED_SWITCHES).filter(given);
        Ok(Self(names.map(|name| format!("--{name}")).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
