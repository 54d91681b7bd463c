//! A real CoreDNS that serves one set: started anew for each, so that what it answers is known to be of that set.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::api::Api;
use super::objects::ObjectSet;
use super::profile::Profile;
use super::question::packet;
use super::upstream::Upstream;
use crate::companion::{Folder, end_with_us};

/// How long a start may take. It takes a third of a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may take before it is asked for again.
const ANSWER: Duration = Duration::from_secs(5);

/// A CoreDNS that does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a socket or the program.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It serves nothing in time.
    #[error("CoreDNS serves nothing within {PATIENCE:?}; its log:\n{0}")]
    Late(String),
}

/// The program. Dropping it ends it; so does the end of ours.
#[derive(Debug)]
pub struct CoreDns {
    child: Child,
    folder: Folder,
    address: SocketAddr,
    _api: Api,
}

impl CoreDns {
    /// Starts it with a set, and waits until it serves.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start(
        program: &Path,
        profile: &Profile,
        set: &ObjectSet,
        upstream: &Upstream,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Start { program: program.to_owned(), source };
        let started = Self::spawn(program, profile, set, upstream).map_err(failed)?;
        let until = Instant::now() + PATIENCE;
        let probe = packet("synced.default.svc.cluster.local", "A");
        while !ask_udp(started.address, &probe).is_ok_and(|answer| answer[3] & 15 != 2) {
            if Instant::now() > until {
                return Err(Error::Late(
                    fs::read_to_string(started.folder.path().join("log")).unwrap_or_default(),
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(started)
    }

    fn spawn(program: &Path, profile: &Profile, set: &ObjectSet, upstream: &Upstream) -> io::Result<Self> {
        let api = Api::serve(TcpListener::bind("127.0.0.1:0")?)?;
        api.replace(set.objects.iter().cloned());
        let folder = Folder::create("coredns")?;
        // Free for both protocols a moment ago; nobody here takes ports by number.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let corefile = folder.path().join("Corefile");
        fs::write(&corefile, profile.corefile(address.port(), api.address()?, upstream.address))?;
        let mut command = Command::new(program);
        let log = fs::File::create(folder.path().join("log"))?;
        command.arg("-conf").arg(corefile).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        end_with_us(&mut command);
        Ok(Self { child: command.spawn()?, folder, address, _api: api })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its version, as it prints it.
///
/// # Errors
/// It cannot be run.
pub fn version(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("-version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// A client that keeps its socket.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    socket: UdpSocket,
}

impl Client {
    /// Makes one.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn new(server: SocketAddr) -> io::Result<Self> {
        Ok(Self { server, socket: connected(server)? })
    }

    /// The answer in a datagram; if that was cut, the one over TCP, and true.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&self, query: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let datagram = exchange(&self.socket, query)?;
        if datagram.get(2).is_none_or(|flags| flags & 2 == 0) {
            return Ok((datagram, false));
        }
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut length = u16::try_from(query.len()).map_err(io::Error::other)?.to_be_bytes();
        stream.write_all(&[&length, query].concat())?;
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok((answer, true))
    }
}

/// Asks once over UDP.
///
/// # Errors
/// There is no answer.
pub fn ask_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    exchange(&connected(server)?, query)
}

fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.connect(server)?;
    Ok(socket)
}

fn exchange(socket: &UdpSocket, query: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(query)?;
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}
