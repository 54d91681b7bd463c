//! The real etcd and kube-apiserver on loopback: for what must hold with the API that clusters have, not only with our own.
//!
//! [`Store::start`] starts etcd and can be filled; [`Store::serve`] starts the API server on it, with RBAC, tokens and
//! nothing else (no controllers, no admission beyond its defaults). All files lie in memory where there is a `/dev/shm`, nothing is
//! ever flushed to a disk, ports are free ones, and everything ends with the value, or with our process.
//!
//! Whether the API server is ready is for its clients to find out: this speaks no TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use serde_json::json;

use crate::companion::{Folder, end_with_us};

/// How long etcd may take to listen; it takes tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects of one transaction at most, and bytes of one request.
const LIMITS: [&str; 4] = ["--max-txn-ops", "10000", "--max-request-bytes", "33554432"];
/// Addresses of Services.
const SERVICES: &str = "10.96.0.0/16";

/// A program that does not run as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a port for it.
    #[error("cannot prepare the API's programs")]
    Prepare(#[source] io::Error),
    /// The key that signs tokens of ServiceAccounts.
    #[error("cannot make a key for ServiceAccounts")]
    Key(#[source] rcgen::Error),
    /// Its start.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// etcd does not listen, or does not take objects.
    #[error("etcd does not answer as it should: {0}")]
    Store(String),
}

/// Where they are: `SLUICE_PEERS`, or `target/peers`.
#[must_use]
pub fn folder() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    std::env::var_os("SLUICE_PEERS").map_or_else(usual, PathBuf::from)
}

/// etcd, empty at its start.
#[derive(Debug)]
pub struct Store {
    /// Ends before the folder goes.
    _etcd: Running,
    address: SocketAddrV4,
    programs: PathBuf,
    folder: Folder,
}

/// The API server with its store.
#[derive(Debug)]
pub struct ControlPlane {
    /// Ends before its store; none between two of them.
    apiserver: Option<Running>,
    store: Store,
    /// Its flags beside the usual ones.
    flags: Vec<String>,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Of an administrator.
    pub kubeconfig: PathBuf,
}

