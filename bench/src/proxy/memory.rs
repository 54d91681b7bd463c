//! Resident memory of proxy, agent and DNS as processes, fed by a real API.
//!
//! `bench memory processes --peers DIR [--sluice PATH] [--sizes 10000x2,8200x18]`. `DIR` holds `etcd` and `kube-apiserver`; they
//! are started anew for each size, and end with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testnet::peers::{ControlPlane, Store};

use super::api::Api;
use super::candidate::{Candidate, Program, READY_PORT};
use super::node::Node;
use super::{fill, say, size};
use crate::measure::print_table;

/// Longest wait for the first sync.
const LIMIT: Duration = Duration::from_secs(300);

/// Fills an API to each size, starts each program and prints what it holds when it is at rest.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut peers, mut sluice) = (None, PathBuf::from("target/release/sluice"));
    let mut sizes = "10000x2,8200x18".to_owned();
    for pair in arguments.chunks(2) {
        let [flag, value] = pair else { bail!("{} needs a value", pair[0]) };
        match flag.as_str() {
            "--peers" => peers = Some(PathBuf::from(value)),
            "--sluice" => sluice = PathBuf::from(value),
            "--sizes" => sizes.clone_from(value),
            other => bail!("memory knows no {other}"),
        }
    }
    let peers = peers.context("--peers is needed: where etcd and kube-apiserver are")?;
    let corefile = std::env::temp_dir().join(format!("bench-memory-{}.corefile", std::process::id()));
    std::fs::write(&corefile, text())?;
    let dns = corefile.to_string_lossy().into_owned();
    let programs =
        [Program::sluice(sluice.clone()), Program::agent(sluice.clone()), Program::dns(sluice, &dns)];
    let rows = measure(&peers, &sizes, &programs);
    std::fs::remove_file(&corefile)?;
    println!("\nResident after the first sync, and the highest until then:\n");
    print_table(&["services × endpoints", "resident", "its own", "of files", "highest"], &rows?);
    Ok(())
}

fn text() -> String {
    format!(
        ".:5300 {{\n  kubernetes cluster.local in-addr.arpa ip6.arpa\n  ready 127.0.0.1:{READY_PORT}\n}}\n"
    )
}

fn measure(peers: &Path, sizes: &str, programs: &[Program]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for text in sizes.split(',') {
        let (services, endpoints) = size(text)?;
        let store = Store::start(peers)?;
        fill::fill(&store, services, endpoints)?;
        let control_plane = store.serve()?;
        // It makes the node too.
        Api::connect(&control_plane.kubeconfig).with_context(|| control_plane.log())?;
        for program in programs {
            let title = format!("{services} × {endpoints}, {}", program.title());
            say(&title);
            rows.push(std::iter::once(title).chain(figures(&control_plane, program)?).collect());
        }
    }
    Ok(rows)
}

/// All, its own, files' pages, the highest.
fn figures(control_plane: &ControlPlane, program: &Program) -> Result<Vec<String>> {
    let node = Node::create(control_plane.address)?;
    let mut candidate = Candidate::start(program, &node, &control_plane.kubeconfig)?;
    candidate.wait_synced(&node, LIMIT)?.context("not synced")?;
    candidate.rest()?;
    let memory = candidate.memory()?;
    let of_files = memory.resident.saturating_sub(memory.own);
    let bytes = [memory.resident, memory.own, of_files, candidate.highest_resident()?];
    Ok(bytes.iter().map(|bytes| format!("{:.1} MB", *bytes as f64 / 1e6)).collect())
}
