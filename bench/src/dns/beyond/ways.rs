//! The ways to answer a pod that are compared, each from its start to its end.

use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
use dataplane::reconcile::Reconciler;
use dns::datagrams::Batch;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use services::Model;

use super::assembler::Instruction;
use super::bpf::{self, Hook};
use super::client::Expect;
use super::clocks;
use super::ready;
use super::responders::{Back, Deed, program};
use super::site::{self, DNS, Site};
use super::system;
use super::xdp_socket::XdpSocket;
use crate::dns::servers::{SERVER_CORE, stay_on};

/// Port of the echoes; our own server has 53.
const ECHO_PORT: u16 = 5300;
/// How often a thread that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);
/// How long a busy poll looks at a queue, in microseconds, and for how many packets.
const POLL_US: i32 = 200;
const POLL_BUDGET: i32 = 16;

/// A way to answer.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) expect: Expect,
    /// Whether it is asked for names that are not there.
    pub(super) unknown: bool,
    start: Start,
}

type Start = fn(&mut Running<'_>) -> Result<()>;

const fn echo(name: &'static str, start: Start) -> Way {
    Way { name, port: ECHO_PORT, expect: Expect::Echo, unknown: false, start }
}

const fn answers(name: &'static str, unknown: bool, start: Start) -> Way {
    Way { name, port: 53, expect: Expect::Answer, unknown, start }
}

/// All of them; the first is what the others are compared with.
pub(super) const WAYS: [Way; 18] = [
    echo("echo, a socket", |running| running.echo(Waiting::Sleep)),
    answers("sluice, a socket", false, |_| Ok(())),
    answers("the same, behind the node's rules", false, |running| running.rules()),
    answers("the same, NXDOMAIN", true, |_| Ok(())),
    echo("echo that spins on its socket", |running| running.echo(Waiting::Spin)),
    echo("echo, SO_BUSY_POLL", |running| running.echo(Waiting::BusyPoll)),
    echo("echo, veth with NAPI", |running| {
        running.pass_on_node()?;
        running.echo(Waiting::Sleep)
    }),
    echo("echo, veth with NAPI, SO_BUSY_POLL", |running| {
        running.pass_on_node()?;
        running.echo(Waiting::BusyPoll)
    }),
    echo("XDP, echo, XDP_TX", |running| running.respond(Hook::Xdp, false, Back::Transmit)),
    answers("XDP, a map of answers, XDP_TX", false, |running| {
        running.respond(Hook::Xdp, true, Back::Transmit)
    }),
    answers("XDP, a map of answers, redirect", false, |running| {
        running.respond(Hook::Xdp, true, Back::Redirect(running.site.interface))
    }),
    answers("XDP map that has not the answer, then sluice; NXDOMAIN", true, |running| {
        running.respond(Hook::Xdp, true, Back::Transmit)
    }),
    echo("tc, echo, redirect", |running| {
        running.respond(Hook::Tc, false, Back::Redirect(running.site.interface))
    }),
    answers("tc, a map of answers, redirect", false, |running| {
        running.respond(Hook::Tc, true, Back::Redirect(running.site.interface))
    }),
    answers("tc, a map of answers, redirect_peer", false, |running| {
        running.respond(Hook::Tc, true, Back::RedirectPeer(running.site.interface))
    }),
    answers("tc map that has not the answer, then sluice; NXDOMAIN", true, |running| {
        running.respond(Hook::Tc, true, Back::RedirectPeer(running.site.interface))
    }),
    echo("AF_XDP (copy), echo that waits", |running| running.divert(Waiting::Sleep)),
    echo("AF_XDP (copy), echo that spins", |running| running.divert(Waiting::Spin)),
];

/// What a server does while there are no queries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Sleep,
    Spin,
    BusyPoll,
}

/// What answers until it is dropped.
pub(super) struct Running<'s> {
    name: &'static str,
    site: &'s Site,
    stop: Arc<AtomicBool>,
    socket: Option<Arc<UdpSocket>>,
    threads: Vec<JoinHandle<()>>,
    /// Programs on interfaces.
    links: Vec<OwnedFd>,
    napi_in_pod: bool,
    /// Who owns the rules.
    reconciler: Option<Reconciler>,
    has_rules: bool,
}

impl Way {
    /// Begins to answer.
    pub(super) fn start<'s>(&self, site: &'s Site) -> Result<Running<'s>> {
        let mut running = Running {
            name: self.name,
            site,
            stop: Arc::default(),
            socket: None,
            threads: Vec::new(),
            links: Vec::new(),
            napi_in_pod: false,
            reconciler: None,
            has_rules: false,
        };
        (self.start)(&mut running)?;
        Ok(running)
    }
}