impl Store {
    /// Starts `programs/etcd`.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub fn start(programs: &Path) -> Result<Self, Error> {
        let folder = Folder::create("peers").map_err(Error::Prepare)?;
        let [address, peers] = free_ports().map_err(Error::Prepare)?;
        let url = format!("http://{address}");
        let mut command = Command::new(programs.join("etcd"));
        command.arg("--data-dir").arg(folder.path().join("etcd")).args([
            "--unsafe-no-fsync",
            "--log-level",
            "error",
        ]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &format!("http://{peers}")]).args(LIMITS);
        let etcd = Running::start(command, &folder.path().join("etcd.log"))?;
        let store = Self { _etcd: etcd, address, programs: programs.to_owned(), folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                return Err(Error::Store(format!("it does not listen within {PATIENCE:?}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(store)
    }

    /// Asks etcd's JSON gateway, which `body` is for (`/v3/kv/txn` and the like).
    ///
    /// # Errors
    /// When etcd refuses.
    pub fn post(&self, path: &str, body: &str) -> Result<String, Error> {
        let answer = self.exchange(path, body).map_err(|error| Error::Store(error.to_string()))?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
            _ => Err(Error::Store(answer)),
        }
    }

    fn exchange(&self, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Starts `kube-apiserver` on it.
    ///
    /// # Errors
    /// When it cannot be started. Whether it works is for a client to see.
    pub fn serve(self) -> Result<ControlPlane, Error> {
        self.serve_with(&[])
    }

    /// The same, with further flags.
    ///
    /// # Errors
    /// As [`Store::serve`].
    pub fn serve_with(self, flags: &[&str]) -> Result<ControlPlane, Error> {
        let [address, _] = free_ports().map_err(Error::Prepare)?;
        let kubeconfig = write_access(self.folder.path(), address)?;
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let apiserver = Some(self.start_server(address, &flags)?);
        Ok(ControlPlane { apiserver, store: self, flags, address, kubeconfig })
    }

    fn start_server(&self, address: SocketAddrV4, flags: &[String]) -> Result<Running, Error> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(self.programs.join("kube-apiserver"));
        command.args([
            "--etcd-servers",
            &format!("http://{}", self.address),
            "--bind-address",
            &address.ip().to_string(),
        ]);
        command.args(["--secure-port", &address.port().to_string(), "--advertise-address", "10.0.0.254"]);
        command.args(["--service-cluster-ip-range", SERVICES, "--cert-dir", &file("certificates")]);
        command.args(["--service-account-issuer", "https://kubernetes.default"]);
        command.args(["--service-account-key-file", &file("accounts.pub")]);
        command.args(["--service-account-signing-key-file", &file("accounts.key")]);
        command.args(["--token-auth-file", &file("tokens.csv"), "--authorization-mode", "RBAC"]);
        command.args(["--endpoint-reconciler-type", "none", "--allow-privileged"]).args(flags);
        Running::start(command, &self.folder.path().join("apiserver.log"))
    }
}

impl ControlPlane {
    /// Ends the API server and starts another one in its place. What is written into the store between them no watch ever
    /// tells: the new server begins with what it finds, so whoever watched the old one has to list again (410 Gone).
    ///
    /// # Errors
    /// When it cannot be started, or as `meanwhile` says.
    pub fn restart<E: From<Error>>(
        &mut self,
        meanwhile: impl FnOnce(&Store) -> Result<(), E>,
    ) -> Result<(), E> {
        self.apiserver = None;
        meanwhile(&self.store)?;
        self.apiserver = Some(self.store.start_server(self.address, &self.flags)?);
        Ok(())
    }

    /// A kubeconfig of somebody else, by a token.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> io::Result<PathBuf> {
        write_kubeconfig(&self.store.folder.path().join(name), self.address, token)
    }

    /// The end of the API server's log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.store.folder.path().join("apiserver.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Keys, the administrator's token and kubeconfig.
fn write_access(folder: &Path, address: SocketAddrV4) -> Result<PathBuf, Error> {
    let key = KeyPair::generate().map_err(Error::Key)?;
    // Good for as long as this API runs, on loopback.
    let token = format!("administrator-{}-{}", std::process::id(), address.port());
    let write = || {
        fs::write(folder.join("accounts.key"), key.serialize_pem())?;
        fs::write(folder.join("accounts.pub"), key.public_key_pem())?;
        fs::write(folder.join("tokens.csv"), format!("{token},administrator,1,\"system:masters\"\n"))?;
        write_kubeconfig(&folder.join("kubeconfig"), address, &token)
    };
    write().map_err(Error::Prepare)
}

fn write_kubeconfig(path: &Path, address: SocketAddrV4, token: &str) -> io::Result<PathBuf> {
    let cluster = json!({"server": format!("https://{address}"), "insecure-skip-tls-verify": true});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "peer",
        "clusters": [{"name": "peer", "cluster": cluster}],
        "users": [{"name": "peer", "user": {"token": token}}],
        "contexts": [{"name": "peer", "context": {"cluster": "peer", "user": "peer"}}],
    });
    fs::write(path, config.to_string())?;
    Ok(path.to_owned())
}

/// Two ports of loopback that nobody listens on now.
fn free_ports() -> io::Result<[SocketAddrV4; 2]> {
    let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut addresses = [SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0); 2];
    for (address, listener) in addresses.iter_mut().zip(held) {
        if let SocketAddr::V4(bound) = listener?.local_addr()? {
            *address = bound;
        }
    }
    Ok(addresses)
}

/// A program; killed with the value.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn start(mut command: Command, log: &Path) -> Result<Self, Error> {
        let output = fs::File::create(log).map_err(Error::Prepare)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        end_with_us(&mut command);
        let program = PathBuf::from(command.get_program());
        command.spawn().map(Self).map_err(|source| Error::Start { program, source })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
