//! The node's side of a trace, a process of its own (`sluice trace-on-node`, hidden): enters the node, asks its agent, reads
//! the kernel back, and sends the real packet if told to. Question and findings are JSON on standard input and output.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use services::Protocol;

use super::live::{self, Attempt};
use super::question::{Element, Findings, Kernel, NameStep, Question};
use crate::wiring::agent::explanation::{Delivery, NameAnswer, NodeSelf};
use crate::wiring::agent::status_client::{self, ask};
use crate::wiring::{enter, route};

/// How long a DNS server may take for one name; a forwarder upstream may itself wait.
const DNS_PATIENCE: Duration = Duration::from_secs(3);
/// A kernel that was just told something else is asked once more.
const SETTLE: Duration = Duration::from_millis(300);
const DNS_PORT: u16 = 53;

/// Runs the process.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading the question")?;
    let question: Question = serde_json::from_str(&text).context("reading the question")?;
    let findings = find(&question)?;
    let mut out = std::io::stdout();
    out.write_all(serde_json::to_string(&findings)?.as_bytes()).context("writing the findings")?;
    Ok(ExitCode::SUCCESS)
}

fn find(question: &Question) -> anyhow::Result<Findings> {
    let node_process = go_to(question)?;
    let node: NodeSelf = serde_json::from_str(&ask("/trace/node")?).context("reading the agent's answer")?;
    if !node.node.is_empty() && node.node != question.node {
        bail!("the agent here is that of node {}: run this on node {}", node.node, question.node);
    }
    let unsynced = ask("/readyz").err().map(|error| error.to_string());
    let mut findings = Findings { unsynced, node, ..Findings::default() };
    findings.address = match question.target.address() {
        Some(address) => Some(address),
        None => resolve(question, &mut findings),
    };
    if let Some(address) = findings.address {
        deliver(question, address, &mut findings)?;
        if question.live {
            send(question, address, node_process, &mut findings);
        }
    }
    Ok(findings)
}

/// Into the namespaces of a node of the cluster on this machine, whose process comes back; on a real node we are there.
fn go_to(question: &Question) -> anyhow::Result<Option<u32>> {
    let kubeconfig = question.kubeconfig.as_deref();
    let cluster = enter::cluster(kubeconfig).ok();
    if let Some(process) = cluster.and_then(|record| record.nodes.get(&question.node).copied()) {
        enter::node(kubeconfig, &question.node)?;
        return Ok(Some(process.pid));
    }
    if status_client::answers() {
        return Ok(None);
    }
    bail!(
        "no agent of Sluice answers here: run this on node {}, where `sluice agent` or `sluice proxy` runs",
        question.node
    )
}

