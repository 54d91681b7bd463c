//! Connections through a service's address against direct ones, from a pod to a pod on another node: how many new ones
//! a second, handshakes alone and whole lives, how long the handshake takes, how much one carries.
//!
//! Both are tracked by the client's node and pass the same rules' hooks; the service's address adds the translation.
//! Direct connections go to another port of the same server: on the same one, the two would share reply tuples.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
use dataplane::reconcile::Reconciler;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nix::sys::socket::{setsockopt, sockopt::Linger};
use services::Model;
use testnet::cluster::{Cluster, Pod};
use testnet::scenario::Facts;

use crate::measure::{median, milliseconds, percentile, print_table, time};
use crate::namespace;
use crate::objects::{service, slice};

const SERVICES: [u32; 4] = [1, 1_000, 10_000, 50_000];
/// Rounds of direct and translated connections in turn.
const ROUNDS: usize = 41;
/// Connections of one kind in a round.
const CONNECTIONS: u32 = 250;
/// Port of the service's endpoint, and the one for direct connections.
const PORTS: [u16; 2] = [9898, 9899];
/// Rounds of one long connection of each kind in turn, and what each carries.
const LONG_ROUNDS: usize = 11;
const LONG_BYTES: usize = 1 << 30;
/// What one write or read moves.
const BLOCK: usize = 128 * 1024;

/// Measures with few and with many services present, and prints a table.
pub(crate) fn run() -> Result<()> {
    namespace::become_root()?;
    let cluster = Cluster::start(&Facts::default())?;
    let (client, server) = (cluster.pod("10.244.1.5".parse()?)?, cluster.pod("10.244.2.15".parse()?)?);
    for port in PORTS {
        serve(&server, port)?;
    }
    let (mut rates, mut whole, mut latencies, mut long) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for size in SERVICES {
        let _reconciler = program(&cluster, size, &server)?;
        let rounds = rounds(&client, &server, CONNECT)?;
        rates.push(rate_row(size, &rounds));
        latencies.push(latency_row(size, &rounds));
        whole.push(rate_row(size, &self::rounds(&client, &server, LIVE)?));
        let rounds = self::rounds(&client, &server, CARRY)?;
        long.push(throughput_row(size, &rounds));
    }
    let head = ["services", "direct", "through the service's address", "ratio, round by round"];
    println!("Handshakes a second, one client, medians of {ROUNDS} rounds of {CONNECTIONS}:\n");
    print_table(&head, &rates);
    println!("\nWhole connections a second: handshake, a byte each way, closed by both sides:\n");
    print_table(&head, &whole);
    println!("\nThe handshake of each of them:\n");
    print_table(
        &["services", "direct p50", "p99", "through the service's address p50", "p99", "ratio of the p50"],
        &latencies,
    );
    println!("\nOne long connection, Gbit/s, medians of {LONG_ROUNDS} rounds of {} MiB:\n", LONG_BYTES >> 20);
    print_table(&head, &long);
    Ok(())
}

/// Sends the first byte back and reads what else comes until the client hangs up, until the process ends.
fn serve(server: &Pod, port: u16) -> Result<()> {
    let address = SocketAddr::new(server.address(), port);
    let listener = server.run(move || TcpListener::bind(address))?.context("the server's socket")?;
    std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        for mut stream in listener.incoming().flatten() {
            let answered = stream.read(&mut block[..1]).is_ok_and(|length| length > 0);
            if !answered || stream.write_all(&block[..1]).is_err() {
                continue;
            }
            while stream.read(&mut block).is_ok_and(|length| length > 0) {}
        }
    });
    Ok(())
}

/// Gives the client's node so many services, the first of them with the server as its endpoint.
fn program(cluster: &Cluster, size: u32, server: &Pod) -> Result<Reconciler> {
    let mut model = Model::new();
    for number in 0..size {
        model.apply_service(&service(number))?;
        let slice = if number == 0 { only(slice(0, 1, 0), server) } else { slice(number, 5, 0) };
        model.apply_slice(&slice)?;
    }
    let mut table = ForwardingTable::new(NodeFacts::new("worker-1", ["10.96.0.0/12".parse()?]));
    let touched = table.update(&model.snapshot(), &model.take_changes());
    let node = cluster.node("worker-1").context("the first node")?;
    let mut reconciler = node.run(Reconciler::open)??;
    reconciler.sync(&table, &touched)?;
    Ok(reconciler)
}

