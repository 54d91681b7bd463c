//! Two nodes with two pods each, as namespaces of this process: TCP on one node, across nodes, node to pod, and
//! the source addresses that the service proxy depends on. As root, and as an ordinary user.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program without harness")]

mod support;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use pods::namespace::{self, on_own_thread};
use pods::network::pod::PodNetwork;
use pods::network::{node, wire};

fn main() -> ExitCode {
    if let Some(code) = pods::dispatch() {
        return code;
    }
    support::as_root_and_as_user(test)
}

fn test() {
    let cluster = Cluster::create();
    cluster.pods_of_one_node_talk();
    cluster.pods_across_nodes_talk();
    cluster.node_reaches_its_pod_with_its_own_address();
    cluster.dns_address_is_no_source();
    cluster.pod_reaches_the_gateway();
    cluster.outside_is_unreachable_at_once();
    cluster.address_is_free_again_after_removal();
    let checks = pods_probe();
    assert!(checks.iter().all(|check| check.outcome.is_ok()), "{checks:?}");
}

/// The probe re-executes this very program.
fn pods_probe() -> Vec<pods::userns::Check> {
    pods::userns::probe().expect("probe runs")
}

struct Node {
    namespace: OwnedFd,
    pods: Vec<PodNetwork>,
}

struct Cluster {
    wire: OwnedFd,
    nodes: Vec<Node>,
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().expect("address")
}

fn subnet(text: &str) -> Ipv4Net {
    text.parse().expect("subnet")
}

fn inside<T: Send + 'static>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.try_clone().expect("handle");
    on_own_thread(move || {
        namespace::enter_network(namespace.as_fd()).expect("enter");
        work()
    })
    .expect("thread")
}

impl Cluster {
    fn create() -> Self {
        let wire = on_own_thread(|| {
            let namespace = namespace::enter_new_network().expect("wire namespace");
            wire::create(subnet("172.18.0.1/24")).expect("wire");
            namespace
        })
        .expect("thread");
        let nodes = (1..=2).map(|number| Node::create(&wire, number)).collect();
        Self { wire, nodes }
    }

    fn pods_of_one_node_talk(&self) {
        let [first, second] = &self.nodes[0].pods[..] else { panic!("two pods") };
        let peer = talk(first, second);
        assert_eq!(peer, first.address(), "the client's own address is seen");
    }

    fn pods_across_nodes_talk(&self) {
        let (client, server) = (&self.nodes[0].pods[0], &self.nodes[1].pods[1]);
        assert_eq!(talk(client, server), client.address());
    }

    fn node_reaches_its_pod_with_its_own_address(&self) {
        let server = serve(&self.nodes[0].pods[1]);
        inside(&self.nodes[0].namespace, move || connect(server.0));
        assert_eq!(server.1.join().expect("server"), address("172.18.0.2"));
    }

    fn dns_address_is_no_source(&self) {
        inside(&self.nodes[0].namespace, || {
            node::add_dns_address(address("10.96.0.10")).expect("dns address");
            node::add_dns_address(address("10.96.0.10")).expect("again");
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("socket");
            for target in ["10.244.1.2:1", "10.244.2.2:1", "172.18.0.1:1", "10.96.0.1:443"] {
                socket.connect(target).expect(target);
                assert_eq!(socket.local_addr().expect("address").ip(), address("172.18.0.2"), "to {target}");
            }
            std::net::UdpSocket::bind("10.96.0.10:53").expect("the node can listen on it");
        });
    }

    fn pod_reaches_the_gateway(&self) {
        let listener = inside(&self.wire, || TcpListener::bind("172.18.0.1:0")).expect("listener");
        let target = listener.local_addr().expect("address");
        let namespace = self.nodes[1].pods[0].namespace().try_clone_to_owned().expect("handle");
        inside(&namespace, move || TcpStream::connect_timeout(&target, Duration::from_secs(5)))
            .expect("gateway");
        assert_eq!(listener.accept().expect("client").1.ip(), address("10.244.2.2"), "not masqueraded");
    }

