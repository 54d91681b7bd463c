//! Sends one real connection or datagram from the sender's network namespace, and follows its first packet through the
//! node's chains. What it sends carries no data, but for a question to a DNS server; nothing stays in the kernel.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use dataplane::conntrack::{Conntrack, Filter};
use dataplane::forwarding_table::FrontendKey;
use dataplane::packet_trace::{Flow, PacketTrace, Step};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, getsockopt, sockopt,
};
use services::Protocol;

use super::question::{Live, LiveOutcome, PathStep};
use crate::wiring::route::interface_name;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel's messages about a packet come at once.
const SILENCE: Duration = Duration::from_millis(60);
const DNS_PORT: u16 = 53;
/// No process on a machine is further below the first one.
const DEPTH_MAX: usize = 256;
/// Flows of one address and port that are looked at for ours.
const FLOWS_MAX: usize = 100_000;

/// Who sends what where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) protocol: Protocol,
    pub(crate) sender: IpAddr,
    /// The sender is in a network namespace of its own.
    pub(crate) is_pod: bool,
    /// The process of the node, when it is one of a cluster on this machine: other clusters have pods of the same address.
    pub(crate) node_process: Option<u32>,
    pub(crate) destination: SocketAddr,
}

/// Sends it, in the namespace of the node that the calling thread is in.
pub(crate) fn send(attempt: Attempt) -> anyhow::Result<Live> {
    if attempt.protocol == Protocol::Sctp {
        bail!("--live sends TCP and UDP, not SCTP");
    }
    let socket = open(attempt)?;
    let source = local_address(&socket)?;
    let destination = attempt.destination;
    let trace = PacketTrace::start(Flow { protocol: attempt.protocol, source, destination })?;
    let began = Instant::now();
    let outcome = exchange(&socket, attempt)?;
    let milliseconds = (began.elapsed().as_secs_f64() * 1e5).round() / 1e2;
    let steps = trace.finish(SILENCE)?;
    let key = FrontendKey::new(attempt.protocol, destination.ip(), destination.port());
    let flows =
        Conntrack::open().and_then(|mut conntrack| conntrack.flows(&Filter::Frontend(key), FLOWS_MAX));
    let flow = flows.context("reading conntrack")?.into_iter().find(|flow| flow.original.source == source);
    let translated = flow.as_ref().filter(|flow| flow.is_translated()).map(|flow| flow.reply.source);
    Ok(Live {
        source: source.to_string(),
        destination: destination.to_string(),
        outcome,
        milliseconds,
        endpoint: translated.or_else(|| translated_to(&steps, destination)).map(|socket| socket.to_string()),
        path: steps.into_iter().map(path_step).collect(),
        connection: flow.map(|flow| flow.to_string()),
    })
}

/// Where the packet goes in the end, if that is elsewhere.
fn translated_to(steps: &[Step], destination: SocketAddr) -> Option<SocketAddr> {
    let last = steps.iter().filter_map(|step| step.headers).next_back()?;
    Some(last.destination).filter(|last| *last != destination)
}

fn path_step(step: Step) -> PathStep {
    PathStep {
        table: step.table,
        chain: step.chain,
        rule: step.rule,
        verdict: step.verdict.to_string(),
        packet: step.headers.map(|headers| format!("{} -> {}", headers.source, headers.destination)),
        arrived_by: step.arrived_by.map(interface_name),
        leaves_by: step.leaves_by.map(interface_name),
    }
}

/// A socket of the sender's namespace, bound to its address. A socket stays in the namespace in which it was made, so
/// only the making happens there.
fn open(attempt: Attempt) -> anyhow::Result<OwnedFd> {
    let opened = if attempt.is_pod {
        let namespace = namespace_with(attempt.sender, attempt.node_process)?;
        pods::namespace::on_own_thread(move || {
            pods::namespace::enter_network(namespace.as_fd())?;
            Ok::<_, anyhow::Error>(bound(attempt)?)
        })??
    } else {
        bound(attempt)?
    };
    Ok(opened)
}

