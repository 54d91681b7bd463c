//! A node for a trial: a network namespace with the node's address and the API server in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testnet::harness;

use crate::cluster::Cluster;
use crate::program::Program;

/// The address of `worker-1`.
pub(crate) const ADDRESS: &str = "172.18.0.2";
/// What a trial waits for takes milliseconds, the start of a real API seconds; a machine that does much else may need more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a trial in a network namespace of its own, with our own API server.
pub(crate) fn alone(body: fn(&Node)) {
    in_namespace(move || body(&Node { cluster: Cluster::start() }));
}

/// Runs a trial in a network namespace of its own.
pub(crate) fn in_namespace(body: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        harness::skip("not root");
    }
    let thread = std::thread::spawn(move || {
        pods::namespace::enter_new_network().unwrap();
        ip("link set lo up");
        ip(&format!("address add {ADDRESS}/32 dev lo"));
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the trial's namespace.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {output:?}");
}

/// The node of a trial.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
}

/// The answer of an HTTP server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Node {
    /// A configuration as kubeadm writes it, with further lines.
    pub(crate) fn configuration(&self, lines: &str) -> String {
        let kubeconfig = self.cluster.kubeconfig.display();
        self.cluster.file(
            "config.conf",
            &format!(
                "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n\
                 clientConnection:\n  kubeconfig: {kubeconfig}\nclusterCIDR: 10.244.0.0/16\n\
                 conntrack:\n  maxPerCore: 0\n{lines}"
            ),
        )
    }

    /// Starts a proxy with a configuration that has these further lines, and waits until it is ready.
    pub(crate) fn proxy(&self, lines: &str) -> Program {
        let words = ["proxy", "--config", &self.configuration(lines), "--hostname-override=worker-1"];
        let proxy = Program::start(self, &words);
        eventually("the proxy is ready", || {
            get("127.0.0.1:10256", "/readyz").is_some_and(|it| it.status == 200)
        });
        proxy
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) {
        let told = self.cluster.sluice_with(&["apply", "-f", "-"], manifest);
        assert_eq!(told.code, 0, "{told:?}");
    }

    /// Changes `worker-1`.
    pub(crate) fn patch_node(&self, patch: &str) {
        let told = self.cluster.sluice(&["patch", "node", "worker-1", "--type=merge", "-p", patch]);
        assert_eq!(told.code, 0, "{told:?}");
    }
}

/// Asks a server; `None` when nobody listens.
pub(crate) fn get(address: &str, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The lines of a stage of the running proxy.
pub(crate) fn dump(stage: &str) -> String {
    get("127.0.0.1:10256", &format!("/dump/{stage}")).map(|answer| answer.body).unwrap_or_default()
}

/// Waits for what must become true.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
