//! What this kernel can do, found out by doing: small tables under a name of their own, made and removed.

use std::net::SocketAddr;

use services::Protocol;

use super::affinity::Sticky;
use super::message::{Chain, Layout, SUBSYSTEM};
use super::rules::{Circumstances, FromPods, endpoint_chain, fixed_chains, sticky_chain};
use super::{IPV4, IPV6};
use super::{TABLE, readback};
use crate::netlink::{Batch, Error, Socket};

/// Name of the tables that are made to see whether they can be; none of their sets has elements, so that no packet
/// meets a decision in them.
const PROBE_TABLE: &str = "sluice-probe";

/// Chains that refuse, and that are led to from nat hooks.
const EARLY_REFUSAL: &[&str] =
    &["refuse", "n1", "nat-prerouting", "nat-output", "by-client", "external", "o1"];
/// Stands for the chains of a Service with session affinity.
const STICKY: &str = "sticky";

/// One thing that the data plane needs of the kernel.
#[derive(Debug)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// What is lost without it.
    pub without: &'static str,
    /// Whether the kernel does it, or why not.
    pub works: Result<(), Error>,
}

/// What [`probe`] found, in the network namespace and with the rights of the calling thread.
#[derive(Debug)]
pub struct Capabilities {
    /// One line for each.
    pub features: Vec<Feature>,
    /// Tables can be owned by our socket and outlive it (kernel 6.9): others cannot change or flush them.
    pub owned: bool,
}

/// Tries each feature in the calling thread's network namespace.
///
/// # Errors
/// When there is no netfilter socket to be had.
pub fn probe() -> Result<Capabilities, Error> {
    let mut socket = Socket::open()?;
    let plain = Layout::plain(&IPV4, PROBE_TABLE);
    let owned = Layout { owned: true, ..plain };
    let ipv6 = Layout { family: &IPV6, ..plain };
    let late = Layout { late_refusal: true, ..plain };
    let mut feature = |name, without, layout: &Layout, wanted: &[&str]| Feature {
        name,
        without,
        works: attempt(&mut socket, layout, wanted),
    };
    let features = vec![
        feature("nf_tables", "no Service is reached at all", &plain, &[]),
        feature(
            "table owned and kept (kernel 6.9)",
            "another program's flush removes the rules until the next sync",
            &owned,
            &[],
        ),
        feature(
            "translation; source ranges, local addresses (kernel 5.6)",
            "no Service is reached at all",
            &late,
            &["refuse", "n1", "o1", "by-client", "external", "nat-prerouting", "nat-output"],
        ),
        feature(
            "refusal from nat chains (kernel 5.9)",
            "filter chains refuse, which costs each packet of a forwarded connection a lookup more",
            &plain,
            EARLY_REFUSAL,
        ),
        feature(
            "session affinity (dynamic sets)",
            "clients of Services with session affinity reach nothing",
            &plain,
            &["refuse", STICKY],
        ),
        feature(
            "masquerade",
            "a pod cannot reach itself through a Service, and nobody one from outside",
            &plain,
            &["translated", "to-itself", "own-connections", "nat-postrouting"],
        ),
        feature(
            "untracked DNS, socket lookup (kernel 5.14)",
            "queries are translated like other traffic",
            &plain,
            &["untrack", "untrack-tcp", "to-another-node", "raw-prerouting", "raw-output"],
        ),
        feature(
            "drop of stray packets",
            "packets to unallocated service addresses leave the node",
            &plain,
            &["filter-forward", "filter-output"],
        ),
        feature("IPv6", "no Service is reached by IPv6", &ipv6, &["*"]),
    ];
    let owned = features[1].works.is_ok();
    Ok(Capabilities { features, owned })
}

/// True when tables can be owned and kept.
pub(crate) fn can_own(socket: &mut Socket) -> Result<bool, Error> {
    let layout = Layout { owned: true, ..Layout::plain(&IPV4, PROBE_TABLE) };
    match attempt(socket, &layout, &[]) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// True when nat chains can refuse; otherwise filter chains have to.
pub(crate) fn can_refuse_early(socket: &mut Socket) -> Result<bool, Error> {
    match attempt(socket, &Layout::plain(&IPV4, PROBE_TABLE), EARLY_REFUSAL) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a Service with session affinity needs.
fn sticky(layout: &Layout, batch: &mut Batch) {
    let Some(sticky) = Sticky::of_chain("sticky-probe/probe/tcp") else { return };
    let endpoint = SocketAddr::from(([192, 0, 2, 1], 80));
    layout.new_clients(batch, &sticky.group.set(endpoint), u32::MAX);
    let chain = endpoint_chain(layout.family, &sticky.group, endpoint, Protocol::Tcp, 1);
    for chain in [chain, sticky_chain(layout.family, &sticky, &[endpoint])] {
        layout.new_chain(batch, &chain);
        layout.new_rules(batch, &chain);
    }
}

/// Makes a table with those of our chains that are wanted (`*`: all), and all sets when there are any.
fn attempt(socket: &mut Socket, layout: &Layout, wanted: &[&str]) -> Result<(), Error> {
    let late_refusal = layout.late_refusal;
    let circumstances =
        Circumstances { pods: Some(FromPods::ByAddress), masquerade_all: false, late_refusal };
    let is_wanted = |chain: &Chain| wanted.contains(&chain.name.as_str()) || wanted == ["*"];
    let chains: Vec<Chain> =
        fixed_chains(layout.family, &circumstances).into_iter().filter(is_wanted).collect();
    let mut batch = Batch::new(SUBSYSTEM);
    layout.new_table(&mut batch);
    if !chains.is_empty() {
        (1..).zip(layout.sets()).for_each(|(id, set)| layout.new_set(&mut batch, set, id));
    }
    if wanted.contains(&STICKY) {
        sticky(layout, &mut batch);
    }
    chains.iter().for_each(|chain| layout.new_chain(&mut batch, chain));
    chains.iter().for_each(|chain| layout.new_rules(&mut batch, chain));
    socket.transact(&mut batch)?;
    let mut removal = Batch::new(SUBSYSTEM);
    layout.delete_table(&mut removal);
    socket.transact(&mut removal)
}

/// Removes our tables from the calling thread's network namespace, and nothing else. True when there was one. One that
/// cannot be removed keeps none of the others.
///
/// # Errors
/// `EPERM` when a running agent owns a table: stop it first.
pub fn cleanup() -> Result<bool, Error> {
    let mut socket = Socket::open()?;
    let (mut found, mut failure) = (false, None);
    let tables = [&IPV4, &IPV6].into_iter().flat_map(|family| [(family, TABLE), (family, PROBE_TABLE)]);
    for (family, table) in tables {
        match remove(&mut socket, &Layout::plain(family, table)) {
            Ok(removed) => found |= removed && table == TABLE,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(found), Err)
}

/// Removes a table; false when there is none.
fn remove(socket: &mut Socket, layout: &Layout) -> Result<bool, Error> {
    if !readback::exists(socket, layout)? {
        return Ok(false);
    }
    let mut batch = Batch::new(SUBSYSTEM);
    layout.delete_table(&mut batch);
    socket.transact(&mut batch).map(|()| true)
}
