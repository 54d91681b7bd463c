//! Connections through a service's address against direct ones, from a pod to a pod on another node: how many new ones
//! a second, handshakes alone and whole lives, how long the handshake takes, how much one carries.
//!
//! Both are tracked by the client's node and pass the same rules' hooks; the service's address adds the translation.
//! Direct connections go to another port of the same server: on the same one, the two would share reply tuples.

mod kube_proxy;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
use dataplane::reconcile::Reconciler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nix::sys::socket::{setsockopt, sockopt::Linger};
use services::Model;
use testnet::cluster::{Cluster, Pod};
use testnet::scenario::Facts;

use kube_proxy::Rules;

use crate::measure::{median, milliseconds, percentile, print_table, time};
use crate::namespace;
use crate::objects::{service, slice};

/// kube-proxy takes half a minute for the last of these.
const SERVICES_OF_KUBE_PROXY: [u32; 3] = [1, 1_000, 10_000];
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
/// The one byte of a connection that is measured as a whole; a long one carries zeros.
const QUESTION: u8 = 1;
/// What one write or read moves.
const BLOCK: usize = 128 * 1024;

/// The tables' rows.
#[derive(Default)]
struct Rows {
    rates: Vec<Vec<String>>,
    whole: Vec<Vec<String>>,
    latencies: Vec<Vec<String>>,
    long: Vec<Vec<String>>,
}

/// `[--kube-proxy PATH]`: measures with few and with many services present, then with kube-proxy's rules, and prints tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = match arguments {
        [] => None,
        [flag, program] if flag == "--kube-proxy" => Some(PathBuf::from(program)),
        _ => anyhow::bail!("connections knows --kube-proxy PATH only"),
    };
    namespace::become_root()?;
    let cluster = Cluster::start(&Facts::default())?;
    let (client, server) = (cluster.pod("10.244.1.5".parse()?)?, cluster.pod("10.244.2.15".parse()?)?);
    for port in PORTS {
        serve(&server, port)?;
    }
    let node = cluster.node("worker-1").context("the first node")?;
    let mut rows = Rows::default();
    for size in SERVICES {
        let reconciler = node.run({
            let objects = objects(size, &server);
            move || load(&objects)
        })??;
        rows.measure(&size.to_string(), &client, &server)?;
        drop(reconciler);
    }
    node.run(dataplane::nftables::cleanup)??;
    for size in SERVICES_OF_KUBE_PROXY.into_iter().filter(|_| program.is_some()) {
        let _rules =
            Rules::write(program.as_deref().unwrap_or(Path::new("")), &objects(size, &server), node)?;
        rows.measure(&format!("{size}, kube-proxy"), &client, &server)?;
    }
    rows.print();
    Ok(())
}

impl Rows {
    fn measure(&mut self, title: &str, client: &Pod, server: &Pod) -> Result<()> {
        let handshakes = rounds(client, server, CONNECT)?;
        self.rates.push(rate_row(title, &handshakes));
        self.latencies.push(latency_row(title, &handshakes));
        self.whole.push(rate_row(title, &rounds(client, server, LIVE)?));
        self.long.push(throughput_row(title, &rounds(client, server, CARRY)?));
        Ok(())
    }

    fn print(&self) {
        let head = ["services", "direct", "through the service's address", "ratio, round by round"];
        println!("Handshakes a second, one client, medians of {ROUNDS} rounds of {CONNECTIONS}:\n");
        print_table(&head, &self.rates);
        println!("\nWhole connections a second: handshake, a byte each way, closed by both sides:\n");
        print_table(&head, &self.whole);
        println!("\nThe handshake of each of them:\n");
        print_table(
            &[
                "services",
                "direct p50",
                "p99",
                "through the service's address p50",
                "p99",
                "ratio of the p50",
            ],
            &self.latencies,
        );
        println!(
            "\nOne long connection, Gbit/s, medians of {LONG_ROUNDS} rounds of {} MiB:\n",
            LONG_BYTES >> 20
        );
        print_table(&head, &self.long);
    }
}

