//! One program takes another's place on the same addresses, while clients never stop asking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dns::{KUBE_DNS, SERVICE, WEB, kubeadm};
use crate::program::{Program, query};
use crate::site::{ADDRESS, Node, alone, eventually};

/// How often the program is replaced.
const TIMES: usize = 3;
/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a program says when it answers.
const ANSWERS: &str = "all names of the cluster are known";

/// Asks one query of a server.
pub(crate) type Ask = fn(SocketAddr) -> Result<Vec<u8>, String>;

/// Clients that ask one query after the other, each from a port of its own.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    /// Starts some, in the namespace of this thread.
    pub(crate) fn start(server: SocketAddr, over: &[Ask]) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let client = |ask: Ask| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match ask(server) {
                        Ok(answer) if answer[3] & 15 == 0 && answer[7] == 1 => {}
                        Ok(answer) => lost.push(format!("answered with code {}", answer[3] & 15)),
                        Err(error) => lost.push(error),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                lost
            })
        };
        let threads = over.iter().map(|ask| client(*ask)).collect();
        Self { stop, asked, threads }
    }

    /// Waits until so many more were asked.
    pub(crate) fn go_on(&self, number: u32) {
        let before = self.asked.load(Ordering::Relaxed);
        eventually("the clients go on", || self.asked.load(Ordering::Relaxed) - before >= number);
    }

    /// Ends them; no more of their queries may have been lost.
    pub(crate) fn have_lost_at_most(self, allowed: usize) {
        self.stop.store(true, Ordering::Relaxed);
        let lost: Vec<_> = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let (asked, first) = (self.asked.load(Ordering::Relaxed), &lost[..lost.len().min(9)]);
        assert!(lost.len() <= allowed, "{} of {asked} lost: {first:?}", lost.len());
    }
}

pub(crate) fn over_udp(server: SocketAddr) -> Result<Vec<u8>, String> {
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        socket.send(&query(WEB))?;
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    ask().map_err(|error: std::io::Error| format!("UDP: {error}"))
}

/// A connection that a closing listener had not accepted is broken off, and made again, as every resolver does.
pub(crate) fn over_tcp(server: SocketAddr) -> Result<Vec<u8>, String> {
    let ask = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let query = query(WEB);
        stream.write_all(&[&[0, query.len() as u8], &query[..]].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().or_else(|_: std::io::Error| ask()).map_err(|error| format!("TCP: {error}"))
}

/// A program that answers.
pub(crate) fn start(node: &Node, words: &[&str]) -> Program {
    let program = Program::start(node, words);
    eventually("it answers", || program.log().contains(ANSWERS));
    program
}

pub(crate) fn a_program_takes_over_without_a_lost_query() {
    alone(|node| {
        node.apply(SERVICE);
        let words = ["dns", "-conf", &node.cluster.file("Corefile", &kubeadm())];
        let mut program = start(node, &words);
        let clients = Clients::start(server(ADDRESS), &[over_udp, over_udp, over_tcp]);
        for _ in 0..TIMES {
            clients.go_on(200);
            let next = start(node, &words);
            clients.go_on(200);
            assert_eq!(std::mem::replace(&mut program, next).stop(), 0);
        }
        clients.go_on(200);
        clients.have_lost_at_most(0);
    });
}

/// With the cluster's DNS address on loopback, which the old agent leaves to the new one.
pub(crate) fn an_agent_takes_over_without_a_lost_query() {
    alone(|node| {
        node.apply(SERVICE);
        node.apply(KUBE_DNS);
        let words = ["agent", "--node-name=worker-1"];
        let mut program = start(node, &words);
        for address in [ADDRESS, "10.96.0.10"] {
            let clients = Clients::start(server(address), &[over_udp, over_udp, over_tcp]);
            let next = start(node, &words);
            clients.go_on(200);
            assert_eq!(std::mem::replace(&mut program, next).stop(), 0);
            clients.go_on(200);
            clients.have_lost_at_most(0);
        }
    });
}

/// The kernel takes a killed program's sockets away: only what was in them is lost.
pub(crate) fn a_killed_program_loses_only_what_it_had_received() {
    alone(|node| {
        node.apply(SERVICE);
        let words = ["dns", "-conf", &node.cluster.file("Corefile", &kubeadm())];
        let mut program = start(node, &words);
        let clients = Clients::start(server(ADDRESS), &[over_udp, over_udp, over_udp]);
        for _ in 0..TIMES {
            let next = start(node, &words);
            clients.go_on(200);
            drop(std::mem::replace(&mut program, next));
            clients.go_on(200);
        }
        // Each client waits for one answer at a time.
        clients.have_lost_at_most(3 * TIMES);
    });
}

pub(crate) fn server(address: &str) -> SocketAddr {
    format!("{address}:53").parse().unwrap()
}
