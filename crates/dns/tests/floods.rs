//! In-cluster answers while others do their worst: upstreams that say nothing, late or nonsense, random names, connections
//! without queries. The server has one UDP thread, as in an agent.
//!
//! What is compared is the same run before and during the flood, with room for a busy machine: a query that waited behind an
//! upstream would take seconds.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::corefile::Served;
use support::{Upstream, query, read};

const WEB: &str = "web.default.svc.cluster.local";
/// How many in-cluster queries are measured.
const QUERIES: usize = 200;
/// And how long after each other.
const BETWEEN: Duration = Duration::from_millis(3);
/// An answer later than this has not come.
const LATE: Duration = Duration::from_secs(1);
/// Less than this is no delay, whatever it was before.
const PROMPT: Duration = Duration::from_millis(100);
/// Queries of a flood between pauses of a millisecond.
const BURST: u32 = 4;

fn serve(upstream: SocketAddr) -> Served {
    let objects: Vec<Value> = vec![
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}}),
    ];
    let text = format!(
        ".:0 {{\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n pods insecure\n ttl 30\n }}\n cache 30\n \
         forward . {upstream} {{\n max_concurrent 1000\n }}\n}}\n"
    );
    Served::with_objects(&text, &objects)
}

/// What a client of in-cluster names saw.
struct Seen {
    answered: usize,
    median: Duration,
}

/// Asks one after the other, each from another port.
fn measure(server: SocketAddr) -> Seen {
    let packet = query(WEB, "A", None);
    let mut times = Vec::new();
    for _ in 0..QUERIES {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        let (started, mut buffer) = (Instant::now(), [0; 512]);
        socket.send_to(&packet, server).unwrap();
        if let Ok(length) = socket.recv(&mut buffer) {
            assert_eq!(read(&buffer[..length]).answers.len(), 1);
            times.push(started.elapsed());
        }
        std::thread::sleep(BETWEEN);
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(LATE);
    Seen { answered: times.len(), median }
}

/// Measures before and during a flood, which `flood` keeps up until it is told to stop.
fn endures(what: &str, server: SocketAddr, flood: impl Fn(&AtomicBool, &AtomicU32) + Sync) {
    let before = measure(server);
    let (stop, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    let during = std::thread::scope(|scope| {
        scope.spawn(|| flood(&stop, &sent));
        std::thread::sleep(Duration::from_millis(300));
        let during = measure(server);
        stop.store(true, Ordering::Relaxed);
        during
    });
    let (sent, allowed) = (sent.load(Ordering::Relaxed), PROMPT.max(before.median * 20));
    eprintln!(
        "{what}: {sent} of the flood; median {:?} before, {:?} during; {} of {QUERIES} answered",
        before.median, during.median, during.answered
    );
    assert!(sent > 0, "{what}: there was no flood");
    assert!(during.answered * 10 >= QUERIES * 9, "{what}: {} of {QUERIES} answered", during.answered);
    assert!(during.median <= allowed, "{what}: {:?}, before {:?}", during.median, before.median);
}

/// Names that nobody has asked for before, below a domain.
fn random_names(server: SocketAddr, domain: &str, kind: &str, stop: &AtomicBool, sent: &AtomicU32) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            // What the kernel does not take is not sent again.
            let _ = socket.send_to(&query(&format!("n{number}.{domain}"), kind, Some(1232)), server);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_upstream_that_swallows_everything() {
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let served = serve(hole.local_addr().unwrap());
    endures("black hole", served.address(), |stop, sent| {
        random_names(served.address(), "example.com", "A", stop, sent);
    });
}

#[test]
fn an_upstream_that_is_slow() {
    let slow = Upstream::start(|query| {
        std::thread::sleep(Duration::from_millis(100));
        support::answer_with(query, 1)
    });
    let served = serve(slow.address);
    endures("slow upstream", served.address(), |stop, sent| {
        random_names(served.address(), "example.com", "A", stop, sent);
    });
}

#[test]
fn an_upstream_that_fails_or_talks_nonsense() {
    let broken = Upstream::start(|query| match query[0] & 1 {
        0 => support::refuse(query, 2),
        _ => query.iter().map(|byte| byte.wrapping_mul(7)).collect(),
    });
    let served = serve(broken.address);
    endures("unanswerable names", served.address(), |stop, sent| {
        random_names(served.address(), "example.com", "A", stop, sent);
    });
}

#[test]
fn random_names_of_the_cluster() {
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let served = serve(hole.local_addr().unwrap());
    for (domain, kind) in [("default.svc.cluster.local", "A"), (WEB, "SRV"), ("10.in-addr.arpa", "PTR")] {
        endures(domain, served.address(), |stop, sent| {
            random_names(served.address(), domain, kind, stop, sent);
        });
    }
}

#[test]
fn connections_that_ask_nothing() {
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let served = serve(hole.local_addr().unwrap());
    endures("connections", served.address(), |stop, sent| {
        let mut open = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            // Beyond the limits they are closed at once.
            if let Ok(stream) = TcpStream::connect(served.address()) {
                open.push(stream);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            if open.len() > 300 {
                open.drain(..150);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    // Another client is served over TCP as well while one holds all that it may.
    let _held: Vec<_> = (0..100).map(|_| TcpStream::connect(served.address()).unwrap()).collect();
    assert_eq!(ask_from("127.0.0.2", served.address()), 1);
}

/// The number of answers to a client at another address, over TCP.
fn ask_from(client: &str, server: SocketAddr) -> usize {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let own = SocketAddr::new(client.parse().unwrap(), 0);
    bind(socket.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
    connect(socket.as_raw_fd(), &SockaddrStorage::from(server)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(&support::frame(&query(WEB, "A", None))).unwrap();
    read(&support::read_frame(&mut stream)).answers.len()
}
