//! The agent of one of two nodes is killed or stopped, and what the node's pods ask goes to the other node's server until
//! it is back.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
use testnet::cluster::{Cluster as Lab, Pod};
use testnet::harness;
use testnet::scenario::Facts;

use crate::cluster::Cluster;
use crate::dns::{SERVICE, WEB};
use crate::handover::{Clients, over_tcp, over_udp, server, start};
use crate::program::{Program, ask};
use crate::site::{Node, dump, eventually};

/// How often the agent is killed.
const TIMES: usize = 3;
const DNS: &str = "10.96.0.10:53";
/// What the agent answers for `web`, and what the other node's server does, by which they are told apart.
const HERE: [u8; 4] = [10, 96, 0, 20];
const THERE: [u8; 4] = [10, 96, 0, 99];

/// Endpoints of kube-dns that stay when the API takes the nodes for lost: nobody renews their leases.
const KUBE_DNS: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]
endpoints:
- {addresses: [172.18.0.2], nodeName: worker-1, conditions: {ready: true}}
- {addresses: [172.18.0.3], nodeName: worker-2, conditions: {ready: true}}
";

/// Runs a trial on `worker-1` of two nodes, with the API on its loopback and a server on the other.
fn on_one_of_two(body: fn(&Node, &Pod)) {
    if !nix::unistd::geteuid().is_root() {
        harness::skip("not root");
    }
    let lab = Lab::start(&Facts::default()).unwrap();
    let [one, two] = lab.nodes() else { panic!("two nodes") };
    let (one, two) = (one.namespace().clone(), two.namespace().clone());
    let pod = lab.pod([10, 244, 1, 200].into()).unwrap();
    let on_node = move || {
        pods::namespace::enter_network(one.as_fd()).unwrap();
        let node = Node { cluster: Cluster::start() };
        node.apply(SERVICE);
        node.apply(KUBE_DNS);
        let answer = Ipv4Addr::from_octets(THERE);
        let corefile =
            node.cluster.file("other", &format!(".:53 {{\n  hosts {{\n    {answer} {WEB}\n  }}\n}}\n"));
        let kubeconfig = node.cluster.kubeconfig.clone();
        let spawn = move || Program::start_with(&kubeconfig, &["dns", "-conf", &corefile]);
        let _other = two.run(spawn).unwrap();
        body(&node, &pod);
    };
    if let Err(panic) = std::thread::spawn(on_node).join() {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(lab.take_leaks(), Vec::<String>::new(), "packets to a service address left a node");
}

/// Who answers a process of this thread's namespace.
fn answers() -> Option<[u8; 4]> {
    ask(DNS, WEB).and_then(|said| said.first).map(|(_, address)| address)
}

/// The agent, once it answers and the kernel knows the other node's server.
fn agent(node: &Node) -> Program {
    let agent = start(node, &["agent", "--node-name=worker-1"]);
    eventually("queries can fall back", || {
        dump("nft")
            .contains("udp 10.96.0.10:53 kube-system/kube-dns:dns => local; otherwise => 172.18.0.3:53")
    });
    agent
}

/// Each client waits for one answer at a time, and loses at most that.
pub(crate) fn a_killed_agents_queries_go_to_another_node() {
    on_one_of_two(|node, pod| {
        let mut running = agent(node);
        let start_clients = || Clients::start(server("10.96.0.10"), &[over_udp, over_udp, over_tcp]);
        let clients = pod.run(start_clients).unwrap();
        for _ in 0..TIMES {
            clients.go_on(200);
            assert_eq!(pod.run(answers).unwrap(), Some(HERE));
            drop(running);
            assert_eq!(pod.run(answers).unwrap(), Some(THERE));
            clients.go_on(200);
            let asked = Instant::now();
            assert_eq!(answers(), None, "a process of the node itself finds no server on it");
            assert!(asked.elapsed() < Duration::from_secs(1), "and hears so at once");
            running = agent(node);
            assert_eq!(pod.run(answers).unwrap(), Some(HERE));
        }
        clients.have_lost_at_most(3 * TIMES);
    });
}

/// It takes its address along, also when another program listens on all addresses.
pub(crate) fn a_stopped_agents_queries_go_to_another_node() {
    on_one_of_two(|node, pod| {
        let agent = agent(node);
        let stranger = listen_everywhere();
        assert_eq!((pod.run(answers).unwrap(), answers()), (Some(HERE), Some(HERE)));
        assert_eq!(agent.stop(), 0);
        assert_eq!((pod.run(answers).unwrap(), answers()), (Some(THERE), Some(THERE)));
        drop(stranger);
    });
}

/// A program that shares the port on all addresses, and answers nothing.
fn listen_everywhere() -> UdpSocket {
    let socket =
        socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53));
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(everywhere)).unwrap();
    socket.into()
}
