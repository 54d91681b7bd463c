//! Resident memory of proxy, agent and DNS as processes, fed by a real API: at rest, and the most across a list of everything
//! that is repeated.
//!
//! `bench memory processes --peers DIR [--sluice PATH] [--sizes 10000x2,8200x18] [--programs proxy,agent,dns]`. `DIR` holds
//! `etcd` and `kube-apiserver`; they are started anew for each size, and end with it.
//!
//! "Its own" are anonymous pages (RssAnon): nobody else has them and the kernel cannot drop them, so no other process on
//! the machine changes the figure, as it would with PSS. The highest of them across the list is that of samples, one in 5 ms;
//! the kernel keeps the highest resident memory (VmHWM) only with the pages of files. That is reset before the API server
//! ends. Both cover the outage, the list and what follows.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testnet::peers::{ControlPlane, Store};

use super::api::Api;
use super::candidate::{Candidate, Program, READY_PORT};
use super::node::Node;
use super::{fill, say, size};
use crate::measure::print_table;

/// Longest wait for the first sync, and for the sync after a list.
const LIMIT: Duration = Duration::from_secs(300);
/// Where a node's agent is asked about names and packets.
const STATUS_PORT: u16 = 10_256;

/// The programs, each with the Service that goes while the API is away, and a question whose answer changes by that.
const QUESTIONS: [(&str, u32, &str); 3] = [
    ("proxy", 0, "/trace/packet/10.200.0.1/tcp/10.96.1.0/80"),
    ("agent", 1, "/trace/name/service-1.default.svc.cluster.local/A"),
    ("dns", 2, "/trace/name/service-2.default.svc.cluster.local/A"),
];

/// Fills an API to each size, starts each program and prints what it holds when it is at rest.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut peers, mut sluice) = (None, PathBuf::from("target/release/sluice"));
    let mut sizes = "10000x2,8200x18".to_owned();
    let mut wanted = "proxy,agent,dns".to_owned();
    for pair in arguments.chunks(2) {
        let [flag, value] = pair else { bail!("{} needs a value", pair[0]) };
        match flag.as_str() {
            "--peers" => peers = Some(PathBuf::from(value)),
            "--sluice" => sluice = PathBuf::from(value),
            "--sizes" => sizes.clone_from(value),
            "--programs" => wanted.clone_from(value),
            other => bail!("memory knows no {other}"),
        }
    }
    let peers = peers.context("--peers is needed: where etcd and kube-apiserver are")?;
    let corefile = std::env::temp_dir().join(format!("bench-memory-{}.corefile", std::process::id()));
    std::fs::write(&corefile, text())?;
    let dns = corefile.to_string_lossy().into_owned();
    let mut programs =
        vec![Program::sluice(sluice.clone()), Program::agent(sluice.clone()), Program::dns(sluice, &dns)];
    programs.retain(|program| wanted.split(',').any(|word| word == program.title()));
    let rows = measure(&peers, &sizes, &programs);
    std::fs::remove_file(&corefile)?;
    println!(
        "\nResident at rest after the first sync, the highest until then and across a list that is repeated:\n"
    );
    let first = ["services × endpoints", "resident", "its own", "of files", "highest"];
    let again = ["its own, highest while listed again", "resident, highest then", "its own, at rest again"];
    print_table(&[&first[..], &again].concat(), &rows?);
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
        let mut control_plane = store.serve()?;
        // It makes the node too.
        let api = Api::connect(&control_plane.kubeconfig).with_context(|| control_plane.log())?;
        for program in programs {
            let title = format!("{services} × {endpoints}, {}", program.title());
            say(&title);
            rows.push(std::iter::once(title).chain(figures(&mut control_plane, &api, program)?).collect());
        }
    }
    Ok(rows)
}

/// All, its own, files' pages, the highest; then the highest of its own and of all while everything is listed again, with
/// what they are of those at rest, and what remains its own.
fn figures(control_plane: &mut ControlPlane, api: &Api, program: &Program) -> Result<Vec<String>> {
    let node = Node::create(control_plane.address)?;
    let mut candidate = Candidate::start(program, &node, &control_plane.kubeconfig)?;
    candidate.wait_synced(&node, LIMIT)?.context("not synced")?;
    candidate.rest()?;
    let (before, highest) = (candidate.memory()?, candidate.highest_resident()?);
    candidate.forget_highest()?;
    let listing = || list_again(control_plane, api, program, &node, &candidate);
    let (listed, highest_own) = candidate.highest_own(listing);
    listed?;
    let (after, again) = (candidate.memory()?, candidate.highest_resident()?);
    let of_files = before.resident.saturating_sub(before.own);
    let bytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let ratio = |now: u64, then: u64| format!("{} ({:.2})", bytes(now), now as f64 / then as f64);
    let mut cells: Vec<String> = [before.resident, before.own, of_files, highest].map(bytes).into();
    cells.extend([ratio(highest_own, before.own), ratio(again, before.resident), bytes(after.own)]);
    Ok(cells)
}

/// Restarts the API server, so that the program must list; returns when it has and rests.
fn list_again(
    control_plane: &mut ControlPlane,
    api: &Api,
    program: &Program,
    node: &Node,
    candidate: &Candidate,
) -> Result<()> {
    let question = QUESTIONS.iter().find(|(title, ..)| *title == program.title());
    let &(_, service, path) = question.context("a program with a question")?;
    let before = node.get(STATUS_PORT, path).context("it does not say what it knows")?;
    control_plane.restart(|store| fill::remove_service(store, service))?;
    api.wait_ready()?;
    let start = Instant::now();
    while node.get(STATUS_PORT, path).is_none_or(|now| body(&now) == body(&before)) {
        candidate.memory().context("it ended when the API server did")?;
        ensure!(start.elapsed() < LIMIT, "it has not listed again within {LIMIT:?}");
        thread::sleep(Duration::from_millis(100));
    }
    candidate.rest()
}

/// Without the header, which has the time.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or(answer, |(_, body)| body)
}
