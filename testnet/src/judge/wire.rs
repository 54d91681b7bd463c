//! Judge of the stage `wire`: the questions of `dns` once more, put to the nodes' real servers by pods of every node.
//!
//! Each node that answers runs the product's server on the DNS address and on its own; a query takes the way of any
//! packet, past the node's rules. A scenario without a `dns` fact gets one: all nodes answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use ::dns::server::{Server, ServerError, Sockets};
use ::dns::zone::Zone;
use ipnet::IpNet;

use super::dns::{decode, encode, zone};
use super::plane::{self, open_all};
use super::{Feed, Report, Verdict};
use crate::cluster::probe::PATIENCE;
use crate::cluster::{self, Cluster, Pod};
use crate::scenario::{Facts, QueryCase, Scenario};

/// The cluster's DNS address where a scenario names none.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The host part of the asking pods' addresses.
const CLIENT: u32 = 250;

/// What keeps the questions from being put.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no data plane")]
    Plane(#[from] plane::Error),
    #[error("no cluster")]
    Cluster(#[from] cluster::Error),
    #[error("no DNS server on {node}")]
    Server {
        node: String,
        #[source]
        source: ServerError,
    },
    #[error("no zone: {0}")]
    Zone(String),
}

/// Plays the steps into the servers, and asks from every node.
#[must_use]
pub fn wire(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    if let Err(error) = play(scenario, &mut report) {
        report.fail(&scenario.file, 1, super::chain(&error));
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, report: &mut Report) -> Result<(), Error> {
    let mut facts = scenario.facts.clone();
    let everywhere = facts.nodes.iter().map(|node| node.name.clone()).collect();
    let (address, _) = facts.dns.get_or_insert((ADDRESS, everywhere)).clone();
    let cluster = Cluster::start(&facts)?;
    let mut feed = Feed::new(&facts);
    let mut planes = open_all(&cluster, &feed.known())?;
    let mut zone = Arc::new(zone(&facts).map_err(Error::Zone)?);
    let servers = start(&cluster, &facts, &zone)?;
    let clients = clients(&cluster)?;
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let (known, changes) = (feed.known(), feed.model.take_changes());
        planes.iter_mut().try_for_each(|plane| plane.sync(&known, &changes))?;
        zone = Arc::new(zone.update(&known.snapshot, &changes, 0));
        servers.iter().for_each(|server| server.publish(Arc::clone(&zone)));
        for (case, client) in
            step.queries.iter().flat_map(|case| clients.iter().map(move |client| (case, client)))
        {
            judge(scenario, case, client, SocketAddr::new(address.into(), 53), report)?;
        }
        for leak in cluster.take_leaks() {
            report.fail(
                &scenario.file,
                step.line,
                format!("seen on the wire, though no service address may be: {leak}"),
            );
        }
    }
    Ok(())
}

fn start(cluster: &Cluster, facts: &Facts, zone: &Arc<Zone>) -> Result<Vec<Server>, Error> {
    let Some((address, nodes)) = &facts.dns else { return Ok(Vec::new()) };
    let mut servers = Vec::new();
    for node in cluster.nodes().iter().filter(|node| nodes.contains(&node.facts().name)) {
        let name = node.facts().name.clone();
        let own = node.facts().address_to((*address).into());
        let addresses: Vec<SocketAddr> =
            own.into_iter().chain([(*address).into()]).map(|address| SocketAddr::new(address, 53)).collect();
        let bind = move || {
            addresses.into_iter().map(|address| Sockets::bind(address, 1)).collect::<Result<Vec<_>, _>>()
        };
        let started =
            node.run(bind)?.and_then(|sockets| Server::start(Arc::clone(zone), Vec::new(), sockets));
        let server = started.map_err(|source| Error::Server { node: name, source })?;
        server.set_synced(true);
        servers.push(server);
    }
    Ok(servers)
}

fn clients(cluster: &Cluster) -> Result<Vec<Pod>, Error> {
    let address = |node: &cluster::Node| {
        let networks = node.facts().pod_cidrs.iter();
        let mut v4 = networks.filter_map(|network| match network {
            IpNet::V4(network) => Some(Ipv4Addr::from(u32::from(network.network()) + CLIENT)),
            IpNet::V6(_) => None,
        });
        v4.next()
    };
    let pods = cluster.nodes().iter().filter_map(address).map(|address| cluster.pod(address.into()));
    Ok(pods.collect::<Result<_, _>>()?)
}

fn judge(
    scenario: &Scenario,
    case: &QueryCase,
    client: &Pod,
    server: SocketAddr,
    report: &mut Report,
) -> Result<(), Error> {
    let query = match encode(case) {
        Ok(query) => query,
        Err(fault) => {
            report.fail(&scenario.file, case.line, fault);
            return Ok(());
        }
    };
    let answers = client.run(move || [("udp", ask_udp(&query, server)), ("tcp", ask_tcp(&query, server))])?;
    for (transport, answer) in answers {
        let answered = answer.and_then(|packet| decode(case, &packet)).unwrap_or_else(|problem| problem);
        if answered != case.expected.to_string() {
            let from = client.address();
            report.fail(
                &scenario.file,
                case.line,
                format!("{case}\n    {from} is told over {transport}: {answered}"),
            );
        }
    }
    Ok(())
}

fn ask_udp(query: &[u8], server: SocketAddr) -> Result<Vec<u8>, String> {
    let talk = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(query)?;
        let mut answer = vec![0; 65_535];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    talk().map_err(|error: std::io::Error| error.to_string())
}

/// With the length in front (RFC 1035 §4.2.2).
fn ask_tcp(query: &[u8], server: SocketAddr) -> Result<Vec<u8>, String> {
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = u16::try_from(query.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    talk().map_err(|error: std::io::Error| error.to_string())
}
