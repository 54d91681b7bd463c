//! One process for each node of the cluster on this machine, each of which writes a reading on a line from time to time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::wiring::agent::watched::Watched;

/// The processes. They end with this value.
pub(super) struct Nodes(Vec<Node>);

struct Node {
    name: String,
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Nodes {
    /// Starts them.
    pub(super) fn start(
        names: impl Iterator<Item = String>,
        kubeconfig: &Path,
        interval: u64,
    ) -> anyhow::Result<Self> {
        names.map(|name| Node::start(name, kubeconfig, interval)).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The sum of what all say; a node that has gone is left out from then on.
    pub(super) fn read(&mut self) -> anyhow::Result<Watched> {
        let mut sum = Watched::default();
        self.0.retain_mut(|node| node.read().map(|watched| sum.add(&watched)).is_some());
        ensure!(!self.0.is_empty(), "no node of the cluster answers names any more");
        Ok(sum)
    }

    /// Their names.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|node| &node.name[..]).collect::<Vec<_>>().join(", ")
    }
}

impl Node {
    fn start(name: String, kubeconfig: &Path, interval: u64) -> anyhow::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["dns", "top", "--output=raw", "--node", &name]);
        command.arg(format!("--interval={interval}")).arg("--kubeconfig").arg(kubeconfig);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = started.with_context(|| format!("starting the process that asks node {name}"))?;
        let lines = process.stdout.take().context("the process has no output")?;
        Ok(Self { name, process, lines: BufReader::new(lines) })
    }

    fn read(&mut self) -> Option<Watched> {
        let mut line = String::new();
        self.lines.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
