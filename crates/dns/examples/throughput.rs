//! Measures one UDP thread of the server against a bare echo, over loopback, in the same run.
//!
//! ```text
//! cargo run --release -p dns --example throughput [SERVICES] [SECONDS] [ROUNDS] [ENDPOINTS of each]
//! ```
//! Both sides use the same batched system calls; the server's threads are kept on one core, the load generator on another.
//! The generator keeps a fixed number of queries under way, and counts answers.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program: prints, and stops at the first error"
)]

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dns::datagrams::Batch;
use dns::message::records::kind_number;
use dns::name::Name;
use dns::server::{Server, Sockets};
use dns::zone::{Zone, ZoneConfig};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;
use services::Model;

/// Queries under way.
const WINDOW: usize = 256;

fn main() {
    let argument = |index, default| std::env::args().nth(index).map_or(default, |text| text.parse().unwrap());
    let (services, seconds, rounds, endpoints) =
        (argument(1, 10_000), argument(2, 2), argument(3, 3), argument(4, 2));
    let mut model = model(u32::try_from(services).unwrap(), u32::try_from(endpoints).unwrap());
    let (start, before) = (Instant::now(), resident_kb());
    let zone = Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &model.snapshot(), 1);
    let (zone, took, after) = (Arc::new(zone), start.elapsed(), resident_kb());
    println!(
        "zone of {services} Services and {} endpoints: built in {took:?}, {} kB beside the model's {before} kB",
        services * endpoints,
        after - before
    );

    println!("one Service's change: {:?} (median of 101)", one_change(&mut model, &zone));

    stay_on(0);
    let server = Server::start(zone, Vec::new(), vec![Sockets::bind(loopback(), 1).unwrap()]).unwrap();
    server.set_synced(true);
    let (echo, stop) = echo();
    stay_on(1);
    let kinds: [(&str, Vec<Vec<u8>>); 5] = [
        ("A", queries(services, |n| (format!("s{n}.default.svc.cluster.local"), "A"))),
        ("AAAA", queries(services, |n| (format!("s{n}.default.svc.cluster.local"), "AAAA"))),
        ("NXDOMAIN", queries(services, |n| (format!("x{n}.default.svc.cluster.local"), "A"))),
        ("SRV", queries(services, |n| (format!("_http._tcp.s{n}.default.svc.cluster.local"), "SRV"))),
        ("PTR", queries(services, |n| (format!("{}.{}.100.10.in-addr.arpa", n % 256, n / 256), "PTR"))),
    ];
    for round in 1..=rounds {
        let time = Duration::from_secs(seconds as u64);
        let (bare, bare_cost) = load(echo, "echo", &kinds[0].1, time);
        println!("round {round}: echo {bare:.0}/s, {bare_cost:.0} ns of its core each");
        for (kind, queries) in &kinds {
            let (rate, cost) = load(server.addresses()[0], "dns-udp", queries, time);
            println!("  {kind:8} {rate:.0}/s ({:.2}), {cost:.0} ns ({:.2})", rate / bare, bare_cost / cost);
        }
    }
    stop.store(true, Ordering::Relaxed);
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Keeps this thread, and those it starts from now on, on one core.
fn stay_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core % std::thread::available_parallelism().unwrap()).unwrap();
    // A machine of one core measures both sides on it.
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn model(services: u32, endpoints: u32) -> Model {
    let mut model = Model::new();
    model.apply_namespace("default");
    for number in 0..services {
        let (high, low) = (number / 256, number % 256);
        let service = json!({"metadata": {"namespace": "default", "name": format!("s{number}")},
            "spec": {"clusterIP": format!("10.100.{high}.{low}"), "ports": [{"name": "http", "port": 80}]}});
        model.apply_service(&serde_json::from_value(service).unwrap()).unwrap();
        let address = |endpoint: u32| std::net::Ipv4Addr::from(0x0b00_0000 + number * endpoints + endpoint);
        let list: Vec<_> = (0..endpoints).map(|endpoint| json!({"addresses": [address(endpoint)]})).collect();
        let slice = json!({"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": list,
            "metadata": {"namespace": "default", "name": format!("s{number}-0"),
                         "labels": {"kubernetes.io/service-name": format!("s{number}")}}});
        model.apply_slice(&serde_json::from_value(slice).unwrap()).unwrap();
    }
    model
}

/// Time from the model's changes to the next zone, when one Service's address changes.
fn one_change(model: &mut Model, zone: &Zone) -> Duration {
    model.take_changes();
    let mut times: Vec<Duration> = (0..101_u32)
        .map(|number| {
            let service = json!({"metadata": {"namespace": "default", "name": format!("s{number}")},
                "spec": {"clusterIP": format!("10.250.0.{number}"), "ports": [{"name": "http", "port": 80}]}});
            model.apply_service(&serde_json::from_value(service).unwrap()).unwrap();
            let (snapshot, changes, start) = (model.snapshot(), model.take_changes(), Instant::now());
            let _next = Arc::new(zone.update(&snapshot, &changes, 2));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Queries in a scattered order, as clients of a cluster ask.
fn queries(services: usize, name: impl Fn(usize) -> (String, &'static str)) -> Vec<Vec<u8>> {
    let packet = |number: usize| {
        let (name, kind) = name(number * 7919 % services.max(1));
        let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(name.parse::<Name>().unwrap().as_wire());
        packet.extend(kind_number(kind).unwrap().to_be_bytes());
        packet.extend([0, 1]);
        packet
    };
    (0..services.min(20_000)).map(packet).collect()
}

/// A socket with as much room as the server's: what overflows would be waited for.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20)).unwrap();
    socket
}

/// A thread that sends every datagram back.
fn echo() -> (SocketAddr, Arc<AtomicBool>) {
    let socket = socket();
    let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let stopping = Arc::clone(&stop);
    let echo = std::thread::Builder::new().name("echo".into());
    let work = move || {
        let mut batch = Batch::new();
        while !stopping.load(Ordering::Relaxed) && batch.receive(socket.as_fd(), true).is_ok() {
            batch.answer_each(|query, _, room| {
                room[..query.len()].copy_from_slice(query);
                query.len()
            });
            batch.send(socket.as_fd());
        }
    };
    echo.spawn(work).unwrap();
    (address, stop)
}

/// Nanoseconds that the threads of this name have run.
fn running_ns(thread: &str) -> f64 {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim() == thread {
            total +=
                read("schedstat").split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    total
}

/// Answers per second, and the thread's own time for each. Every answer is replaced by a new query, lost ones after a
/// pause. The time for each is the figure to trust on a machine that does other work too.
fn load(server: SocketAddr, thread: &str, queries: &[Vec<u8>], time: Duration) -> (f64, f64) {
    let ran = running_ns(thread);
    let socket = socket();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut next = queries.iter().cycle();
    let mut batch = Batch::new();
    let (start, mut answers) = (Instant::now(), 0_u64);
    let mut fill = true;
    while start.elapsed() < time {
        if std::mem::take(&mut fill) {
            (0..WINDOW).for_each(|_| drop(socket.send_to(next.next().unwrap(), server)));
        }
        match batch.receive(socket.as_fd(), true) {
            Ok(count) => answers += count as u64,
            Err(_) => {
                fill = true;
                continue;
            }
        }
        batch.answer_each(|_, _, room| {
            let query = next.next().unwrap();
            room[..query.len()].copy_from_slice(query);
            query.len()
        });
        batch.send(socket.as_fd());
    }
    (answers as f64 / start.elapsed().as_secs_f64(), (running_ns(thread) - ran) / answers as f64)
}
