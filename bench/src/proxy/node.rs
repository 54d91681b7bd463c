//! The node that a candidate runs on: a network namespace with a few local addresses where servers tell which they are,
//! and a relay to the API.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testnet::cluster::Namespace;

use super::api::Api;

/// Port of the servers.
pub(super) const PROBE_PORT: u16 = 9898;
/// Longest wait for a change to take effect.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that takes longer was dropped: the next one asks anew.
const ATTEMPT: Duration = Duration::from_millis(2);

/// So many connections in a row without an answer mean that nobody answers any more.
const SILENCES: u32 = 5;

/// How long a change took to be seen; nothing when it was not within [`PATIENCE`].
pub(super) type Sample = Option<Duration>;

/// Tells when what it waits for was seen.
type Watch = thread::JoinHandle<Option<Instant>>;

/// A node; gone with the value.
pub(super) struct Node {
    pub(super) namespace: Namespace,
}

impl Node {
    pub(super) fn create(api: SocketAddrV4) -> Result<Self> {
        let namespace = Namespace::create("the bench's node")?;
        let node = Self { namespace };
        node.ip("link set lo up")?;
        for host in 1..=3 {
            node.ip(&format!("address add 10.200.0.{host}/32 dev lo"))?;
            node.serve(host)?;
        }
        // What a process sends needs a route before it is translated.
        node.ip("route add default dev lo")?;
        node.relay(api)?;
        Ok(node)
    }

    fn ip(&self, words: &str) -> Result<()> {
        let list: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let status = self.namespace.run(move || Command::new("ip").args(list).status())??;
        ensure!(status.success(), "`ip {words}` failed");
        Ok(())
    }

    /// A server that says the last number of its address.
    fn serve(&self, host: u8) -> Result<()> {
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 200, 0, host), PROBE_PORT);
        let listener = self.namespace.run(move || TcpListener::bind(address))??;
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(&[host]);
            }
        });
        Ok(())
    }

    /// Makes the API's address answer in the namespace too: a socket that was made there accepts, connections are made
    /// here.
    fn relay(&self, address: SocketAddrV4) -> Result<()> {
        let listener = self.namespace.run(move || TcpListener::bind(address))??;
        thread::spawn(move || {
            for inside in listener.incoming().flatten() {
                if let Ok(outside) = TcpStream::connect(address) {
                    join(inside, outside);
                }
            }
        });
        Ok(())
    }

    /// Moves the probe's endpoint; until a connection reaches the new one.
    pub(super) fn replaced(&self, api: &Api, turn: u32) -> Result<Sample> {
        let endpoint = if turn.is_multiple_of(2) { 2 } else { 3 };
        let reached = self.watch(200, Some(endpoint));
        let start = Instant::now();
        api.move_probe(endpoint)?;
        finish(reached, start)
    }

    /// Adds a Service, until a connection reaches its endpoint, and removes it, until none does. In the middle, how long
    /// the API took to answer the calls that add it.
    pub(super) fn added_and_removed(&self, api: &Api, turn: u32) -> Result<[Sample; 3]> {
        let host = 201 + u8::try_from(turn % 40)?;
        let name = format!("added-{host}");
        let reached = self.watch(host, Some(1));
        let start = Instant::now();
        api.create_probe(&name, host, 1)?;
        let called = Some(start.elapsed());
        let added = finish(reached, start)?;
        let gone = self.watch(host, None);
        let start = Instant::now();
        api.delete_service(&name)?;
        let removed = if added.is_some() { finish(gone, start)? } else { None };
        api.delete_slice(&name)?;
        Ok([added, called, removed])
    }

    /// Connects to 10.96.0.`vip` again and again until `endpoint` answers, or nobody does any more; tells when.
    fn watch(&self, vip: u8, endpoint: Option<u8>) -> Watch {
        let address = SocketAddr::from((Ipv4Addr::new(10, 96, 0, vip), 80));
        let namespace = self.namespace.clone();
        thread::spawn(move || {
            let watched = namespace.run(move || {
                let (start, mut since, mut seen) = (Instant::now(), None, 0);
                while start.elapsed() < PATIENCE {
                    if ask(address) == endpoint {
                        since = since.or_else(|| Some(Instant::now()));
                        seen += 1;
                        // A lost packet alone means nothing.
                        if endpoint.is_some() || seen >= SILENCES {
                            return since;
                        }
                    } else {
                        (since, seen) = (None, 0);
                    }
                    thread::sleep(Duration::from_micros(200));
                }
                None
            });
            watched.ok().flatten()
        })
    }

    /// One HTTP request inside of the namespace; `None` while nobody answers.
    pub(super) fn get(&self, port: u16, path: &'static str) -> Option<String> {
        let asked = self.namespace.run(move || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            io::Result::Ok(answer)
        });
        asked.ok()?.ok()
    }
}

fn finish(watch: Watch, start: Instant) -> Result<Sample> {
    let seen = watch.join().map_err(|_| anyhow::anyhow!("the prober panicked"))?;
    Ok(seen.map(|at| at.duration_since(start)))
}

/// Which endpoint answers.
fn ask(address: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

fn join(inside: TcpStream, outside: TcpStream) {
    let pairs = [(inside.try_clone(), outside.try_clone()), (Ok(outside), Ok(inside))];
    for pair in pairs {
        let (Ok(mut from), Ok(mut to)) = pair else { return };
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
