//! What the lab's cluster costs while nothing happens: memory and processor time of our processes, and apart from
//! them the pods' own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::cluster::{Cluster, Tree};
use super::processes::Process;

/// What a new cluster still has to do is done by then.
const SETTLE: Duration = Duration::from_secs(15);
/// How long the processor time is watched.
const WATCHED: Duration = Duration::from_secs(60);

/// The rows on memory and processor time.
pub(super) fn measure(sluice: &Path) -> Result<Vec<Vec<String>>> {
    let cluster = Cluster::start(sluice)?;
    lab(&cluster)?;
    std::thread::sleep(SETTLE);
    let before = Sample::of(&cluster.processes()?)?;
    std::thread::sleep(WATCHED);
    let after = Sample::of(&cluster.processes()?)?;
    ensure!(before.pids == after.pids, "a process of the idle cluster ended or was started");
    Ok(rows(&before, &after))
}

/// The objects of the lab: three pods behind a Service, and a client.
fn lab(cluster: &Cluster) -> Result<()> {
    cluster.verb(&["create", "deployment", "podinfo", "--image=podinfo", "--replicas=3", "--port=9898"])?;
    cluster.verb(&["expose", "deployment", "podinfo", "--port=80", "--target-port=9898"])?;
    cluster.verb(&["run", "nginx", "--image=nginx"])?;
    cluster.wait_for(4, &["podinfo"])
}

/// Everything of one moment: control plane, nodes, pods.
struct Sample {
    taken: Instant,
    pids: Vec<u32>,
    memory: [u64; 3],
    running: [Duration; 3],
}

impl Sample {
    fn of(tree: &Tree) -> Result<Self> {
        let groups = [std::slice::from_ref(&tree.control_plane), &tree.nodes, &tree.pods];
        let (mut memory, mut running) = ([0; 3], [Duration::ZERO; 3]);
        for (index, group) in groups.into_iter().enumerate() {
            for process in group {
                memory[index] += process.memory()?;
                running[index] += process.running()?;
            }
        }
        let pids = groups.concat().iter().map(|process: &Process| process.pid).collect();
        Ok(Self { taken: Instant::now(), pids, memory, running })
    }
}

fn rows(before: &Sample, after: &Sample) -> Vec<Vec<String>> {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let seconds = (after.taken - before.taken).as_secs_f64();
    let load = |index: usize| (after.running[index] - before.running[index]).as_secs_f64() / seconds * 100.0;
    let [plane, nodes, pods] = after.memory;
    let detail = format!("control plane {}, nodes {}", megabytes(plane), megabytes(nodes));
    let share = format!("control plane {:.3} %, nodes {:.3} %", load(0), load(1));
    let minute = format!("{:.0} s", WATCHED.as_secs_f64());
    vec![
        super::row("idle: memory of our processes (PSS)", megabytes(plane + nodes), detail, "60 MB"),
        super::row("the pods' own processes, apart", megabytes(pods), "", ""),
        super::row(
            format!("idle: part of a core over {minute}"),
            format!("{:.3} %", load(0) + load(1)),
            share,
            "1 %",
        ),
        super::row("the pods' own processes, apart", format!("{:.3} %", load(2)), "", ""),
    ]
}
