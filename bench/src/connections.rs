//! New connections a second through a service's address against direct ones, from a pod to a pod on another node.
//!
//! Both are tracked by the client's node and pass the same rules' hooks; the service's address adds the translation.
//! Direct connections go to another port of the same server: on the same one, the two would share reply tuples.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
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

use crate::measure::{median, print_table, time};
use crate::namespace;
use crate::objects::{service, slice};

const SERVICES: [u32; 3] = [1, 1_000, 10_000];
/// Rounds of direct and translated connections in turn.
const ROUNDS: usize = 41;
/// Connections of one kind in a round.
const CONNECTIONS: u32 = 250;
/// Port of the service's endpoint, and the one for direct connections.
const PORTS: [u16; 2] = [9898, 9899];

/// Measures with few and with many services present, and prints a table.
pub(crate) fn run() -> Result<()> {
    namespace::become_root()?;
    let cluster = Cluster::start(&Facts::default())?;
    let (client, server) = (cluster.pod("10.244.1.5".parse()?)?, cluster.pod("10.244.2.15".parse()?)?);
    for port in PORTS {
        serve(&server, port)?;
    }
    let mut rows = Vec::new();
    for size in SERVICES {
        let _reconciler = program(&cluster, size, &server)?;
        rows.push(measure(&client, &server, size)?);
    }
    println!("New TCP connections a second, one client, medians of {ROUNDS} rounds of {CONNECTIONS}:\n");
    print_table(&["services", "direct", "through the service's address", "ratio, round by round"], &rows);
    Ok(())
}

/// Accepts and hangs up, until the process ends.
fn serve(server: &Pod, port: u16) -> Result<()> {
    let address = SocketAddrV4::new(server.address(), port);
    let listener = server.run(move || TcpListener::bind(address))?.context("the server's socket")?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
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

fn measure(client: &Pod, server: &Pod, size: u32) -> Result<Vec<String>> {
    let direct = SocketAddr::from((server.address(), PORTS[1]));
    let through: SocketAddr = "10.96.1.0:80".parse()?;
    let rounds = client.run(move || {
        (0..ROUNDS).map(|_| Ok((connect(direct)?, connect(through)?))).collect::<io::Result<Vec<_>>>()
    })?;
    let rounds = rounds.context("a connection failed")?;
    let rate = |durations: Vec<Duration>| f64::from(CONNECTIONS) / median(durations).as_secs_f64();
    // Neighbouring in time, so that what else the machine does weighs on both alike.
    let mut ratios: Vec<f64> =
        rounds.iter().map(|(direct, through)| direct.as_secs_f64() / through.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (direct, through) = rounds.into_iter().unzip();
    let cells = [size.to_string(), format!("{:.0}", rate(direct)), format!("{:.0}", rate(through))];
    Ok(cells.into_iter().chain([format!("{:.3}", ratios[ROUNDS / 2])]).collect())
}

/// Opens connections one after the other. Closed by reset, so that no port waits for its next use.
fn connect(to: SocketAddr) -> io::Result<Duration> {
    let (result, duration) = time(|| {
        (0..CONNECTIONS).try_for_each(|_| {
            let stream = TcpStream::connect(to)?;
            let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream.as_fd(), Linger, &reset).map_err(io::Error::from)
        })
    });
    result.map(|()| duration)
}
