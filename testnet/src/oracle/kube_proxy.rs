//! A real kube-proxy in the node's namespace, given one set of objects after another.
//!
//! Beside each set it gets a Service of our own whose port is the set's number and whose endpoint's port is too. Events
//! of one kind come in order, so when that Service is served in both families, so is the set: no time is waited for.
//! A second endpoint is hinted for another zone; it is left alone once kube-proxy knows the node's zone. That comes as a
//! change, because a zone that the node has when kube-proxy starts may be missed for good: the event that tells it can be
//! delivered before anybody listens (1.37, `NodeTopologyConfig`).

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use services::Protocol;

use super::answer::{Fate, Seen};
use super::api::Api;
use super::node::{Node, Way};
use super::objects::ObjectSet;
use super::question::{Destination, Sender};
use super::site::Site;
use crate::companion::{Folder, end_with_us};

/// How long a set may take. A start takes about a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long after a change of the Node a set is believed to be served.
const SETTLING: Duration = Duration::from_millis(500);

/// Addresses of the Service that tells when a set is served, of its endpoint and of the one in another zone.
const SENTINEL: [(&str, &str, &str); 2] = [
    ("10.96.255.254", "10.244.2.250", "10.244.2.251"),
    ("fd00:10:96::ffe", "fd00:10:244:2::ffe", "fd00:10:244:2::fff"),
];

/// Packets that must all go to the one endpoint.
const CERTAINTY: usize = 12;

