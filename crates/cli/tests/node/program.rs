//! A running `sluice`, and clients that ask it.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cluster::Run;
use crate::site::Node;

/// A running program. Ends with this value.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) rcode: u8,
    /// Lifetime and address of the first record of type A.
    pub(crate) first: Option<(u32, [u8; 4])>,
}

/// `sluice` with these words, as who may do everything.
fn command(kubeconfig: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(words).env("KUBECONFIG", kubeconfig).env_remove("SLUICE_LOG");
    command
}

/// Runs a program that ends by itself.
pub(crate) fn run(node: &Node, words: &[&str]) -> Run {
    crate::cluster::run(command(&node.cluster.kubeconfig, words), "")
}

impl Program {
    /// Starts `sluice` with these words.
    pub(crate) fn start(node: &Node, words: &[&str]) -> Self {
        Self::start_with(&node.cluster.kubeconfig, words)
    }

    /// The same from a namespace that the API is not in.
    pub(crate) fn start_with(kubeconfig: &Path, words: &[&str]) -> Self {
        Self::spawn(command(kubeconfig, words))
    }

    /// Starts a command.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let keep = |stream: Box<dyn Read + Send>| {
            let kept = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    *kept.lock().unwrap() += &(line + "\n");
                }
            });
        };
        keep(Box::new(child.stdout.take().unwrap()));
        keep(Box::new(child.stderr.take().unwrap()));
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit code, if it ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().and_then(|status| status.code())
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> i32 {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// A query for the IPv4 addresses of a name.
pub(crate) fn query(name: &str) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

/// Asks for the IPv4 addresses of a name; `None` when nobody answers.
pub(crate) fn ask(server: &str, name: &str) -> Option<Said> {
    let packet = query(name);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(server).unwrap();
    socket.send(&packet).ok()?;
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).ok()?;
    let answer = &answer[..length];
    // Behind the question: a pointer, type, class, lifetime, length, address.
    let record = answer.get(packet.len()..packet.len() + 16).filter(|_| answer[7] > 0);
    let first = record.map(|record| {
        (u32::from_be_bytes(record[6..10].try_into().unwrap()), record[12..16].try_into().unwrap())
    });
    Some(Said { rcode: answer[3] & 0x0f, first })
}
