//! Sluice's proxy against kube-proxy: the same objects from the same real API, one after the other, each in a network
//! namespace of its own.
//!
//! `bench proxy --peers DIR [--sluice PATH] [--without sluice|kube-proxy] [--sizes 1000x2,10000x5] [--changes N]
//! [--churn SECONDS] [--limit SECONDS]`. `DIR` holds `etcd`, `kube-apiserver` and `kube-proxy`; for each size the first two are
//! started anew, with all files in memory, and end with it. A candidate counts as synced when its metrics show a finished
//! sync, and is given up when that takes longer than the limit. A change counts from the call of the API to the first
//! connection that finds it: that reaches the new endpoint, or nobody any more.

pub(crate) mod api;
mod candidate;
mod figures;
pub(crate) mod fill;
pub(crate) mod memory;
mod node;

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testnet::peers::{ControlPlane, Store};

use api::Api;
use candidate::{Candidate, Program};
use figures::{Churn, Figures, Row, Synced};
use node::{Node, Sample};

/// A series of changes ends after this time, once it has [`FEWEST`].
const SERIES: Duration = Duration::from_secs(120);
const FEWEST: u32 = 5;

/// What is asked for on the command line.
struct Options {
    peers: PathBuf,
    programs: Vec<Program>,
    sizes: Vec<(u32, u32)>,
    changes: u32,
    churn: Duration,
    limit: Duration,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (mut peers, mut without) = (None, "");
        let mut sluice = PathBuf::from("target/release/sluice");
        let mut sizes = "1000x2,1000x5,10000x2,10000x5,50000x2,50000x5,8000x30";
        let (mut changes, mut churn, mut limit) = (30, 20, 900);
        let mut words = arguments.iter();
        while let Some(flag) = words.next() {
            let value = words.next().with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--peers" => peers = Some(PathBuf::from(value)),
                "--sluice" => sluice = PathBuf::from(value),
                "--without" => without = value,
                "--sizes" => sizes = value,
                "--changes" => changes = value.parse()?,
                "--churn" => churn = value.parse()?,
                "--limit" => limit = value.parse()?,
                other => bail!("proxy knows no {other}"),
            }
        }
        let peers = peers.context("--peers is needed: where etcd, kube-apiserver and kube-proxy are")?;
        let mut programs = vec![Program::sluice(sluice), Program::kube_proxy(peers.join("kube-proxy"))];
        programs.retain(|program| program.name() != without);
        let sizes = sizes.split(',').map(size).collect::<Result<_>>()?;
        let [churn, limit] = [churn, limit].map(Duration::from_secs);
        Ok(Self { peers, programs, sizes, changes, churn, limit })
    }
}

fn size(text: &str) -> Result<(u32, u32)> {
    let (services, endpoints) =
        text.split_once('x').with_context(|| format!("{text} is no SERVICESxENDPOINTS"))?;
    Ok((services.parse()?, endpoints.parse()?))
}

/// Measures every size with every program and prints the tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let names: Vec<&str> = options.programs.iter().map(Program::name).collect();
    let mut rows = Vec::new();
    for &size in &options.sizes {
        let run = Run::prepare(&options, size)?;
        let mut row = Row { size: format!("{} × {}", size.0, size.1), figures: Vec::new() };
        for program in &options.programs {
            say(&format!("{}, {}", row.size, program.name()));
            row.figures.push(run.measure(program)?);
        }
        rows.push(row);
        // An hour's work is not lost with the next size.
        figures::print(&names, &rows);
    }
    Ok(())
}

/// Progress, on standard error: the tables are the output.
#[allow(clippy::print_stderr, reason = "progress is not part of the figures")]
fn say(what: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("{what} (load {})", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
}

/// One size: an API that holds the objects.
struct Run<'a> {
    options: &'a Options,
    size: (u32, u32),
    api: Api,
    control_plane: ControlPlane,
}

impl<'a> Run<'a> {
    fn prepare(options: &'a Options, size: (u32, u32)) -> Result<Self> {
        let start = Instant::now();
        let store = Store::start(&options.peers)?;
        fill::fill(&store, size.0, size.1)?;
        let filled = start.elapsed();
        let control_plane = store.serve()?;
        let api = Api::connect(&control_plane.kubeconfig).with_context(|| control_plane.log())?;
        say(&format!(
            "{} × {} written in {filled:.1?}, served after {:.1?}",
            size.0,
            size.1,
            start.elapsed()
        ));
        Ok(Self { options, size, api, control_plane })
    }

    fn measure(&self, program: &Program) -> Result<Figures> {
        let (limit, address): (Duration, SocketAddrV4) = (self.options.limit, self.control_plane.address);
        let node = Node::create(address)?;
        let mut candidate = Candidate::start(program, &node, &self.control_plane.kubeconfig)?;
        let Some(cold) = candidate.wait_synced(&node, limit)? else {
            return Ok(Figures { limit, synced: None });
        };
        let memory = candidate.memory()?;
        candidate.rest()?;
        let changes = self.changes(&node)?;
        let churn = self.churn(&candidate)?;
        Ok(Figures { limit, synced: Some(Synced { cold, memory, changes, churn }) })
    }

    fn changes(&self, node: &Node) -> Result<[Vec<Sample>; 4]> {
        let [mut replaced, mut added, mut called, mut removed] = [const { Vec::new() }; 4];
        self.series(|turn| {
            replaced.push(node.replaced(&self.api, turn)?);
            Ok(())
        })?;
        self.series(|turn| {
            let [came, answered, went] = node.added_and_removed(&self.api, turn)?;
            added.push(came);
            called.push(answered);
            removed.push(went);
            Ok(())
        })?;
        Ok([replaced, added, called, removed])
    }

    /// As many changes as wanted, fewer when they take long.
    fn series(&self, mut change: impl FnMut(u32) -> Result<()>) -> Result<()> {
        let start = Instant::now();
        for turn in 0..self.options.changes {
            if start.elapsed() > SERIES && turn >= FEWEST {
                break;
            }
            change(turn)?;
        }
        Ok(())
    }

    /// All that the changes cost counts, also what is done after the last one.
    fn churn(&self, candidate: &Candidate) -> Result<Churn> {
        let span = self.options.churn;
        let share = |time: Duration| time.as_secs_f64() / span.as_secs_f64();
        candidate.rest()?;
        let before = candidate.processor_time()?;
        self.api.churn(self.size.0, self.size.1, span)?;
        candidate.rest()?;
        let busy = share(candidate.processor_time()?.saturating_sub(before));
        let before = candidate.processor_time()?;
        std::thread::sleep(span);
        let idle = share(candidate.processor_time()?.saturating_sub(before));
        Ok(Churn { busy, idle, resident: candidate.highest_resident()? })
    }
}
