//! The proof of the translation: the connection as conntrack of the client's node remembers it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, ensure};
use dataplane::conntrack::{Conntrack, Filter, Flow};
use dataplane::forwarding_table::FrontendKey;
use pods::namespace;
use services::Protocol;

/// Entries that are looked through at most.
const FLOWS_MAX: usize = 10_000;

/// The newest connection from `client` to the virtual IP, read in the network namespace of the node's process `pid`.
pub(crate) fn connection(pid: u32, client: Ipv4Addr, vip: Ipv4Addr) -> anyhow::Result<Flow> {
    // A thread of its own: who entered a namespace as an ordinary user cannot come back.
    let flows = std::thread::spawn(move || -> anyhow::Result<Vec<Flow>> {
        let node = namespace::network_of(pid).context("finding the node's namespace")?;
        namespace::enter_network(std::os::fd::AsFd::as_fd(&node)).context("entering the node's namespace")?;
        let mut conntrack = Conntrack::open().context("opening conntrack")?;
        let asked = FrontendKey::new(Protocol::Tcp, vip.into(), 80);
        conntrack.flows(&Filter::Frontend(asked), FLOWS_MAX).context("reading conntrack")
    });
    let flows = flows.join().map_err(|_| anyhow::anyhow!("reading conntrack broke off"))??;
    let wanted = |flow: &Flow| flow.original.source.ip() == IpAddr::V4(client);
    flows
        .into_iter()
        .rfind(wanted)
        .with_context(|| format!("conntrack knows no connection from {client} to {vip}:80"))
}

/// Sent to the virtual address, answered by a pod, and the answer goes to the client: that is DNAT and its reverse.
pub(crate) fn is_translated(flow: &Flow, vip: Ipv4Addr, pods: &BTreeSet<String>) -> anyhow::Result<()> {
    ensure!(
        flow.original.destination == SocketAddr::from((vip, 80)),
        "it was sent to {}",
        flow.original.destination
    );
    let answering: IpAddr = flow.reply.source.ip();
    ensure!(
        pods.contains(&answering.to_string()),
        "the reply comes from {answering}, which is no pod of podinfo"
    );
    ensure!(flow.reply.source.port() == 9898, "the reply comes from port {}", flow.reply.source.port());
    ensure!(flow.reply.destination == flow.original.source, "the reply goes to {}", flow.reply.destination);
    Ok(())
}
