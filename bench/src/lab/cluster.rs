//! A cluster of the program under test, in the foreground of a child process, and the kubectl-like verbs on it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::processes::{Process, descendants};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the child to stop when this program ends, however that happens.
pub(super) fn ends_with_us(command: &mut Command) -> &mut Command {
    #[allow(unsafe_code, reason = "code between fork and exec must be marked")]
    // SAFETY: one system call that is async-signal-safe; it neither allocates nor locks.
    unsafe {
        command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?))
    }
}

/// A running cluster, stopped when dropped.
pub(super) struct Cluster {
    sluice: PathBuf,
    child: Child,
    kubeconfig: String,
}

impl Cluster {
    /// Starts one and waits until its nodes are ready.
    pub(super) fn start(sluice: &Path) -> Result<Self> {
        let (mut lines, cluster) = Self::begin(sluice)?;
        ensure!(lines.any(|line| line.contains("nodes ready")), "the nodes of sluice up do not get ready");
        // Later lines must have a reader: the program would else end at a broken pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(cluster)
    }

    /// Starts one and waits until it says where its kubeconfig is; with the lines that follow, to be
    /// dropped after it.
    pub(super) fn begin(sluice: &Path) -> Result<(impl Iterator<Item = String> + Send + use<>, Self)> {
        let mut command = Command::new(sluice);
        command.args(["up", "--api-port", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = ends_with_us(&mut command).spawn().context("starting sluice up")?;
        let mut cluster = Self { sluice: sluice.to_owned(), child, kubeconfig: String::new() };
        let output = cluster.child.stdout.take().context("sluice up has no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let kubeconfig =
            lines.find_map(|line| Some(line.trim().strip_prefix("export KUBECONFIG=")?.to_owned()));
        cluster.kubeconfig = kubeconfig.context("sluice up does not get ready")?;
        Ok((lines, cluster))
    }

    /// Runs a verb; what it printed.
    pub(super) fn verb(&self, arguments: &[&str]) -> Result<String> {
        self.verb_with(arguments, "")
    }

    /// Applies a manifest.
    pub(super) fn apply(&self, manifest: &str) -> Result<()> {
        self.verb_with(&["apply", "-f", "-"], manifest).map(drop)
    }

    fn verb_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let name = format!("sluice {}", arguments.join(" "));
        let mut command = Command::new(&self.sluice);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running {name}"))?;
        child.stdin.take().context("a verb without input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output().with_context(|| format!("waiting for {name}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{name}: {}", text(&output.stderr).trim());
        Ok(text(&output.stdout))
    }

    /// The object or list that a `get` prints as JSON.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        Ok(serde_json::from_str(&self.verb(&arguments)?)?)
    }

    /// Waits until there are `count` pods and all are ready, and each of the Services has an endpoint.
    pub(super) fn wait_for(&self, count: usize, services: &[&str]) -> Result<()> {
        let began = Instant::now();
        while !self.is_ready(count, services)? {
            if began.elapsed() > PATIENCE {
                bail!(
                    "not ready within {PATIENCE:?}:\n{}",
                    self.verb(&["get", "pods,endpoints", "-o", "wide"])?
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn is_ready(&self, count: usize, services: &[&str]) -> Result<bool> {
        let pods = self.json(&["get", "pods"])?;
        let pods: Vec<&Value> = pods["items"].as_array().into_iter().flatten().collect();
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let ready =
            |pod: &&&Value| pod["status"]["conditions"].as_array().is_some_and(|list| list.iter().any(ready));
        if pods.len() != count || pods.iter().filter(ready).count() != count {
            return Ok(false);
        }
        for service in services {
            if self.json(&["get", "endpoints", service])?["subsets"].as_array().is_none_or(Vec::is_empty) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The control plane, and everything below it.
    pub(super) fn processes(&self) -> Result<Tree> {
        let main = Process { pid: self.child.id() };
        let all = descendants(main)?;
        let (nodes, pods) = all.into_iter().partition(|(_, depth)| *depth == 1);
        let only = |list: Vec<(Process, usize)>| list.into_iter().map(|(process, _)| process).collect();
        Ok(Tree { control_plane: main, nodes: only(nodes), pods: only(pods) })
    }
}

/// The processes of a cluster.
pub(super) struct Tree {
    pub(super) control_plane: Process,
    pub(super) nodes: Vec<Process>,
    /// Those of the pods: each one's init and what it runs.
    pub(super) pods: Vec<Process>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