/// A kube-proxy that does not run, or does not keep up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its start.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The node's namespace.
    #[error("kube-proxy needs the node's namespace")]
    Namespace(#[from] crate::cluster::Error),
    /// A packet could not be sent.
    #[error("cannot ask whether kube-proxy is ready")]
    Ask(#[source] io::Error),
    /// A set was not served in time.
    #[error("kube-proxy does not serve a set within {PATIENCE:?}; the end of its log:\n{0}")]
    Late(String),
}

/// The program. Dropping it ends it; so does the end of ours.
#[derive(Debug)]
pub struct KubeProxy {
    api: Api,
    /// The Node object as it was told last.
    own: Option<Value>,
    generation: u16,
    folder: Folder,
    process: Pid,
    waiting: Option<JoinHandle<()>>,
}

impl KubeProxy {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started. Whether it works is seen at the first set.
    pub fn start(program: &Path, node: &Node) -> Result<Self, Error> {
        let failed = |source| Error::Start { program: program.to_owned(), source };
        let listener = node.namespace().run(|| TcpListener::bind("127.0.0.1:0"))?.map_err(failed)?;
        let api = Api::serve(listener).map_err(failed)?;
        let folder = Folder::create("kube-proxy").map_err(failed)?;
        let address = api.address().map_err(failed)?;
        let command = command(program, node.site(), folder.path(), address).map_err(failed)?;
        let mut objects = node.site().objects();
        objects[0]["metadata"]["labels"] = json!({});
        api.replace(objects);
        let (process, waiting) = spawn(node, command).map_err(failed)?;
        Ok(Self { api, own: None, generation: 1023, folder, process, waiting: Some(waiting) })
    }

    /// Gives it a set in place of the one before, and waits until that is served.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn load(&mut self, node: &mut Node, set: &ObjectSet) -> Result<(), Error> {
        let mut objects = node.site().objects();
        objects.extend(set.objects.iter().cloned());
        self.load_objects(node, objects)
    }

    /// The same with all objects, a Node and ServiceCIDRs among them.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn load_objects(&mut self, node: &mut Node, mut objects: Vec<Value>) -> Result<(), Error> {
        self.generation += 1;
        let name = node.site().name();
        let own =
            objects.iter().find(|object| object["kind"] == "Node" && object["metadata"]["name"] == name);
        let zone = own.and_then(|own| own["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str());
        let sentinel = sentinel(self.generation, zone);
        let own = own.cloned();
        let settles = std::mem::replace(&mut self.own, own) != self.own;
        objects.extend(sentinel);
        self.api.replace(objects);
        let until = Instant::now() + PATIENCE;
        for (address, endpoint, _) in SENTINEL {
            // Without an address of the family the node can masquerade nothing, and loses what it should.
            let ipv6 = address.contains(':');
            if !node.site().addresses.iter().any(|own| own.addr().is_ipv6() == ipv6) {
                continue;
            }
            while !served(node, self.generation, address, endpoint)? {
                if Instant::now() > until {
                    return Err(Error::Late(self.log()));
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        if settles {
            // A zone that is gone cannot be seen at the sentinel.
            thread::sleep(SETTLING);
        }
        Ok(())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        if let Some(thread) = self.waiting.take() {
            let _ = thread.join();
        }
    }
}

/// Its version, as it prints it.
///
/// # Errors
/// It cannot be run.
pub fn version(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn command(program: &Path, site: &Site, folder: &Path, api: SocketAddr) -> io::Result<Command> {
    let kubeconfig = folder.join("kubeconfig");
    let access = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "api",
        "clusters": [{"name": "api", "cluster": {"server": format!("http://{api}")}}],
        "contexts": [{"name": "api", "context": {"cluster": "api", "user": ""}}],
    });
    fs::write(&kubeconfig, access.to_string())?;
    let configuration = folder.join("configuration");
    fs::write(&configuration, site.configuration(&kubeconfig.to_string_lossy()).to_string())?;
    let mut command = Command::new(program);
    command.arg("--config").arg(configuration).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(folder.join("log"))?);
    Ok(command)
}

/// Starts the program on a thread that stands in the node's namespace and waits for the program's end: with the thread,
/// and so with our process, the kernel ends the program.
fn spawn(node: &Node, mut command: Command) -> io::Result<(Pid, JoinHandle<()>)> {
    end_with_us(&mut command);
    let namespace = node.namespace().as_fd().try_clone_to_owned()?;
    let (sender, receiver) = mpsc::channel();
    let waiting = thread::Builder::new().name("kube-proxy".to_owned()).spawn(move || {
        let entered = pods::namespace::enter_network(std::os::fd::AsFd::as_fd(&namespace));
        let started = entered.map_err(io::Error::other).and_then(|()| command.spawn());
        match started {
            Ok(mut child) => {
                let _ = sender.send(Ok(child.id()));
                let _ = child.wait();
            }
            Err(error) => drop(sender.send(Err(error))),
        }
    })?;
    let id = receiver.recv().map_err(io::Error::other)??;
    Ok((Pid::from_raw(id.cast_signed()), waiting))
}

fn sentinel(generation: u16, zone: Option<&str>) -> Vec<Value> {
    let ips = SENTINEL.map(|(ip, ..)| ip);
    let ports = json!([{"protocol": "TCP", "port": generation}]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "set", "namespace": "zz"},
        "spec": {"type": "ClusterIP", "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": ["IPv4", "IPv6"],
                 "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ports": ports},
        "status": {"loadBalancer": {}},
    });
    let endpoint = |address: &str, zone: &str| json!({"addresses": [address], "conditions": {"ready": true}, "hints": {"forZones": [{"name": zone}]}});
    let slice = |family: &str, (_, here, elsewhere): (&str, &str, &str)| {
        let mut endpoints = vec![endpoint(here, zone.unwrap_or("anywhere"))];
        endpoints.extend(zone.map(|_| endpoint(elsewhere, "another zone")));
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {"name": format!("set-{family}"), "namespace": "zz", "labels": {"kubernetes.io/service-name": "set"}},
            "ports": [{"name": "", "protocol": "TCP", "port": generation}],
            "endpoints": endpoints,
        })
    };
    vec![service, slice("IPv4", SENTINEL[0]), slice("IPv6", SENTINEL[1])]
}

fn served(node: &mut Node, generation: u16, address: &str, endpoint: &str) -> Result<bool, Error> {
    let parse = |text: &str| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, generation));
    let (Ok(address), Ok(endpoint)) = (parse(address), parse(endpoint)) else { return Ok(false) };
    let source = Sender::Pod.addresses(address.is_ipv4(), 127)[0];
    let to = Destination { address, protocol: Protocol::Tcp };
    for _ in 0..CERTAINTY {
        match node.send(Way::Pods, source, to).map_err(Error::Ask)? {
            Fate::Forward(reached, Seen::Sender | Seen::Node) if reached == endpoint => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