fn only(mut slice: EndpointSlice, server: &Pod) -> EndpointSlice {
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.addresses = vec![server.address().to_string()];
    }
    slice
}

/// What one round does to an address: how many times, and a sample for each connection.
struct Work {
    rounds: usize,
    run: fn(SocketAddr) -> io::Result<Vec<Duration>>,
}

const CONNECT: Work = Work { rounds: ROUNDS, run: connect };
const LIVE: Work = Work { rounds: ROUNDS, run: live };
const CARRY: Work = Work { rounds: LONG_ROUNDS, run: carry };

/// A round's samples, direct and through the service's address.
type Round = (Vec<Duration>, Vec<Duration>);

fn rounds(client: &Pod, server: &Pod, work: Work) -> Result<Vec<Round>> {
    let direct = SocketAddr::from((server.address(), PORTS[1]));
    let through: SocketAddr = "10.96.1.0:80".parse()?;
    let rounds = client.run(move || {
        let round = |_| Ok(((work.run)(direct)?, (work.run)(through)?));
        (0..work.rounds).map(round).collect::<io::Result<Vec<_>>>()
    })?;
    rounds.context("a connection failed")
}

/// Both medians, each as `show` says, and the median of the rounds' ratios: neighbouring in time, so that what else the
/// machine does weighs on both alike.
fn compared(size: u32, rounds: &[Round], show: impl Fn(Duration) -> String) -> Vec<String> {
    let sum = |samples: &Vec<Duration>| samples.iter().sum::<Duration>();
    let pairs: Vec<(Duration, Duration)> = rounds.iter().map(|(a, b)| (sum(a), sum(b))).collect();
    let mut ratios: Vec<f64> =
        pairs.iter().map(|(direct, through)| direct.as_secs_f64() / through.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let ratio = format!("{:.3}", ratios[ratios.len() / 2]);
    let (direct, through) = pairs.into_iter().unzip();
    vec![size.to_string(), show(median(direct)), show(median(through)), ratio]
}

fn rate_row(size: u32, rounds: &[Round]) -> Vec<String> {
    compared(size, rounds, |duration| format!("{:.0}", f64::from(CONNECTIONS) / duration.as_secs_f64()))
}

fn throughput_row(size: u32, rounds: &[Round]) -> Vec<String> {
    let bits = LONG_BYTES as f64 * 8.0;
    compared(size, rounds, |duration| format!("{:.1}", bits / duration.as_secs_f64() / 1e9))
}

fn latency_row(size: u32, rounds: &[Round]) -> Vec<String> {
    let direct: Vec<Duration> = rounds.iter().flat_map(|(direct, _)| direct).copied().collect();
    let through: Vec<Duration> = rounds.iter().flat_map(|(_, through)| through).copied().collect();
    let cells = [direct, through].map(|samples| [50, 99].map(|percent| percentile(samples.clone(), percent)));
    let ratio = cells[0][0].as_secs_f64() / cells[1][0].as_secs_f64();
    let durations = cells.into_iter().flatten().map(milliseconds);
    [size.to_string()].into_iter().chain(durations).chain([format!("{ratio:.3}")]).collect()
}

/// Opens connections one after the other. Closed by reset, so that no port waits for its next use.
fn connect(to: SocketAddr) -> io::Result<Vec<Duration>> {
    let open = |_| {
        let (stream, duration) = time(|| TcpStream::connect(to));
        let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream?.as_fd(), Linger, &reset).map_err(io::Error::from)?;
        Ok(duration)
    };
    (0..CONNECTIONS).map(open).collect()
}

/// The whole of connections one after the other. The client closes first, so the waiting time is its.
fn live(to: SocketAddr) -> io::Result<Vec<Duration>> {
    let live = || {
        let mut stream = TcpStream::connect(to)?;
        let mut byte = [1];
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        stream.shutdown(Shutdown::Write)?;
        stream.read(&mut byte).map(drop)
    };
    let timed = |_| {
        let (lived, duration) = time(live);
        lived.map(|()| duration)
    };
    (0..CONNECTIONS).map(timed).collect()
}

/// Sends much through one connection.
fn carry(to: SocketAddr) -> io::Result<Vec<Duration>> {
    let (block, mut stream) = (vec![0; BLOCK], TcpStream::connect(to)?);
    let (sent, duration) = time(|| (0..LONG_BYTES / BLOCK).try_for_each(|_| stream.write_all(&block)));
    sent.map(|()| vec![duration])
}
