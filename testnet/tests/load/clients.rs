//! Clients of every kind, and what they have to say at the end.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use testnet::cluster::probe::{self, Answer};
use testnet::cluster::{Cluster, Heard, Namespace, Pod};

use crate::lab::Valid;
use crate::objects::{DATAGRAMS, LONG, NODE_PORT, SHORT, through};

/// A lost packet is sent again after a second, or three: that is not the rules' fault. What takes longer is.
const PATIENCE: Duration = Duration::from_secs(8);

/// The first port of the UDP clients: each keeps its own.
const PORT: u16 = 40_000;

/// Long connections of each client.
const STANDING: usize = 3;

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    over: AtomicBool,
    valid: Valid,
    connections: AtomicU64,
    exchanges: AtomicU64,
    datagrams: AtomicU64,
    slowest: Mutex<Duration>,
    /// The longest, and how many answers of endpoints that had left came in it.
    hole: Mutex<(Duration, u32)>,
    faults: Mutex<Vec<String>>,
}

impl Load {
    /// From pods of both nodes, from a node itself, and from beyond the wire.
    pub(crate) fn start(cluster: &Cluster, valid: &Valid) -> Self {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            valid: Arc::clone(valid),
            connections: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            slowest: Mutex::default(),
            hole: Mutex::default(),
            faults: Mutex::default(),
        });
        let pod = |address: [u8; 4]| cluster.pod(address.into()).expect("a client").namespace().clone();
        let inside = [pod([10, 244, 1, 5]), pod([10, 244, 2, 5]), cluster.nodes()[0].namespace().clone()];
        let outside = cluster.outside([192, 0, 2, 1].into(), "worker-2").expect("a client");
        let node_port = SocketAddr::new(cluster.nodes()[1].facts().addresses[0], NODE_PORT);
        let mut load = Self { shared, threads: Vec::new() };
        load.spawn(outside.namespace(), move |shared| connect_again(shared, node_port));
        for (namespace, port) in inside.iter().zip(PORT..) {
            load.spawn(namespace, |shared| connect_again(shared, through(SHORT)));
            for _ in 0..STANDING {
                load.spawn(namespace, |shared| hold(shared, through(LONG)));
            }
            load.spawn(namespace, move |shared| ask_again(shared, port, through(DATAGRAMS)));
        }
        load
    }

    fn spawn(&mut self, namespace: &Namespace, work: impl FnOnce(&Shared) + Send + 'static) {
        let (shared, namespace) = (Arc::clone(&self.shared), namespace.clone());
        let inside = Arc::clone(&shared);
        self.threads.push(thread::spawn(move || {
            if let Err(error) = namespace.run(move || work(&inside)) {
                shared.fault(error.to_string());
            }
        }));
    }

    /// Ends the clients; fails with what went wrong for any of them. Returns the longest time that a UDP client was without
    /// an answer.
    pub(crate) fn finish(mut self, what: &str) -> Duration {
        self.end();
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let time = |time: &Mutex<Duration>| *time.lock().expect("a time");
        let hole = *shared.hole.lock().expect("a hole");
        let summary = format!(
            "{what}: {} connections (the slowest {:?}), {} exchanges on standing ones, {} datagrams answered, longest \
             hole {:?} ({} answers of endpoints that had left in it)",
            count(&shared.connections),
            time(&shared.slowest),
            count(&shared.exchanges),
            count(&shared.datagrams),
            hole.0,
            hole.1
        );
        let _ = writeln!(io::stderr(), "{summary}");
        let faults = std::mem::take(&mut *shared.faults.lock().expect("the faults"));
        assert!(faults.is_empty(), "{summary}\n{}", faults.join("\n"));
        assert!(
            count(&shared.connections) > 100 && count(&shared.exchanges) > 100,
            "idle clients: {summary}"
        );
        hole.0
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    fn fault(&self, fault: String) {
        self.faults.lock().expect("the faults").push(fault);
    }

    fn keep_hole(&self, time: Duration, late: u32) {
        let mut hole = self.hole.lock().expect("a hole");
        *hole = (time, late).max(*hole);
    }

    fn is_valid(&self, server: IpAddr) -> bool {
        self.valid.lock().expect("valid endpoints").contains(&server)
    }
}

fn keep_longest(longest: &Mutex<Duration>, time: Duration) {
    let mut longest = longest.lock().expect("a time");
    *longest = time.max(*longest);
}

/// One connection after the other.
fn connect_again(shared: &Shared, to: SocketAddr) {
    while shared.goes_on() {
        let begun = Instant::now();
        match probe::tcp(to, PATIENCE) {
            Answer::Heard(_) => drop(shared.connections.fetch_add(1, Ordering::Relaxed)),
            answer => shared.fault(format!("a connection to {to}: {answer:?} after {:?}", begun.elapsed())),
        }
        keep_longest(&shared.slowest, begun.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
}

/// One connection, on which something is said all the time.
fn hold(shared: &Shared, to: SocketAddr) {
    let talk = || -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        for number in 0u32.. {
            if !shared.goes_on() {
                break;
            }
            stream.write_all(&number.to_be_bytes())?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            if answer != number.to_be_bytes() {
                return Err(io::Error::other("another answer than the one that belongs here"));
            }
            shared.exchanges.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    if let Err(error) = talk() {
        shared.fault(format!("a standing connection to {to}: {error}"));
    }
}

/// Datagrams from one port: to the kernel one flow.
fn ask_again(shared: &Shared, port: u16, to: SocketAddr) {
    let talk = || -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (mut last, mut late) = (Instant::now(), 0);
        while shared.goes_on() {
            // A refusal is an answer that does not count.
            let _ = socket.send(b"?");
            let mut answer = [0; 512];
            if let Ok(length) = socket.recv(&mut answer) {
                let heard = Heard::parse(&String::from_utf8_lossy(&answer[..length]));
                if heard.is_some_and(|heard| shared.is_valid(heard.server.ip())) {
                    shared.datagrams.fetch_add(1, Ordering::Relaxed);
                    shared.keep_hole(last.elapsed(), late);
                    (last, late) = (Instant::now(), 0);
                } else {
                    late += 1;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        shared.keep_hole(last.elapsed(), late);
        Ok(())
    };
    if let Err(error) = talk() {
        shared.fault(format!("datagrams to {to}: {error}"));
    }
}

/// Says back what it hears, on as many connections as come, until the process ends.
pub(crate) fn serve_long(pod: &Pod, port: u16) {
    let address = SocketAddr::new(pod.address(), port);
    let listener = pod.run(move || TcpListener::bind(address)).expect("a pod").expect("a listener");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(echo(stream)));
        }
    });
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = [0; 64];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            length => stream.write_all(&block[..length])?,
        }
    }
}
