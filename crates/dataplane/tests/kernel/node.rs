//! A node with pods, laid out as real ones are: each pod a veth pair and a /32 route, no bridge.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use crate::namespace::{Namespace, ip};

/// The node's own address.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
/// The node's IPv6 address, where there is IPv6.
pub(crate) const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x172, 0x18, 0, 0, 0, 0, 2);
/// The port that pods' servers listen on.
pub(crate) const PORT: u16 = 9898;
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes the calling thread's namespace a node.
pub(crate) fn set_up() {
    ip("link set lo up");
    ip(&format!("addr add {NODE}/32 dev lo"));
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    // Nothing but what the tests send shall be counted on the wire.
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    ip("link add wire type veth peer name wire-peer");
    ip("link set wire up");
    ip("link set wire-peer up");
    ip("addr add 172.18.0.3/24 dev wire-peer");
    ip("route add default dev wire");
}

/// Makes the calling thread's namespace a node with both families.
pub(crate) fn set_up_dual_stack() {
    ip("link set lo up");
    ip(&format!("addr add {NODE}/32 dev lo"));
    ip(&format!("addr add {NODE6}/128 dev lo nodad"));
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip("link add wire type veth peer name wire-peer");
    ip("link set wire up");
    ip("link set wire-peer up");
    // Packets of the node itself need a route before output translates them.
    ip(&format!("route add default dev wire src {NODE}"));
    ip(&format!("-6 route add default dev wire src {NODE6}"));
}

/// A pod on the node, with its own namespace; or a host elsewhere, which is reached in the same way.
pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    pub(crate) address6: Ipv6Addr,
}

impl Pod {
    /// Makes the pod 10.244.1.`host`.
    pub(crate) fn new(host: u8) -> Self {
        Self::make(&format!("pod{host}"), [1, host], Ipv4Addr::new(10, 244, 1, host), pod6(1, host), false)
    }

    /// The same with both families, on this node (1) or another (2).
    pub(crate) fn dual_stack(node: u8, host: u8) -> Self {
        let (address, address6) = (Ipv4Addr::new(10, 244, node, host), pod6(node, host));
        Self::make(&format!("pod{node}{host}"), [node, host], address, address6, true)
    }

    /// A host outside of the cluster: 192.0.`net`.9.
    pub(crate) fn outside(net: u8) -> Self {
        let (address, address6) = (Ipv4Addr::new(192, 0, net, 9), outside6(net));
        Self::make(&format!("out{net}"), [9, net], address, address6, true)
    }

    fn make(link: &str, number: [u8; 2], address: Ipv4Addr, address6: Ipv6Addr, both: bool) -> Self {
        let namespace = Namespace::new();
        let [high, low] = number;
        let node_mac = format!("02:00:00:01:{high:02x}:{low:02x}");
        let pod_mac = format!("02:00:00:02:{high:02x}:{low:02x}");
        let pid = namespace.pid();
        ip(&format!(
            "link add {link} address {node_mac} type veth peer name eth0 address {pod_mac} netns {pid}"
        ));
        ip(&format!("link set {link} up"));
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{link}/send_redirects"), "0").unwrap();
        namespace.ip("link set lo up");
        namespace.ip("link set eth0 up");
        connect_family(&namespace, link, &address.to_string(), 32, &NODE.to_string(), [&node_mac, &pod_mac]);
        if both {
            let (address, node) = (address6.to_string(), NODE6.to_string());
            connect_family(&namespace, link, &address, 128, &node, [&node_mac, &pod_mac]);
        }
        wait_for_link(address);
        Self { namespace, address, address6 }
    }

