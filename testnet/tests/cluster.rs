//! The test bed itself, without any service proxy: who reaches whom, and that it sees what must not happen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use services::Protocol;
use testnet::cluster::probe::{self, Answer, Late, PATIENCE, SILENCE};
use testnet::cluster::{Cluster, Pod};
use testnet::harness::{self, Outcome, Trial};
use testnet::scenario::Facts;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 15);
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 132, 79);

/// A test and its name.
type Test = (&'static str, fn(&Cluster));

fn main() -> ExitCode {
    let trials: [Test; 7] = [
        ("pods_hear_each_other", pods_hear_each_other),
        ("nodes_speak_with_their_own_address", nodes_speak_with_their_own_address),
        ("closed_port_is_refused", closed_port_is_refused),
        ("service_addresses_escape_without_a_proxy", service_addresses_escape_without_a_proxy),
        ("proper_traffic_is_no_leak", proper_traffic_is_no_leak),
        ("ipv6_like_ipv4", ipv6_like_ipv4),
        ("outside_enters_by_any_node", outside_enters_by_any_node),
    ];
    let trial = |(name, test): Test| {
        Trial::new(name, move || {
            test(&Cluster::start(&both_families()).expect("a cluster"));
            Outcome::Passed
        })
    };
    harness::run_in_namespaces(trials.into_iter().map(trial).collect())
}

fn server(cluster: &Cluster, protocol: Protocol) -> SocketAddr {
    let address = SocketAddr::new(SERVER.into(), 9898);
    cluster.listen(protocol, address).expect("a listener");
    address
}

fn client(cluster: &Cluster) -> Pod {
    cluster.pod(CLIENT.into()).expect("a pod")
}

fn pods_hear_each_other(cluster: &Cluster) {
    let (tcp, udp) = (server(cluster, Protocol::Tcp), server(cluster, Protocol::Udp));
    let answers = client(cluster).run(move || [probe::tcp(tcp, PATIENCE), probe::udp(udp, PATIENCE)]);
    for answer in answers.expect("a pod") {
        let Answer::Heard(heard) = answer else { panic!("{answer:?}") };
        assert_eq!((heard.server, heard.client.ip()), (tcp, CLIENT.into()));
    }
}

fn nodes_speak_with_their_own_address(cluster: &Cluster) {
    let address = server(cluster, Protocol::Tcp);
    for node in cluster.nodes() {
        let answer = node.run(move || probe::tcp(address, PATIENCE)).expect("a node");
        let Answer::Heard(heard) = answer else { panic!("{answer:?}") };
        assert_eq!(heard.client.ip(), node.facts().addresses[0]);
    }
}

fn closed_port_is_refused(cluster: &Cluster) {
    let address = SocketAddr::new(SERVER.into(), 1);
    cluster.pod(SERVER.into()).expect("a pod");
    let answers = client(cluster).run(move || [probe::tcp(address, PATIENCE), probe::udp(address, PATIENCE)]);
    for answer in answers.expect("a pod") {
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
}

fn service_addresses_escape_without_a_proxy(cluster: &Cluster) {
    let address = SocketAddr::new(SERVICE.into(), 80);
    client(cluster).run(move || probe::udp(address, SILENCE)).expect("a pod");
    let escaped = format!("udp {CLIENT} -> {SERVICE}");
    assert!(cluster.take_leaks().contains(&escaped), "not seen: {escaped}");
    client(cluster)
        .run(move || probe::late(Late::Reset, CLIENT.into(), address))
        .expect("a pod")
        .expect("a raw socket");
    let escaped = format!("tcp {CLIENT} -> {SERVICE}");
    assert!(cluster.take_leaks().contains(&escaped), "not seen: {escaped}");
}

fn proper_traffic_is_no_leak(cluster: &Cluster) {
    pods_hear_each_other(cluster);
    assert_eq!(cluster.take_leaks(), Vec::<String>::new());
}

/// Two nodes of both families.
fn both_families() -> Facts {
    let text = "# t\n--- facts\n\
        node worker-1 172.18.0.2,fd00:18::2 10.244.1.0/24,fd00:10:244:1::/64\n\
        node worker-2 172.18.0.3,fd00:18::3 10.244.2.0/24,fd00:10:244:2::/64\n\
        cluster-cidr 10.244.0.0/16 fd00:10:244::/48\nservice-cidr 10.96.0.0/16 fd00:10:96::/112\n--- objects\n";
    testnet::scenario::Scenario::parse("facts", text).expect("facts").facts
}

fn ipv6_like_ipv4(cluster: &Cluster) {
    let server: SocketAddr = "[fd00:10:244:2::15]:9898".parse().expect("an address");
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        cluster.listen(protocol, server).expect("a listener");
    }
    let ask =
        move || [probe::tcp(server, PATIENCE), probe::udp(server, PATIENCE), probe::sctp(server, PATIENCE)];
    let pods =
        ["fd00:10:244:1::5", "fd00:10:244:2::5"].map(|text| text.parse::<IpAddr>().expect("an address"));
    for pod in pods {
        let answers = cluster.pod(pod).expect("a pod").run(ask).expect("a pod");
        for answer in answers {
            let Answer::Heard(heard) = answer else { panic!("{pod}: {answer:?}") };
            assert_eq!((heard.server, heard.client.ip()), (server, pod));
        }
    }
    for node in cluster.nodes() {
        for answer in node.run(ask).expect("a node") {
            let Answer::Heard(heard) = answer else { panic!("{answer:?}") };
            assert_eq!(heard.client.ip(), node.facts().addresses[1]);
        }
    }
    assert_eq!(cluster.take_leaks(), Vec::<String>::new());
    let service: SocketAddr = "[fd00:10:96::7]:80".parse().expect("an address");
    let client = cluster.pod(pods[0]).expect("a pod");
    client.run(move || probe::late(Late::Fin, pods[0], service)).expect("a pod").expect("a raw socket");
    assert_eq!(cluster.take_leaks(), [format!("tcp {} -> {}", pods[0], service.ip())]);
}

fn outside_enters_by_any_node(cluster: &Cluster) {
    let server = server(cluster, Protocol::Tcp);
    let fragments = SocketAddr::new(SERVER.into(), 9898);
    cluster.listen(Protocol::Udp, fragments).expect("a listener");
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for entry in ["worker-1", "worker-2"] {
        let client = cluster.outside(address.into(), entry).expect("a client");
        let answers =
            client.run(move || [probe::tcp(server, PATIENCE), probe::fragments(fragments, PATIENCE)]);
        for answer in answers.expect("a pod") {
            let Answer::Heard(heard) = answer else { panic!("by {entry}: {answer:?}") };
            assert_eq!((heard.server, heard.client.ip()), (server, address.into()));
        }
    }
    let elsewhere: SocketAddr = "203.0.113.7:80".parse().expect("an address");
    cluster.listen(Protocol::Tcp, elsewhere).expect("a listener beyond the wire");
    for client in [cluster.outside([192, 0, 2, 3].into(), "worker-1"), cluster.pod(CLIENT.into())] {
        let client = client.expect("a client");
        let Answer::Heard(heard) = client.run(move || probe::tcp(elsewhere, PATIENCE)).expect("a pod") else {
            panic!("{elsewhere} does not hear {}", client.address());
        };
        assert_eq!((heard.server, heard.client.ip()), (elsewhere, client.address()));
    }
}