impl Running<'_> {
    /// The NAPI that an echo's packets came from: what a busy poll would look at. 0 is none.
    pub(super) fn napi(&self) -> Option<i32> {
        system::get(self.socket.as_ref()?.as_fd(), system::NAPI_ID).ok()
    }

    fn echo(&mut self, waiting: Waiting) -> Result<()> {
        let socket = self.site.on_node(move || -> Result<UdpSocket> {
            let socket = UdpSocket::bind(Site::address(ECHO_PORT))?;
            setsockopt(&socket, RcvBuf, &(1 << 20))?;
            socket.set_read_timeout(Some(LOOK))?;
            if waiting == Waiting::BusyPoll {
                busy_poll(&socket).context("busy polling")?;
            }
            Ok(socket)
        })??;
        let socket = Arc::new(socket);
        self.socket = Some(Arc::clone(&socket));
        let stop = Arc::clone(&self.stop);
        self.spawn(move || {
            let mut batch = Batch::new();
            while !stop.load(Ordering::Relaxed) {
                if batch.receive(socket.as_fd(), waiting != Waiting::Spin).is_ok() {
                    batch.answer_each(|query, room| {
                        room[..query.len()].copy_from_slice(query);
                        query.len()
                    });
                    batch.send(socket.as_fd());
                }
            }
        })
    }

    /// A program that answers by itself: with the question, or from a map.
    fn respond(&mut self, hook: Hook, from_map: bool, back: Back) -> Result<()> {
        let port = if from_map { 53 } else { ECHO_PORT };
        let map = if from_map { Some(ready::map(&self.site.known)?) } else { None };
        let deed = map.as_ref().map_or(Deed::Echo, |map| Deed::Answer(map.as_fd()));
        self.attach(hook, deed, back, port)
    }

    fn divert(&mut self, waiting: Waiting) -> Result<()> {
        let map = bpf::map(bpf::Kind::XdpSockets, 4, 4, 1)?;
        self.attach(Hook::Xdp, Deed::Divert(map.as_fd()), Back::Transmit, ECHO_PORT)?;
        let interface = self.site.interface;
        let mut socket = self.site.on_node(move || XdpSocket::open(interface))??;
        let number = std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd());
        bpf::put(map.as_fd(), &0_u32.to_ne_bytes(), &number.to_ne_bytes())?;
        let stop = Arc::clone(&self.stop);
        self.spawn(move || {
            let _map = map;
            while !stop.load(Ordering::Relaxed) {
                if socket.echo() == 0 && waiting == Waiting::Sleep {
                    socket.wait(LOOK);
                }
            }
        })
    }

    fn attach(&mut self, hook: Hook, deed: Deed<'_>, back: Back, port: u16) -> Result<()> {
        let program = bpf::load(hook, &program(hook, Site::address(port), deed, back))?;
        match (hook, back) {
            (Hook::Xdp, Back::Transmit) => self.pass_in_pod()?,
            (Hook::Xdp, _) => {
                self.napi_in_pod = true;
                self.site.set_napi_in_pod(true)?;
            }
            (Hook::Tc, _) => {}
        }
        let interface = self.site.interface;
        self.links.push(self.site.on_node(move || bpf::attach(hook, program.as_fd(), interface))??);
        Ok(())
    }

    fn pass_in_pod(&mut self) -> Result<()> {
        let pass = bpf::load(Hook::Xdp, &passing())?;
        let attach = || {
            let interface = if_nametoindex(site::IN_POD).context("the pod's own interface")?;
            bpf::attach(Hook::Xdp, pass.as_fd(), interface)
        };
        self.links.push(self.site.in_pod(attach)??);
        Ok(())
    }

    /// A program that lets everything pass makes the driver receive by NAPI.
    fn pass_on_node(&mut self) -> Result<()> {
        let pass = bpf::load(Hook::Xdp, &passing())?;
        let interface = self.site.interface;
        self.links.push(self.site.on_node(move || bpf::attach(Hook::Xdp, pass.as_fd(), interface))??);
        Ok(())
    }

    /// What the agent programs for a node that answers DNS itself, without other Services.
    fn rules(&mut self) -> Result<()> {
        self.has_rules = true;
        self.site.on_node(|| -> Result<()> {
            let facts = NodeFacts::new("worker-1", ["10.96.0.0/12".parse()?]).answering_dns(DNS.into());
            let (mut model, mut table) = (Model::new(), ForwardingTable::new(facts));
            let touched = table.update(&model.snapshot(), &model.take_changes());
            self.reconciler.insert(Reconciler::open()?).sync(&table, &touched)?;
            Ok(())
        })?
    }

    /// Starts a server's thread in the node's namespace, on the servers' core.
    fn spawn(&mut self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = self.site.on_node(move || {
            stay_on(SERVER_CORE);
            std::thread::Builder::new().name(clocks::SERVER.into()).spawn(work)
        })?;
        self.threads.push(thread?);
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.links.clear();
        let pod = if self.napi_in_pod { self.site.set_napi_in_pod(false) } else { Ok(()) };
        self.reconciler = None;
        let rules = if self.has_rules { self.site.clear_rules() } else { Ok(()) };
        if let Err(error) = pod.and(rules) {
            println!("what follows is measured with something of \"{}\" left: {error:#}", self.name);
        }
    }
}

/// The program that lets everything pass.
fn passing() -> Vec<Instruction> {
    program(Hook::Xdp, Site::address(ECHO_PORT), Deed::Pass, Back::Transmit)
}

fn busy_poll(socket: &UdpSocket) -> std::io::Result<()> {
    system::set(socket.as_fd(), system::BUSY_POLL, POLL_US)?;
    system::set(socket.as_fd(), system::PREFER_BUSY_POLL, 1)?;
    system::set(socket.as_fd(), system::BUSY_POLL_BUDGET, POLL_BUDGET)
}