fn bound(attempt: Attempt) -> io::Result<OwnedFd> {
    let family = if attempt.sender.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = if attempt.protocol == Protocol::Tcp { SockType::Stream } else { SockType::Datagram };
    let socket = socket::socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(attempt.sender, 0)))?;
    Ok(socket)
}

/// The network namespace with this address, of a process that we may look at; one below the node's process, if that is
/// known.
fn namespace_with(address: IpAddr, node_process: Option<u32>) -> anyhow::Result<File> {
    let own = std::fs::read_link("/proc/self/ns/net").context("reading /proc/self/ns/net")?;
    let mut seen = std::collections::HashSet::from([own]);
    let entries = std::fs::read_dir("/proc").context("reading /proc")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| node_process.is_none_or(|node| descends(*pid, node))) {
        let path = format!("/proc/{pid}/ns/net");
        let is_new = std::fs::read_link(&path).is_ok_and(|link| seen.insert(link));
        let Some(namespace) = is_new.then(|| File::open(&path).ok()).flatten() else { continue };
        if has_address(&namespace, address) {
            return Ok(namespace);
        }
    }
    Err(anyhow!(
        "no process of the pod with the address {address} is found here: --live needs root, and a running container"
    ))
}

/// True for the process itself and what it has started.
fn descends(pid: u32, ancestor: u32) -> bool {
    let parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses and may hold anything: count from its end.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    std::iter::successors(Some(pid), parent).take(DEPTH_MAX).any(|pid| pid == ancestor)
}

fn has_address(namespace: &File, address: IpAddr) -> bool {
    let Ok(namespace) = namespace.try_clone() else { return false };
    let found = pods::namespace::on_own_thread(move || {
        pods::namespace::enter_network(namespace.as_fd()).ok()?;
        let addresses = nix::ifaddrs::getifaddrs().ok()?;
        let addresses = addresses.filter_map(|interface| Some(socket_address(&interface.address?)?.ip()));
        addresses.into_iter().find(|own| *own == address)
    });
    found.ok().flatten().is_some()
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = storage.as_sockaddr_in().map(|address| SocketAddr::from((address.ip(), address.port())));
    ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::from((address.ip(), address.port()))))
}

fn local_address(socket: &OwnedFd) -> anyhow::Result<SocketAddr> {
    let own: SockaddrStorage =
        socket::getsockname(socket.as_raw_fd()).context("reading the socket's address")?;
    socket_address(&own).context("the socket has no address")
}

fn exchange(socket: &OwnedFd, attempt: Attempt) -> anyhow::Result<LiveOutcome> {
    let address = SockaddrStorage::from(attempt.destination);
    match socket::connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return outcome(errno),
    }
    let events = if attempt.protocol == Protocol::Tcp {
        PollFlags::POLLOUT
    } else {
        match socket::send(socket.as_raw_fd(), &datagram(attempt.destination.port()), MsgFlags::empty()) {
            Ok(_) => PollFlags::POLLIN,
            Err(errno) => return outcome(errno),
        }
    };
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    let ready = poll(&mut [PollFd::new(socket.as_fd(), events)], timeout).context("waiting for an answer")?;
    let error = getsockopt(socket, sockopt::SocketError).context("reading how it ended")?;
    match (ready, error) {
        (_, error) if error != 0 => outcome(Errno::from_raw(error)),
        (0, _) => Ok(LiveOutcome::Silence),
        _ => Ok(LiveOutcome::Answered),
    }
}

/// A question for the root's name servers, which every DNS server answers in some way; nothing for the others.
fn datagram(port: u16) -> Vec<u8> {
    if port == DNS_PORT { dns::lookup::query(".", "NS", 1).unwrap_or_default() } else { Vec::new() }
}

fn outcome(errno: Errno) -> anyhow::Result<LiveOutcome> {
    match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => Ok(LiveOutcome::Refused),
        // EPERM: dropped where a process of the node sends it.
        Errno::ETIMEDOUT | Errno::EPERM => Ok(LiveOutcome::Silence),
        Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EACCES => Ok(LiveOutcome::Unreachable),
        errno => Err(anyhow!(errno)).context("sending"),
    }
}