    /// Its address of a family.
    pub(crate) fn ip(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.address6.into() } else { self.address.into() }
    }

    /// As [`Pod::serve`], in both families.
    pub(crate) fn serve_dual_stack(&self) {
        let addresses = [self.ip(false), self.ip(true)];
        self.namespace.run(move || addresses.iter().for_each(|ip| serve(SocketAddr::new(*ip, PORT))));
    }

    /// Starts servers on [`PORT`] that answer each TCP connection and UDP packet with their own address and the
    /// client's, until the test's process ends.
    pub(crate) fn serve(&self) {
        let own = IpAddr::V4(self.address);
        self.namespace.run(move || serve(SocketAddr::new(own, PORT)));
    }

    /// Connects from the pod.
    pub(crate) fn connect(&self, to: &str) -> Answer {
        let to = to.parse().unwrap();
        self.namespace.run(move || connect(to))
    }

    /// Sends a packet from the pod and waits for the answer.
    pub(crate) fn ask(&self, to: &str) -> Answer {
        let to = to.parse().unwrap();
        self.namespace.run(move || ask(to))
    }
}

/// The IPv6 address of a node's pod.
pub(crate) fn pod6(node: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x244, node.into(), 0, 0, 0, 0, host.into())
}

fn outside6(net: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net.into(), 0, 0, 0, 0, 9)
}

/// Gives a pod an address and routes both ways, with neighbours that need not be asked for.
fn connect_family(
    namespace: &Namespace,
    link: &str,
    address: &str,
    length: u8,
    node: &str,
    [node_mac, pod_mac]: [&str; 2],
) {
    let (family, gateway, options) = match length {
        32 => ("-4", "169.254.1.1", ""),
        _ => ("-6", "fe80::169", "nodad"),
    };
    ip(&format!("{family} route add {address}/{length} dev {link} src {node}"));
    ip(&format!("{family} neigh add {address} lladdr {pod_mac} dev {link} nud permanent"));
    namespace.ip(&format!("{family} addr add {address}/{length} dev eth0 {options}"));
    namespace.ip(&format!("{family} neigh add {gateway} lladdr {node_mac} dev eth0 nud permanent"));
    if length == 32 {
        namespace.ip(&format!("{family} route add {gateway} dev eth0 scope link"));
    }
    namespace.ip(&format!("{family} route add default via {gateway} dev eth0"));
}

/// A new veth pair drops packets until the kernel has noticed that both ends are up, which takes a while on a loaded
/// machine: waits until the pod answers that nothing listens.
fn wait_for_link(address: Ipv4Addr) {
    let closed = SocketAddr::new(IpAddr::V4(address), 1);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        match TcpStream::connect_timeout(&closed, Duration::from_millis(50)) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("no packet reaches {address}");
}

/// Serves in the calling thread's namespace.
pub(crate) fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(format!("{} {peer}", address.ip()).as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{} {}", address.ip(), peer.ip()).as_bytes(), peer);
        }
    });
}

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server's address, and the client's as the server saw it.
    From(String, String),
    /// Refused, before the client would have tried again.
    Refused,
    /// Nothing for as long as the client waited, or unreachable.
    Nothing,
}

impl Answer {
    pub(crate) fn server(&self) -> &str {
        match self {
            Self::From(server, _) => server,
            other => panic!("no server answered: {other:?}"),
        }
    }
}

pub(crate) fn connect(to: SocketAddr) -> Answer {
    let start = Instant::now();
    let mut text = String::new();
    let result = TcpStream::connect_timeout(&to, PATIENCE)
        .and_then(|stream| stream.set_read_timeout(Some(PATIENCE)).map(|()| stream))
        .and_then(|mut stream| stream.read_to_string(&mut text));
    answer(result.map(|_| text), start)
}

pub(crate) fn ask(to: SocketAddr) -> Answer {
    let start = Instant::now();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 64];
    let result = socket
        .connect(to)
        .and_then(|()| socket.send(b"?"))
        .and_then(|_| socket.recv(&mut buffer))
        .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
    answer(result, start)
}

