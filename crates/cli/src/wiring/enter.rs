//! Entering a node of a running cluster on this machine: its user namespace (an ordinary user's cluster has one) and
//! its network namespace. Only for a process that is still single-threaded: setns(2) refuses a user namespace else.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::sched::{CloneFlags, setns};

use super::cluster::runtime_dir::{self, Process, Record};

/// Moves this process into the namespaces of `node`.
pub(crate) fn node(kubeconfig: Option<&Path>, node: &str) -> anyhow::Result<()> {
    let process = find(kubeconfig, node)?;
    let open = |kind: &str| {
        let path = format!("/proc/{}/ns/{kind}", process.pid);
        File::open(&path).with_context(|| format!("opening {path} of node {node}"))
    };
    let (user, net) = (open("user")?, open("net")?);
    if !same_user_namespace(process)? {
        setns(&user, CloneFlags::CLONE_NEWUSER)
            .with_context(|| format!("entering the user namespace of node {node}"))?;
    }
    setns(&net, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("entering the network namespace of node {node}"))
}

/// The namespace that we are in already cannot be entered again (EINVAL).
fn same_user_namespace(process: Process) -> anyhow::Result<bool> {
    let own = std::fs::read_link("/proc/self/ns/user")?;
    Ok(own == std::fs::read_link(format!("/proc/{}/ns/user", process.pid))?)
}

/// The process of `node` in the running cluster that wrote `kubeconfig`, or in the newest one.
fn find(kubeconfig: Option<&Path>, node: &str) -> anyhow::Result<Process> {
    let record = cluster(kubeconfig)?;
    let known = || record.nodes.keys().cloned().collect::<Vec<_>>().join(", ");
    let process = record
        .nodes
        .get(node)
        .with_context(|| format!("there is no node {node}; the cluster has {}", known()))?;
    process.is_alive().then_some(*process).ok_or_else(|| {
        anyhow!("the process of node {node} has ended and is being started again; try once more")
    })
}

/// The record of the running cluster that wrote `kubeconfig`; of the newest one when that is not given or not one of ours.
pub(crate) fn cluster(kubeconfig: Option<&Path>) -> anyhow::Result<Record> {
    let running = runtime_dir::running(&runtime_dir::root());
    let asked = kubeconfig.and_then(|file| std::path::absolute(file).ok());
    let by_file = running.iter().find(|record| Some(&record.kubeconfig) == asked.as_ref());
    let found = by_file.or(running.first()).cloned();
    found.context("no cluster of this user runs on this machine; start one with `sluice up`")
}
