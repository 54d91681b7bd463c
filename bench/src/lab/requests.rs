//! HTTP requests, each on a connection of its own, through a service's address and directly to its pod, in turn.
//!
//! Two clients on one node, one for each kind: from one client both kinds would share reply tuples, and the kernel
//! would have to choose other source ports. Each service has one pod, so that both kinds go the same way.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::client::Client;
use super::cluster::Cluster;
use crate::measure::{median, print_table};

/// Rounds of both kinds in turn; the first warms up and does not count.
const ROUNDS: usize = 201;
/// Requests of one kind in a round.
const REQUESTS: u32 = 50;
/// The service whose pod is on the clients' node, and the one whose pod is on the other.
const SERVICES: [(&str, &str); 2] = [("near", "client's own node"), ("far", "other node")];
const CLIENTS: [&str; 2] = ["client-through", "client-direct"];

/// Prints a table with a row for each place of the server.
pub(super) fn measure(sluice: &Path) -> Result<()> {
    let cluster = Cluster::start(sluice)?;
    cluster.apply(&manifest())?;
    cluster.wait_for(4, &SERVICES.map(|(name, _)| name))?;
    let [mut through, mut direct] = clients(&cluster)?;
    let mut rows = Vec::new();
    for (service, place) in SERVICES {
        let (vip, pod) = (service_address(&cluster, service)?, pod_address(&cluster, service)?);
        let rounds = rounds(&mut through, vip, &mut direct, pod)?;
        rows.push(row(place, rounds));
    }
    println!(
        "HTTP requests a second, a new connection each, one client, medians of {} rounds of {REQUESTS}:\n",
        ROUNDS - 1
    );
    print_table(&["server on", "direct", "through the service's address", "ratio, round by round"], &rows);
    Ok(())
}

fn manifest() -> String {
    let [near, far] = SERVICES.map(|(name, _)| name);
    let clients = CLIENTS.map(|name| pod(name, "worker-1", "nginx"));
    let servers = [(near, "worker-1"), (far, "worker-2")].map(|(name, node)| server(name, node));
    [clients, servers].concat().join("---\n")
}

fn pod(name: &str, node: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: server, image: {image}}}]}}\n"
    )
}

fn server(name: &str, node: &str) -> String {
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 9898}}]}}\n"
    );
    format!("{service}---\n{}", pod(name, node, "podinfo"))
}

fn clients(cluster: &Cluster) -> Result<[Client; 2]> {
    let tree = cluster.processes()?;
    let start = |pod: &str| {
        let address = *pod_address(cluster, pod)?.ip();
        let process = tree.pods.iter().find(|process| process.has_address(address));
        Client::start(process.with_context(|| format!("pod {pod} has no process"))?.pid)
    };
    Ok([start(CLIENTS[0])?, start(CLIENTS[1])?])
}

fn service_address(cluster: &Cluster, name: &str) -> Result<SocketAddrV4> {
    let service = cluster.json(&["get", "service", name])?;
    Ok(SocketAddrV4::new(address(&service["spec"]["clusterIP"])?, 80))
}

fn pod_address(cluster: &Cluster, name: &str) -> Result<SocketAddrV4> {
    let pod = cluster.json(&["get", "pod", name])?;
    Ok(SocketAddrV4::new(address(&pod["status"]["podIP"])?, 9898))
}

fn address(value: &Value) -> Result<Ipv4Addr> {
    let text = value.as_str().context("an object without its address")?;
    text.parse().with_context(|| format!("the address {text}"))
}

/// The time of each round: direct, and through the service's address.
fn rounds(
    through: &mut Client,
    vip: SocketAddrV4,
    direct: &mut Client,
    pod: SocketAddrV4,
) -> Result<Vec<(Duration, Duration)>> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((direct.request(pod, REQUESTS)?, through.request(vip, REQUESTS)?));
    }
    rounds.remove(0);
    Ok(rounds)
}

fn row(place: &str, rounds: Vec<(Duration, Duration)>) -> Vec<String> {
    // Neighbouring in time, so that what else the machine does weighs on both alike.
    let mut ratios: Vec<f64> =
        rounds.iter().map(|(direct, through)| direct.as_secs_f64() / through.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let rate = |times: Vec<Duration>| format!("{:.0}", f64::from(REQUESTS) / median(times).as_secs_f64());
    let ratio = format!("{:.3}", ratios[ratios.len() / 2]);
    let (direct, through) = rounds.into_iter().unzip();
    vec![place.to_owned(), rate(direct), rate(through), ratio]
}
