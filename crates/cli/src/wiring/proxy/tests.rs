use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches};

use super::Args;
use super::configuration::{self, KubeProxyConfiguration};
use super::settings::Settings;
use crate::wiring::agent::{LocalPods, NodePortAddress, ProxyConfig};

/// A file with these lines.
fn file(lines: &str) -> anyhow::Result<KubeProxyConfiguration> {
    let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n";
    configuration::read(&format!("{head}{lines}"))
}

fn settings(lines: &str) -> Settings {
    Settings::new(&file(lines).unwrap()).unwrap()
}

fn complaint(lines: &str) -> String {
    let told = file(lines).and_then(|configuration| Settings::new(&configuration)).unwrap_err();
    format!("{told:#}")
}

fn args(line: &str) -> Result<Args, clap::Error> {
    let words = std::iter::once("proxy").chain(line.split_whitespace());
    let matches = Args::augment_args(Command::new("proxy")).try_get_matches_from(words)?;
    Args::from_arg_matches(&matches)
}

fn of_flags(line: &str) -> anyhow::Result<Settings> {
    Settings::new(&args(&format!("--proxy-mode nftables {line}"))?.configuration(None))
}

fn cidr(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

#[test]
fn the_file_of_kubeadm_is_understood() {
    let read = configuration::read(include_str!("testdata/kubeadm.yaml")).unwrap();
    let settings = Settings::new(&read).unwrap();
    assert_eq!(settings.kubeconfig, Some(PathBuf::from("/var/lib/kube-proxy/kubeconfig.conf")));
    assert_eq!(settings.remarks, ["no mode is named; it is nftables"]);
    assert!(settings.ignored.is_empty(), "{:?}", settings.ignored);
    let expected = ProxyConfig {
        local_pods: LocalPods::ClusterCidrs(vec![cidr("10.244.0.0/16")]),
        ..ProxyConfig::default()
    };
    assert_eq!(settings.proxy, expected);
}

#[test]
fn an_empty_file_means_the_defaults_of_kube_proxy() {
    let settings = settings("");
    assert_eq!(settings.proxy, ProxyConfig::default());
    assert_eq!((settings.oom_score_adj, settings.verbosity), (-999, 0));
    assert_eq!((settings.conntrack.max_per_core, settings.conntrack.min), (32_768, 131_072));
    assert_eq!(settings.conntrack.tcp_established, Duration::from_secs(86_400));
}

#[test]
fn fields_have_their_meaning() {
    type Check = fn(&ProxyConfig) -> bool;
    let cases: [(&str, Check); 14] = [
        ("healthzBindAddress: 10.0.0.1:1", |it| it.healthz == Some("10.0.0.1:1".parse().unwrap())),
        ("healthzBindAddress: 10.0.0.1", |it| it.healthz == Some("10.0.0.1:10256".parse().unwrap())),
        ("bindAddress: '::'", |it| {
            it.healthz == Some("[::]:10256".parse().unwrap())
                && it.metrics == Some("[::1]:10249".parse().unwrap())
                && it.primary_address.is_none()
        }),
        ("bindAddress: 10.0.0.7", |it| it.primary_address == Some("10.0.0.7".parse().unwrap())),
        ("detectLocalMode: NodeCIDR", |it| it.local_pods == LocalPods::NodeCidr),
        ("detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: br0}", |it| {
            it.local_pods == LocalPods::Bridge("br0".into())
        }),
        ("detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}", |it| {
            it.local_pods == LocalPods::InterfacePrefix("veth".into())
        }),
        ("clusterCIDR: 10.0.0.0/8,fd00::/8", |it| {
            it.local_pods == LocalPods::ClusterCidrs(vec![cidr("10.0.0.0/8"), cidr("fd00::/8")])
        }),
        ("nodePortAddresses: [all]", |it| it.node_port_addresses == [NodePortAddress::All]),
        ("nodePortAddresses: [primary, 10.1.0.0/16]", |it| {
            it.node_port_addresses == [NodePortAddress::Primary, NodePortAddress::Within(cidr("10.1.0.0/16"))]
        }),
        ("nftables: {masqueradeAll: true}", |it| it.masquerade_all),
        ("iptables: {masqueradeAll: true}", |it| !it.masquerade_all),
        ("nftables: {syncPeriod: 1m, minSyncPeriod: 250ms}", |it| {
            (it.sync_period, it.min_sync_period) == (Duration::from_secs(60), Duration::from_millis(250))
        }),
        ("bindAddressHardFail: true", |it| it.bind_hard_fail),
    ];
    for (lines, check) in cases {
        let proxy = settings(lines).proxy;
        assert!(check(&proxy), "{lines}: {proxy:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_path() {
    let cases = [
        ("hostnameOveride: a", "strict decoding error: unknown field \"hostnameOveride\""),
        (
            "ipvs: {schedular: rr}\nnftables: {x: 1}",
            "unknown field \"ipvs.schedular\", unknown field \"nftables.x\"",
        ),
        ("conntrack: {maxPerCore: many}", "conntrack.maxPerCore: invalid type"),
        ("nftables: {syncPeriod: 5}", "nftables.syncPeriod: invalid type"),
        ("nftables: {syncPeriod: 5x}", "nftables.syncPeriod: \"5x\" is no duration"),
        ("nftables: {minSyncPeriod: -1s}", "must be greater than or equal to 0"),
        ("nftables: {minSyncPeriod: 1m}", "must not be greater than syncPeriod"),
        ("healthzBindAddress: here:1", "healthzBindAddress: \"here:1\" must be IP:port"),
        ("bindAddress: here", "bindAddress: \"here\" must be an IP address"),
        ("clusterCIDR: 10.0.0.0", "clusterCIDR: \"10.0.0.0\" must be a CIDR"),
        ("clusterCIDR: 10.0.0.0/8,11.0.0.0/8", "must be one CIDR, or one of each IP family"),
        ("detectLocalMode: Guess", "detectLocalMode: \"Guess\" must be ClusterCIDR"),
        ("detectLocalMode: BridgeInterface", "detectLocal.bridgeInterface: \"\" must not be empty"),
        ("nodePortAddresses: [primary, primary]", "nodePortAddresses: \"primary\" is there twice"),
        ("nodePortAddresses: [here]", "nodePortAddresses: \"here\" must be a CIDR or one of"),
        ("oomScoreAdj: 2000", "oomScoreAdj: 2000 must be within"),
        ("conntrack: {min: -1}", "conntrack.min: "),
        ("bindAddress: x\nclusterCIDR: z", "clusterCIDR: \"z\" must be a CIDR"),
    ];
    for (lines, expected) in cases {
        let told = complaint(lines);
        assert!(told.contains(expected), "{lines}: {told}");
    }
    let other = configuration::read("apiVersion: v1\nkind: Pod\n").unwrap_err().to_string();
    assert!(other.contains("apiVersion \"v1\", kind \"Pod\""), "{other}");
    let userspace = configuration::read(
        "{\"apiVersion\":\"kubeproxy.config.k8s.io/v1alpha1\",\"kind\":\"KubeProxyConfiguration\",\"mode\":\"userspace\"}",
    );
    let told = Settings::new(&userspace.unwrap()).unwrap_err().to_string();
    assert_eq!(told, "mode: \"userspace\" must be nftables");
}

#[test]
fn what_means_nothing_here_is_named() {
    let settings = settings(
        "featureGates: {A: true}\nipvs: {strictARP: true}\niptables: {masqueradeBit: 7}\nlogging: {format: json}\nclientConnection: {qps: 5}\nnodePortAddresses: [localhost]",
    );
    let named = [
        "featureGates",
        "clientConnection.qps",
        "iptables.masqueradeBit",
        "ipvs.strictARP",
        "logging.format",
    ];
    assert_eq!(settings.ignored, named);
    assert_eq!(settings.remarks.len(), 1, "{:?}", settings.remarks);
}

#[test]
fn flags_mean_the_same_as_fields() {
    let cases = [
        ("--cluster-cidr=10.244.0.0/16", "clusterCIDR: 10.244.0.0/16"),
        ("--cluster-cidr 10.244.0.0/16,fd00::/8", "clusterCIDR: 10.244.0.0/16,fd00::/8"),
        ("--nodeport-addresses 10.0.0.0/8,primary", "nodePortAddresses: [10.0.0.0/8, primary]"),
        ("--masquerade-all", "nftables: {masqueradeAll: true}"),
        ("--healthz-bind-address 0.0.0.0:11", "healthzBindAddress: 0.0.0.0:11"),
        ("--metrics-bind-address 0.0.0.0", "metricsBindAddress: 0.0.0.0"),
        ("--healthz-port 11", "healthzBindAddress: 0.0.0.0:11"),
        ("--detect-local-mode NodeCIDR", "detectLocalMode: NodeCIDR"),
        (
            "--detect-local-mode=BridgeInterface --pod-bridge-interface=b",
            "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: b}",
        ),
        ("--iptables-min-sync-period=2s", "nftables: {minSyncPeriod: 2s}"),
        ("--conntrack-max-per-core=0", "conntrack: {maxPerCore: 0}"),
        ("--conntrack-tcp-timeout-established 5m", "conntrack: {tcpEstablishedTimeout: 5m}"),
        ("--oom-score-adj=-998", "oomScoreAdj: -998"),
        ("--kubeconfig /x", "clientConnection: {kubeconfig: /x}"),
    ];
    for (flags, lines) in cases {
        assert_eq!(of_flags(flags).unwrap(), settings(lines), "{flags}");
    }
    assert_eq!(of_flags("--healthz-bind-address=").unwrap().proxy.healthz, None);
    assert_eq!(of_flags("--metrics-port 0").unwrap().proxy.metrics, None);
    assert!(of_flags("--cluster-cidr x").is_err());
    let modes = [("", 1), ("--proxy-mode iptables", 1), ("--proxy-mode nftables", 0)];
    for (flags, remarks) in modes {
        let settings = Settings::new(&args(flags).unwrap().configuration(None)).unwrap();
        assert_eq!(settings.remarks.len(), remarks, "{flags}");
    }
}

#[test]
fn flags_that_a_file_replaces_are_known() {
    let replaced = |line: &str| args(line).unwrap().replaced();
    assert_eq!(replaced("--config x --master y --hostname-override z -v 4 --kubeconfig k"), [""; 0]);
    let given = replaced("--config x --cluster-cidr=10.0.0.0/8 --healthz-bind-address= --masquerade-all");
    assert_eq!(given, ["healthzBindAddress", "iptables", "nftables", "clusterCIDR"]);
}

#[test]
fn every_flag_of_kube_proxy_is_known_and_no_other() {
    let ignored = args(
        "--feature-gates=A=true --ipvs-scheduler rr --profiling --kube-api-qps 5 --logging-format text --vmodule a=1",
    );
    let mut names = ignored.unwrap().program.ignored.0;
    names.sort_unstable();
    assert_eq!(names, ["--feature-gates", "--ipvs-scheduler", "--kube-api-qps", "--profiling", "--vmodule"]);
    for line in include_str!("testdata/kube-proxy-flags.txt").lines() {
        let (flag, value) = line.split_once(' ').unwrap_or((line, ""));
        let line = if value.is_empty() { flag.to_owned() } else { format!("{flag}={value}") };
        assert!(args(&line).is_ok(), "{line}: {:?}", args(&line).map(|_| ()));
    }
    for line in ["--frobnicate", "--iptables-frobnicate=1", "something"] {
        assert!(args(line).is_err(), "{line}");
    }
}

#[test]
fn the_manifest_of_the_proxy_is_understood() {
    let objects = objects::manifest::parse(include_str!("../../../../../deploy/proxy.yaml")).unwrap();
    let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let words: Vec<&str> =
        container["args"].as_array().unwrap().iter().filter_map(|word| word.as_str()).collect();
    assert_eq!(words[0], "proxy");
    args(&words[1..].join(" ")).unwrap();
    objects::manifest::parse(include_str!("../../../../../deploy/agent.yaml")).unwrap();
}

#[test]
fn a_written_configuration_is_read_again() {
    let path = std::env::temp_dir().join(format!("sluice-proxy-config-{}", std::process::id()));
    let configuration = args("--proxy-mode nftables --cluster-cidr 10.0.0.0/8").unwrap().configuration(None);
    configuration::write(&configuration, &path).unwrap();
    let read = configuration::read(&std::fs::read_to_string(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Settings::new(&read.unwrap()).unwrap(), Settings::new(&configuration).unwrap());
}
