//! A node for a trial: a network namespace with the node's address, the API server in it, and the proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use testnet::harness;

use crate::cluster::{Cluster, Run};

/// The address of `worker-1`.
pub(crate) const ADDRESS: &str = "172.18.0.2";
/// What a trial waits for takes milliseconds; a machine that does much else may need more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a trial in a network namespace of its own.
pub(crate) fn alone(body: fn(&Node)) {
    if !nix::unistd::geteuid().is_root() {
        harness::skip("not root");
    }
    let thread = std::thread::spawn(move || {
        pods::namespace::enter_new_network().unwrap();
        ip("link set lo up");
        ip(&format!("address add {ADDRESS}/32 dev lo"));
        body(&Node { cluster: Cluster::start() });
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

/// A running proxy. Ends with this value.
pub(crate) struct Proxy {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// The answer of an HTTP server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Node {
    /// The words of a proxy on this node.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("proxy").args(words).env_remove("KUBECONFIG").env_remove("SLUICE_LOG");
        command
    }

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
    pub(crate) fn proxy(&self, lines: &str) -> Proxy {
        let proxy = self.start(&["--config", &self.configuration(lines), "--hostname-override=worker-1"]);
        eventually("the proxy is ready", || {
            get("127.0.0.1:10256", "/readyz").is_some_and(|it| it.status == 200)
        });
        proxy
    }

    pub(crate) fn start(&self, words: &[&str]) -> Proxy {
        let mut child = self
            .command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, lines) =
            (Arc::new(Mutex::new(String::new())), BufReader::new(child.stderr.take().unwrap()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        Proxy { child, log }
    }

    /// Runs a proxy that ends by itself.
    pub(crate) fn run(&self, words: &[&str]) -> Run {
        crate::cluster::run(self.command(words), "")
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

impl Proxy {
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The exit code, if it ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().and_then(|status| status.code())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
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
