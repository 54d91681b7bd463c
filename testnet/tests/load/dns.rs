//! A node's DNS server as a process: this very program in the node's namespace. It is killed while the node's pods ask the
//! cluster's DNS address, and the node's rules then send their queries to the other node's server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dns::server::{Server, Sockets};
use serde_json::json;
use testnet::cluster::{Cluster, Namespace, Node};
use testnet::judge::plane::{self, Plane};
use testnet::judge::{Feed, zone};
use testnet::oracle::dns::question::packet;
use testnet::scenario::{Facts, NodeFacts};

/// Names the node, in the process that is its server.
pub(crate) const NODE: &str = "SLUICE_LOAD_DNS";

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Its address is the name of the node that answered.
const NAME: &str = "who.default.svc.cluster.local";
/// How often a server is killed.
const KILLS: usize = 5;
/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// What must happen takes milliseconds.
const ENOUGH: Duration = Duration::from_secs(30);

fn facts() -> Facts {
    let mut facts = Facts::default();
    let nodes = facts.nodes.iter().map(|node| node.name.clone()).collect();
    facts.dns = Some((ADDRESS, nodes));
    facts
}

/// kube-dns with an endpoint on each of these nodes, as the embedded cluster's controller writes it; and, as node `own` knows
/// it, a Service whose address says which node answers.
fn feed(nodes: &[NodeFacts], own: Option<&NodeFacts>) -> Feed {
    let mut feed = Feed::new(&facts());
    let ports = json!([{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]);
    let endpoint = |node: &NodeFacts| json!({"addresses": [node.addresses[0]], "nodeName": node.name, "conditions": {"ready": true}});
    let slice = json!({"metadata": {"name": "kube-dns-1", "namespace": "kube-system",
                                    "labels": {"kubernetes.io/service-name": "kube-dns"}},
                       "addressType": "IPv4", "ports": ports,
                       "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>()});
    feed.model.apply_slice(&serde_json::from_value(slice).expect("JSON")).expect("a slice");
    let mut service = |namespace: &str, name: &str, address: IpAddr, ports| {
        let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": address, "ports": ports}});
        feed.model.apply_service(&serde_json::from_value(service).expect("JSON")).expect("a Service");
    };
    service("kube-system", "kube-dns", ADDRESS.into(), ports);
    if let Some(own) = own {
        service("default", "who", own.addresses[0], json!([{"port": 80}]));
    }
    feed
}

/// What the process does, until it is killed.
pub(crate) fn run(node: &str) -> ExitCode {
    let facts = facts();
    let own = facts.node(node).expect("a node of the facts");
    let mut feed = feed(&facts.nodes, Some(own));
    let (known, changes) = (feed.known(), feed.model.take_changes());
    let zone = zone(&facts).expect("a zone").update(&known.snapshot, &changes, 0);
    let bind = |address: IpAddr| Sockets::bind(SocketAddr::new(address, 53), 1).expect("a socket");
    let sockets = [own.addresses[0], ADDRESS.into()].map(bind).into();
    let server = Server::start(Arc::new(zone), Vec::new(), sockets).expect("a server");
    server.set_synced(true);
    let mut output = std::io::stdout();
    output.write_all(b"serves\n").and_then(|()| output.flush()).expect("whoever started this");
    loop {
        thread::park();
    }
}

/// A running server, killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(node: &Node) -> Self {
        let name = node.facts().name.clone();
        let spawn = move || {
            let program = std::env::current_exe().expect("this program");
            Command::new(program).env(NODE, name).stdout(Stdio::piped()).spawn().expect("a process")
        };
        let mut process = Self(node.run(spawn).expect("the node"));
        let mut line = String::new();
        BufReader::new(process.0.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "serves\n", "the server ended early");
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks once, from this source port or any, and returns who answered.
type Ask = fn(Option<u16>) -> Result<Ipv4Addr, String>;

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    /// Answers of this node's server and of the other's.
    here: AtomicUsize,
    there: AtomicUsize,
}

/// Clients that wait for one answer at a time, each of which returns what it lost.
struct Clients {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    /// Starts one for each of these, in pods of their own.
    fn start(cluster: &Cluster, asks: &[(Ask, Option<u16>)]) -> Self {
        let seen = Arc::<Seen>::default();
        let here = facts().nodes[0].addresses[0];
        let client = |(number, (ask, port)): (u8, &(Ask, Option<u16>))| {
            let (seen, ask, port) = (Arc::clone(&seen), *ask, *port);
            let pod = cluster.pod([10, 244, 1, number].into()).expect("a pod").namespace().clone();
            thread::spawn(move || pod.run(move || ask_on(&seen, here, ask, port)).expect("the pod"))
        };
        let threads = (200..).zip(asks).map(client).collect();
        Self { seen, threads }
    }

    /// Waits until so many more answers came from the node's own server, or from the other's.
    fn hear(&self, number: usize, which: fn(&Seen) -> &AtomicUsize) {
        let heard = || which(&self.seen).load(Ordering::Relaxed);
        let (before, until) = (heard(), Instant::now() + ENOUGH);
        while heard() - before < number {
            assert!(
                Instant::now() < until,
                "{} answers in {ENOUGH:?}, instead of {number}",
                heard() - before
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends them; returns how many answers came, and what was lost.
    fn end(&mut self) -> (usize, Vec<String>) {
        self.seen.over.store(true, Ordering::Relaxed);
        let lost = self.threads.drain(..).flat_map(|client| client.join().expect("a client")).collect();
        (self.seen.here.load(Ordering::Relaxed) + self.seen.there.load(Ordering::Relaxed), lost)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
    }
}

fn ask_on(seen: &Seen, here: IpAddr, ask: Ask, port: Option<u16>) -> Vec<String> {
    let mut lost = Vec::new();
    while !seen.over.load(Ordering::Relaxed) {
        match ask(port) {
            Ok(by) if here == by => seen.here.fetch_add(1, Ordering::Relaxed),
            Ok(_) => seen.there.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                lost.push(error);
                lost.len()
            }
        };
    }
    lost
}

fn over_udp(port: Option<u16>) -> Result<Ipv4Addr, String> {
    let ask = || {
        let socket = bind(port)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((ADDRESS, 53))?;
        socket.send(&packet(NAME, "A"))?;
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    ask().map_err(|error: std::io::Error| format!("UDP: {error}")).and_then(|answer| address(&answer))
}

/// A process that is being started has copies of this one's sockets for a moment, and their ports.
fn bind(port: Option<u16>) -> std::io::Result<UdpSocket> {
    let until = Instant::now() + PATIENCE;
    loop {
        match UdpSocket::bind(("0.0.0.0", port.unwrap_or(0))) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
            bound => return bound,
        }
    }
}

fn over_tcp(_: Option<u16>) -> Result<Ipv4Addr, String> {
    connect().and_then(|mut stream| ask_again(&mut stream))
}

fn connect() -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&(ADDRESS, 53).into(), PATIENCE).map_err(|error| format!("TCP: {error}"))
}

fn ask_again(stream: &mut TcpStream) -> Result<Ipv4Addr, String> {
    let mut ask = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        let query = packet(NAME, "A");
        let length = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
        stream.write_all(&[&length[..], &query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().map_err(|error: std::io::Error| format!("TCP: {error}")).and_then(|answer| address(&answer))
}

/// The address of the one record, which ends the message.
fn address(answer: &[u8]) -> Result<Ipv4Addr, String> {
    match answer.last_chunk() {
        Some(last) if answer[3] & 15 == 0 && answer[7] == 1 => Ok(Ipv4Addr::from_octets(*last)),
        _ => Err(format!("answered {answer:?}")),
    }
}

/// Nodes with their rules, and a kube-dns that has endpoints on the first `number` of them.
fn start(number: usize) -> (Cluster, Vec<Plane>) {
    let cluster = Cluster::start(&facts()).expect("a cluster");
    let mut feed = feed(&facts().nodes[..number], None);
    let mut planes: Vec<Plane> = plane::open_all(&cluster, &feed.known()).expect("planes");
    let (known, changes) = (feed.known(), feed.model.take_changes());
    planes.iter_mut().for_each(|plane| plane.sync(&known, &changes).expect("a sync"));
    (cluster, planes)
}

/// Killed and started again some times, each time under load: over UDP each client loses at most the one query that the
/// killed server had, over TCP the one on a connection to it, and the next goes to the other node. While there is a server
/// it answers, whoever answered the same port before.
pub(crate) fn servers_killed() {
    let (cluster, planes) = start(2);
    let nodes = cluster.nodes();
    let _other = Process::start(&nodes[1]);
    let asks: [(Ask, Option<u16>); 5] =
        [(over_udp, None), (over_udp, None), (over_udp, Some(40_001)), (over_tcp, None), (over_tcp, None)];
    let mut clients = Clients::start(&cluster, &asks);
    for _ in 0..KILLS {
        let killed = Process::start(&nodes[0]);
        clients.hear(500, |seen| &seen.here);
        let before = clients.seen.there.load(Ordering::Relaxed);
        clients.hear(500, |seen| &seen.here);
        let late = clients.seen.there.load(Ordering::Relaxed) - before;
        assert!(late <= asks.len(), "{late} answers of the other node while this node's server is there");
        drop(killed);
        clients.hear(500, |seen| &seen.there);
    }
    let (answered, lost) = clients.end();
    let told = format!("{KILLS} kills lost {} of {} queries: {lost:?}", lost.len(), answered + lost.len());
    assert!(lost.len() <= KILLS * asks.len(), "{told}");
    let _ = writeln!(std::io::stderr(), "{told}");
    assert_eq!(cluster.take_leaks(), Vec::<String>::new());
    drop(planes);
}

/// A connection stays with the server that it has, also when this node's is back; a new one goes to that.
pub(crate) fn connections_stay_where_they_are() {
    let (cluster, _planes) = start(2);
    let nodes = cluster.nodes();
    let _other = Process::start(&nodes[1]);
    let pod = cluster.pod([10, 244, 1, 200].into()).expect("a pod");
    let open = || pod.run(connect).expect("the pod").expect("a connection");
    let answers = |stream: &mut TcpStream, node: &Node| {
        let by = ask_again(stream).expect("an answer");
        assert_eq!(IpAddr::from(by), node.facts().addresses[0]);
    };
    let mut elsewhere = open();
    answers(&mut elsewhere, &nodes[1]);
    let here = Process::start(&nodes[0]);
    answers(&mut elsewhere, &nodes[1]);
    let mut local = open();
    answers(&mut local, &nodes[0]);
    drop(here);
    answers(&mut elsewhere, &nodes[1]);
    ask_again(&mut local).expect_err("its server was killed");
}

/// Where there is no other node, clients hear at once that nobody answers.
pub(crate) fn the_only_server_killed() {
    let (cluster, _planes) = start(1);
    let killed = Process::start(&cluster.nodes()[0]);
    let pod: Namespace = cluster.pod([10, 244, 1, 200].into()).expect("a pod").namespace().clone();
    let ask = move |ask: Ask| pod.run(move || ask(None)).expect("the pod");
    for over in [over_udp as Ask, over_tcp] {
        ask(over).expect("an answer");
    }
    drop(killed);
    for over in [over_udp as Ask, over_tcp] {
        let error = ask(over).expect_err("nobody answers");
        assert!(error.contains("refused"), "{error}");
    }
    let _back = Process::start(&cluster.nodes()[0]);
    for over in [over_udp as Ask, over_tcp] {
        ask(over).expect("an answer again");
    }
}
