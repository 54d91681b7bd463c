//! What becomes of clients when the endpoints of a generated set change, and when another set takes its place: a UDP flow goes on to its endpoint as long as
//! that is among those that the new rules allow, and is cut within a second otherwise; a client of a Service with
//! affinity meets the same endpoint again.
//!
//! The same is asked of kube-proxy. What it does otherwise is counted, not recorded: it is not what anybody relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::forwarding_table::{ForwardingTable, FrontendKey};
use services::{Model, Protocol};
use testnet::harness::Trial;
use testnet::judge::plane::Plane;
use testnet::oracle::answer::Fate;
use testnet::oracle::kube_proxy::KubeProxy;
use testnet::oracle::node::Node;
use testnet::oracle::objects::ObjectSet;
use testnet::oracle::profile::{PROFILES, Profile};
use testnet::oracle::question::{Question, questions};

use super::sets::{judge, node};
use super::{done, program};

/// How soon a flow must be cut.
const CUT: Duration = Duration::from_secs(1);

/// Sets of a profile that follow each other, each with its endpoints changed a few times.
const SETS: usize = 30;
const VARIANTS: u64 = 4;

/// Where Sluice's rules are asked, and what they must not do.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("changes::kernel", || done(sluice(&PROFILES[0]))),
        Trial::new("changes::kube_proxy", || done(kube_proxy(&PROFILES[0]))),
    ]
}

/// A client that was served before the change.
struct Client {
    question: Question,
    source: SocketAddr,
    /// Its endpoint.
    met: SocketAddr,
    /// The Service port that remembers it, when it has affinity.
    known: Option<String>,
}

fn sluice(profile: &Profile) -> Vec<String> {
    let mut node = node(&profile.site());
    let mut plane = Plane::open(node.namespace(), ForwardingTable::new(profile.node_facts())).unwrap();
    let (mut model, mut before) = (Model::new(), None);
    play(profile, &mut node, |_, set| {
        set.replace(before.as_ref(), &mut model);
        let changes = model.take_changes();
        plane.sync_snapshot(&model.snapshot(), &changes).unwrap();
        before = Some(set.clone());
    })
}

/// Shows what kube-proxy does; it cannot fail.
fn kube_proxy(profile: &Profile) -> Vec<String> {
    let program = program();
    let mut node = node(&profile.site());
    let mut proxy = KubeProxy::start(&program, &node).unwrap();
    let differences = play(profile, &mut node, |node, set| proxy.load(node, set).unwrap());
    eprintln!("kube-proxy: {} clients met something else:\n{}", differences.len(), differences.join("\n"));
    Vec::new()
}

/// Puts each set in the place of the one before, with clients of that one; returns what became of them that should not.
fn play(profile: &Profile, node: &mut Node, mut load: impl FnMut(&mut Node, &ObjectSet)) -> Vec<String> {
    node.remember_udp(Duration::from_secs(30)).unwrap();
    let (mut port, mut clients, mut differences) = (1024, Vec::new(), Vec::new());
    let mut counts = BTreeMap::<_, u32>::new();
    let steps = profile.seeds().take(SETS).flat_map(|seed| (0..VARIANTS).map(move |variant| (seed, variant)));
    for (seed, variant) in steps {
        let set = ObjectSet::variant(seed, variant);
        load(node, &set);
        let table = ForwardingTable::build(profile.node_facts(), &set.model().snapshot());
        for client in std::mem::take(&mut clients) {
            match outcome(node, &client, &table) {
                Ok(what) => *counts.entry(what).or_default() += 1,
                Err(what) => differences.push(format!(
                    "set {seed}, variant {variant}: {} {}: {what}",
                    client.question, client.source
                )),
            }
        }
        clients = clients_of(node, &set, &table, &mut port);
    }
    eprintln!("{}: clients over changes: {counts:?}", profile.name);
    differences
}

/// New clients: all that speak UDP, and those of Services with affinity.
fn clients_of(node: &mut Node, set: &ObjectSet, table: &ForwardingTable, port: &mut u16) -> Vec<Client> {
    let mut clients = Vec::new();
    for question in questions(set) {
        let known = remembering(table, &question);
        if known.is_none() && question.destination.protocol != Protocol::Udp {
            continue;
        }
        *port += 1;
        let addresses = question.sender.addresses(question.destination.address.is_ipv4(), clients.len());
        let source = SocketAddr::new(addresses[usize::from(*port) % addresses.len()], *port);
        if let Fate::Forward(met, _) = send(node, &question, source) {
            clients.push(Client { question, source, met, known });
        }
    }
    clients
}

/// The Service port with affinity that a question is for.
fn remembering(table: &ForwardingTable, question: &Question) -> Option<String> {
    let to = question.destination;
    let frontend = table.frontend(&FrontendKey::new(to.protocol, to.address.ip(), to.address.port()))?;
    frontend.affinity.map(|timeout| format!("{} {timeout:?}", frontend.owner()))
}

fn send(node: &mut Node, question: &Question, source: SocketAddr) -> Fate {
    node.send_from(node.way(question.sender), source, question.destination).unwrap()
}

/// What became of a client, in a word, or what should not have.
fn outcome(node: &mut Node, client: &Client, table: &ForwardingTable) -> Result<&'static str, String> {
    let fates = judge(table, &client.question).fates;
    let stays =
        fates.iter().any(|fate| matches!(fate, Fate::Forward(endpoint, _) if *endpoint == client.met));
    if client.question.destination.protocol != Protocol::Udp {
        let knows = stays && client.known == remembering(table, &client.question);
        return if knows {
            affinity(node, client)
        } else {
            Ok("clients whose Service port or endpoint went")
        };
    }
    let begun = Instant::now();
    loop {
        let fate = send(node, &client.question, client.source);
        match fate {
            Fate::Forward(endpoint, _) if stays && endpoint == client.met => return Ok("flows that went on"),
            Fate::Forward(endpoint, _) if stays => {
                return Err(format!("went from {} on to {endpoint}", client.met));
            }
            _ if stays => return Err(format!("its endpoint {} is there, and yet: {fate}", client.met)),
            Fate::Forward(endpoint, _) if reaches(&fates, endpoint) => return Ok("flows that moved"),
            fate if fates.contains(&fate) => return Ok("flows that were cut"),
            fate if begun.elapsed() > CUT => {
                return Err(format!("still {fate} after {CUT:?}, from {}", client.met));
            }
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// A new connection of the same client.
fn affinity(node: &mut Node, client: &Client) -> Result<&'static str, String> {
    let source = SocketAddr::new(client.source.ip(), client.source.port() + 30_000);
    match send(node, &client.question, source) {
        Fate::Forward(endpoint, _) if endpoint == client.met => Ok("clients that were remembered"),
        fate => Err(format!("is not remembered: {fate} after {}", client.met)),
    }
}

fn reaches(fates: &BTreeSet<Fate>, endpoint: SocketAddr) -> bool {
    fates.iter().any(|fate| matches!(fate, Fate::Forward(other, _) if *other == endpoint))
}