    fn outside_is_unreachable_at_once(&self) {
        let begun = Instant::now();
        let namespace = self.nodes[0].pods[0].namespace().try_clone_to_owned().expect("handle");
        let error = inside(&namespace, || {
            TcpStream::connect_timeout(&"198.51.100.1:80".parse().expect("address"), Duration::from_secs(5))
        })
        .expect_err("nothing is there");
        assert_eq!(error.kind(), io::ErrorKind::HostUnreachable);
        assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    }

    fn address_is_free_again_after_removal(mut self) {
        let pod = self.nodes[0].pods.pop().expect("pod");
        let (held, ip) = (pod.namespace().try_clone_to_owned().expect("handle"), pod.address());
        let node = &self.nodes[0].namespace;
        inside(node, move || pod.remove()).expect("removal");
        let again =
            inside(node, move || PodNetwork::create(ip, address("172.18.0.2"))).expect("same address");
        talk(&self.nodes[1].pods[0], &again);
        drop((held, &self.wire));
    }
}

impl Node {
    fn create(wire: &OwnedFd, number: u8) -> Self {
        let namespace =
            on_own_thread(|| namespace::enter_new_network().expect("node namespace")).expect("thread");
        let far = namespace.try_clone().expect("handle");
        inside(wire, move || {
            let port = wire::Port {
                name: format!("node-{number}"),
                node: Ipv4Addr::new(172, 18, 0, number + 1).into(),
                pods: subnet(&format!("10.244.{number}.0/24")).into(),
            };
            wire::attach(&port, far.as_fd()).expect("attach");
            wire::detach(&port).expect("detach");
            wire::attach(&port, far.as_fd()).expect("attach again");
        });
        let pods = inside(&namespace, move || {
            let own = Ipv4Addr::new(172, 18, 0, number + 1);
            let network = Ipv4Net::new(own, 24).expect("subnet");
            node::configure(network, address("172.18.0.1")).expect("node addresses");
            let other = 3 - number;
            let pods = subnet(&format!("10.244.{other}.0/24"));
            node::set_pod_route(pods, Ipv4Addr::new(172, 18, 0, 99)).expect("a route to replace");
            node::set_pod_route(pods, Ipv4Addr::new(172, 18, 0, other + 1)).expect("route");
            node::delete_pod_route(subnet("10.244.77.0/24")).expect("absent route");
            let create = |last| PodNetwork::create(Ipv4Addr::new(10, 244, number, last), own).expect("pod");
            (2..=3).map(create).collect()
        });
        Self { namespace, pods }
    }
}

/// Connects from one pod to the other, and says which source address the server saw.
fn talk(client: &PodNetwork, server: &PodNetwork) -> IpAddr {
    let (target, served) = serve(server);
    let begun = Instant::now();
    let namespace = client.namespace().try_clone_to_owned().expect("handle");
    inside(&namespace, move || connect(target));
    let elapsed = begun.elapsed();
    assert!(
        elapsed < Duration::from_millis(500),
        "first packets took {elapsed:?}: neighbours are not permanent"
    );
    eprintln!("{} -> {target}: {elapsed:?}", client.address());
    served.join().expect("server")
}

fn connect(target: SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(5)).expect("connection");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answer");
    assert_eq!(text, "hello");
}

/// Listens in the pod before it returns.
fn serve(pod: &PodNetwork) -> (SocketAddr, thread::JoinHandle<IpAddr>) {
    let namespace = pod.namespace().try_clone_to_owned().expect("handle");
    let listener = inside(&namespace, || TcpListener::bind("0.0.0.0:0")).expect("listener");
    let port = listener.local_addr().expect("address").port();
    let served = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("client");
        stream.write_all(b"hello").expect("answer");
        peer.ip()
    });
    (SocketAddr::new(pod.address(), port), served)
}