fn answer(result: std::io::Result<String>, start: Instant) -> Answer {
    match result {
        Ok(text) => {
            let (server, client) = text.split_once(' ').expect("servers name themselves and the client");
            Answer::From(server.to_owned(), client.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            assert!(start.elapsed() < Duration::from_millis(900), "refused after {:?}", start.elapsed());
            Answer::Refused
        }
        Err(_) => Answer::Nothing,
    }
}

/// A server that ends when dropped.
pub(crate) struct Server {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// As [`serve`], until dropped.
pub(crate) fn serve_at(address: SocketAddr) -> Server {
    const TURN: Duration = Duration::from_millis(5);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = |stop: &std::sync::Arc<std::sync::atomic::AtomicBool>| {
        let stop = std::sync::Arc::clone(stop);
        move || stop.load(std::sync::atomic::Ordering::SeqCst)
    };
    let (tcp_stopped, udp_stopped) = (stopped(&stop), stopped(&stop));
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(TURN)).unwrap();
    let tcp = std::thread::spawn(move || {
        while !tcp_stopped() {
            match listener.accept() {
                Ok((mut stream, peer)) => {
                    let _ = stream.write_all(format!("{} {}", address.ip(), peer.ip()).as_bytes());
                }
                Err(_) => std::thread::sleep(TURN),
            }
        }
    });
    let udp = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while !udp_stopped() {
            if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{} {}", address.ip(), peer.ip()).as_bytes(), peer);
            }
        }
    });
    Server { stop, threads: vec![tcp, udp] }
}

/// Serves TCP by sending back what comes, until the test's process ends.
pub(crate) fn echo(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
}

/// A connection that stays.
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    pub(crate) fn open(to: &str) -> Self {
        let stream = TcpStream::connect_timeout(&to.parse().unwrap(), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Says something and hears it back.
    pub(crate) fn say(mut self, text: &str) -> Self {
        self.0.write_all(text.as_bytes()).unwrap();
        let mut heard = vec![0; text.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, text.as_bytes());
        self
    }
}

/// What became of a flood.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flood {
    pub(crate) flows: u32,
    /// Refused by ICMP: what a lookup that misses leads to.
    pub(crate) refused: u32,
    /// Lost without an answer. A veth pair loses about one packet in a million on a loaded machine, also with no
    /// rules changing, so these do not count as misses.
    pub(crate) lost: u32,
}

/// Sends UDP packets for some time, each a flow of its own.
pub(crate) fn flood(to: &str, time: Duration) -> Flood {
    let to: SocketAddr = to.parse().unwrap();
    let end = Instant::now() + time;
    let mut flood = Flood::default();
    while Instant::now() < end {
        flood.flows += 1;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket.connect(to).unwrap();
        let mut buffer = [0; 64];
        match socket.send(b"?").and_then(|_| socket.recv(&mut buffer)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => flood.refused += 1,
            Err(_) => flood.lost += 1,
        }
    }
    flood
}

/// Packets that left the node on the wire, requests for a neighbour's address included.
pub(crate) fn sent_on_wire() -> u64 {
    const SENT_PACKETS: usize = 10;
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find(|line| line.trim().starts_with("wire:")).unwrap();
    line.split_whitespace().nth(SENT_PACKETS).unwrap().parse().unwrap()
}

/// Sends a TCP FIN of a connection that nobody knows, so that connection tracking calls it invalid.
pub(crate) fn stray_fin(from: &str, to: &str) {
    let (from, to): (Ipv4Addr, std::net::SocketAddrV4) = (from.parse().unwrap(), to.parse().unwrap());
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.ip().octets());
    packet.extend_from_slice(&40000u16.to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x01, 4, 0, 0, 0, 0, 0]);
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
    let result = sendto(raw.as_raw_fd(), &packet, &SockaddrIn::from(to), MsgFlags::empty());
    assert!(matches!(result, Ok(_) | Err(nix::errno::Errno::EPERM)), "{result:?}");
}
