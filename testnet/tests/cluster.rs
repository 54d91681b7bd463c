//! The test bed itself, without any service proxy: who reaches whom, and that it sees what must not happen.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;

use services::Protocol;
use testnet::cluster::probe::{self, Answer, PATIENCE, SILENCE};
use testnet::cluster::{Cluster, Pod};
use testnet::harness::{self, Outcome, Trial};
use testnet::scenario::Facts;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 15);
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 132, 79);

/// A test and its name.
type Test = (&'static str, fn(&Cluster));

fn main() -> ExitCode {
    let trials: [Test; 5] = [
        ("pods_hear_each_other", pods_hear_each_other),
        ("nodes_speak_with_their_own_address", nodes_speak_with_their_own_address),
        ("closed_port_is_refused", closed_port_is_refused),
        ("service_addresses_escape_without_a_proxy", service_addresses_escape_without_a_proxy),
        ("proper_traffic_is_no_leak", proper_traffic_is_no_leak),
    ];
    let entered = pods::userns::enter().map_err(|error| error.to_string());
    let trial = |(name, test): Test| {
        let entered = entered.clone();
        Trial::new(name, move || match entered {
            Err(reason) => Outcome::Skipped(reason),
            Ok(_) => {
                test(&Cluster::start(&Facts::default()).expect("a cluster"));
                Outcome::Passed
            }
        })
    };
    harness::run(trials.into_iter().map(trial).collect())
}

fn server(cluster: &Cluster, protocol: Protocol) -> SocketAddrV4 {
    let address = SocketAddrV4::new(SERVER, 9898);
    cluster.listen(protocol, address).expect("a listener");
    address
}

fn client(cluster: &Cluster) -> Pod {
    cluster.pod(CLIENT).expect("a pod")
}

fn pods_hear_each_other(cluster: &Cluster) {
    let (tcp, udp) = (server(cluster, Protocol::Tcp), server(cluster, Protocol::Udp));
    let answers = client(cluster).run(move || [probe::tcp(tcp, PATIENCE), probe::udp(udp, PATIENCE)]);
    for answer in answers.expect("a pod") {
        let Answer::Heard(heard) = answer else { panic!("{answer:?}") };
        assert_eq!((heard.server, *heard.client.ip()), (tcp, CLIENT));
    }
}

fn nodes_speak_with_their_own_address(cluster: &Cluster) {
    let address = server(cluster, Protocol::Tcp);
    for node in cluster.nodes() {
        let answer = node.run(move || probe::tcp(address, PATIENCE)).expect("a node");
        let Answer::Heard(heard) = answer else { panic!("{answer:?}") };
        assert_eq!(*heard.client.ip(), node.facts().address);
    }
}

fn closed_port_is_refused(cluster: &Cluster) {
    let address = SocketAddrV4::new(SERVER, 1);
    cluster.pod(SERVER).expect("a pod");
    let answers = client(cluster).run(move || [probe::tcp(address, PATIENCE), probe::udp(address, PATIENCE)]);
    for answer in answers.expect("a pod") {
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
}

fn service_addresses_escape_without_a_proxy(cluster: &Cluster) {
    let address = SocketAddrV4::new(SERVICE, 80);
    client(cluster).run(move || probe::udp(address, SILENCE)).expect("a pod");
    let escaped = format!("udp {CLIENT} -> {SERVICE}");
    assert!(cluster.take_leaks().contains(&escaped), "not seen: {escaped}");
    client(cluster).run(move || probe::late_reset(CLIENT, address)).expect("a pod").expect("a raw socket");
    let escaped = format!("tcp {CLIENT} -> {SERVICE}");
    assert!(cluster.take_leaks().contains(&escaped), "not seen: {escaped}");
}

fn proper_traffic_is_no_leak(cluster: &Cluster) {
    pods_hear_each_other(cluster);
    assert_eq!(cluster.take_leaks(), Vec::<String>::new());
}