/// Asks name after name until one has addresses, as the sender's resolver would.
fn resolve(question: &Question, findings: &mut Findings) -> Option<IpAddr> {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let name = question.target.host.as_str();
    let known = question.resolver.hosts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((_, address)) = known {
        findings.names.push(NameStep {
            name: name.to_owned(),
            answer: address.to_string(),
            addresses: vec![*address],
            answered_by: "/etc/hosts".to_owned(),
            forwarded: false,
        });
        return Some(*address);
    }
    let path = question.resolver.search_path(&findings.node, &host);
    let kind = if question.sender.is_some_and(|sender| sender.is_ipv6()) { "AAAA" } else { "A" };
    let server = path.servers.first().copied();
    for name in path.names(name) {
        let step = ask_name(&findings.node, server, &name, kind);
        let found = step.addresses.first().copied();
        findings.names.push(step);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// One name, of the server that the sender has; ours is asked for what its zone says, and over the wire for the rest.
fn ask_name(node: &NodeSelf, server: Option<IpAddr>, name: &str, kind: &str) -> NameStep {
    let step = |answer: NameAnswer, by: String| NameStep {
        name: name.trim_end_matches('.').to_owned(),
        answer: answer.answer,
        addresses: answer.addresses,
        answered_by: by,
        forwarded: answer.forwarded,
    };
    let Some(server) = server else {
        let answer = NameAnswer { answer: "no server".to_owned(), ..NameAnswer::default() };
        return step(answer, "nobody".to_owned());
    };
    if !node.dns_addresses.contains(&server) {
        return step(ask_server(server, name, kind), server.to_string());
    }
    let by = format!("{server} ({})", node.node);
    let zone = ask(&format!("/trace/name/{name}/{kind}")).and_then(|text| Ok(serde_json::from_str(&text)?));
    match zone {
        Ok(NameAnswer { forwarded: false, answer, addresses }) => {
            step(NameAnswer { answer, addresses, forwarded: false }, by)
        }
        _ => step(NameAnswer { forwarded: true, ..ask_server(server, name, kind) }, by),
    }
}

fn ask_server(server: IpAddr, name: &str, kind: &str) -> NameAnswer {
    exchange(server, name, kind).unwrap_or_else(|error| {
        let timeout = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
        let silent =
            error.downcast_ref::<std::io::Error>().is_some_and(|error| timeout.contains(&error.kind()));
        let answer = if silent { "no answer".to_owned() } else { format!("no answer ({error:#})") };
        NameAnswer { answer, ..NameAnswer::default() }
    })
}

fn exchange(server: IpAddr, name: &str, kind: &str) -> anyhow::Result<NameAnswer> {
    const ID: u16 = 0x5c1e;
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(DNS_PATIENCE))?;
    socket.connect((server, DNS_PORT))?;
    socket.send(&dns::lookup::query(name, kind, ID)?)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    let lookup = dns::lookup::read_answer(&buffer[..length], kind, ID).context("it is no DNS answer")?;
    Ok(NameAnswer::of(&lookup))
}

fn deliver(question: &Question, address: IpAddr, findings: &mut Findings) -> anyhow::Result<()> {
    let protocol = Protocol::parse(&question.target.protocol.to_uppercase()).context("tcp, udp or sctp")?;
    let destination = SocketAddr::new(address, question.target.port);
    let sender = question.sender.context("the sender has no address")?;
    let path = format!("/trace/packet/{sender}/{protocol}/{address}/{}", question.target.port);
    let delivery = || -> anyhow::Result<Delivery> {
        serde_json::from_str(&ask(&path)?).context("reading the agent's answer")
    };
    let mut told = delivery()?;
    let mut kernel = read_back(protocol, destination, &told);
    if kernel.as_ref().is_ok_and(|kernel| !kernel.agrees) {
        std::thread::sleep(SETTLE);
        told = delivery()?;
        kernel = read_back(protocol, destination, &told);
    }
    for endpoint in told.endpoints.iter_mut().filter(|endpoint| endpoint.is_in()) {
        endpoint.route = endpoint.address.parse().ok().and_then(|address| route::from_here(address).ok());
    }
    findings.delivery = Some(told);
    match kernel {
        Ok(kernel) => findings.kernel = Some(kernel),
        Err(error) => findings.warnings.push(format!("the kernel was not read back: {error:#}")),
    }
    Ok(())
}

/// A real packet.
fn send(question: &Question, address: IpAddr, node_process: Option<u32>, findings: &mut Findings) {
    let protocol = Protocol::parse(&question.target.protocol.to_uppercase());
    let (Some(protocol), Some(sender)) = (protocol, question.sender) else { return };
    let destination = SocketAddr::new(address, question.target.port);
    let attempt = Attempt { protocol, sender, is_pod: question.is_pod, node_process, destination };
    match live::send(attempt) {
        Ok(live) => findings.live = Some(live),
        Err(error) => findings.warnings.push(format!("nothing was sent: {error:#}")),
    }
}

/// What the kernel holds of this address and port, and whether that is what the agent's table says.
fn read_back(protocol: Protocol, destination: SocketAddr, told: &Delivery) -> anyhow::Result<Kernel> {
    let elements = dataplane::table_elements::elements_of(protocol, destination.ip(), destination.port())?;
    let start = format!("{protocol} {destination} ");
    let line = dataplane::reconcile::dump()?.into_iter().find(|line| line.starts_with(&start));
    Ok(Kernel {
        agrees: line == told.table_line,
        elements: elements
            .into_iter()
            .map(|element| Element { set: element.set, text: element.text })
            .collect(),
        line,
    })
}