/// Until the process ends: sends a [`QUESTION`] back and hangs up first, so that the client's port is free again; else reads
/// until the client hangs up.
fn serve(server: &Pod, port: u16) -> Result<()> {
    let address = SocketAddr::new(server.address(), port);
    let listener = server.run(move || TcpListener::bind(address))?.context("the server's socket")?;
    std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        for mut stream in listener.incoming().flatten() {
            if stream.read(&mut block).is_ok_and(|length| block[..length] == [QUESTION]) {
                // A client that is gone needs no answer.
                let _ = stream.write_all(&[QUESTION]);
                continue;
            }
            while stream.read(&mut block).is_ok_and(|length| length > 0) {}
        }
    });
    Ok(())
}

/// So many services, the first of them with the server as its endpoint.
fn objects(size: u32, server: &Pod) -> Vec<(Service, EndpointSlice)> {
    let slice = |number| if number == 0 { only(slice(0, 1, 0), server) } else { slice(number, 5, 0) };
    (0..size).map(|number| (service(number), slice(number))).collect()
}

/// Gives the objects to the node whose namespace this is.
fn load(objects: &[(Service, EndpointSlice)]) -> Result<Reconciler> {
    let mut model = Model::new();
    for (service, slice) in objects {
        model.apply_service(service)?;
        model.apply_slice(slice)?;
    }
    let mut table = ForwardingTable::new(NodeFacts::new("worker-1", ["10.96.0.0/12".parse()?]));
    let touched = table.update(&model.snapshot(), &model.take_changes());
    let mut reconciler = Reconciler::open()?;
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
fn compared(title: &str, rounds: &[Round], show: impl Fn(Duration) -> String) -> Vec<String> {
    let sum = |samples: &Vec<Duration>| samples.iter().sum::<Duration>();
    let pairs: Vec<(Duration, Duration)> = rounds.iter().map(|(a, b)| (sum(a), sum(b))).collect();
    let mut ratios: Vec<f64> =
        pairs.iter().map(|(direct, through)| direct.as_secs_f64() / through.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let ratio = format!("{:.3}", ratios[ratios.len() / 2]);
    let (direct, through) = pairs.into_iter().unzip();
    vec![title.to_owned(), show(median(direct)), show(median(through)), ratio]
}

fn rate_row(title: &str, rounds: &[Round]) -> Vec<String> {
    compared(title, rounds, |duration| format!("{:.0}", f64::from(CONNECTIONS) / duration.as_secs_f64()))
}

fn throughput_row(title: &str, rounds: &[Round]) -> Vec<String> {
    let bits = LONG_BYTES as f64 * 8.0;
    compared(title, rounds, |duration| format!("{:.1}", bits / duration.as_secs_f64() / 1e9))
}

fn latency_row(title: &str, rounds: &[Round]) -> Vec<String> {
    let direct: Vec<Duration> = rounds.iter().flat_map(|(direct, _)| direct).copied().collect();
    let through: Vec<Duration> = rounds.iter().flat_map(|(_, through)| through).copied().collect();
    let cells = [direct, through].map(|samples| [50, 99].map(|percent| percentile(samples.clone(), percent)));
    let ratio = cells[0][0].as_secs_f64() / cells[1][0].as_secs_f64();
    let durations = cells.into_iter().flatten().map(milliseconds);
    [title.to_owned()].into_iter().chain(durations).chain([format!("{ratio:.3}")]).collect()
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

/// The whole of connections one after the other.
fn live(to: SocketAddr) -> io::Result<Vec<Duration>> {
    let live = || {
        let (mut stream, mut answer) = (TcpStream::connect(to)?, Vec::new());
        stream.write_all(&[QUESTION])?;
        stream.read_to_end(&mut answer).map(drop)
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
