//! The DNS server against a bare UDP echo and other servers: rate and processor time of an answer, latency at half load,
//! memory of the zone. Loopback only; each round asks all servers in turn, so that what else the machine does weighs on
//! all alike.

mod beyond;
mod forwarded;
mod freshness;
mod generator;
mod memory;
mod names;
mod servers;
mod upstream;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use dns::answer::{Context, Transport, answer};
use dns::zone::{Zone, ZoneConfig};

use crate::measure::print_table;
use generator::{Generator, Load};
pub(crate) use names::Cluster;
use names::Workload;
use servers::Target;

/// Different queries of a workload.
const PACKETS_MAX: usize = 60_000;
/// Queries that one client sends at a time: a resolver asks for A and AAAA.
const TOGETHER: usize = 2;
/// The workloads whose latency is measured.
const LATENCY_OF: [Workload; 2] = [Workload::A, Workload::Mix];

/// Passes over a workload's packets without a socket, and packets between two looks at the clock.
const PASSES: usize = 10;
const STRETCH: usize = 500;
/// Rounds of the latency for each round of the load: short ones, of which the machine's other work leaves most alone.
const LATENCY_ROUNDS: usize = 5;
/// The goal for the 99th percentile, in microseconds.
const LATENCY_GOAL: f64 = 1000.0;

/// What to measure, from the command line.
struct Options {
    sizes: Vec<u32>,
    workloads: Vec<Workload>,
    endpoints: u32,
    rounds: usize,
    time: Duration,
    together: usize,
    peers: Vec<String>,
    elsewhere: Vec<String>,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            sizes: vec![100, 10_000, 100_000],
            workloads: Workload::ALL.to_vec(),
            endpoints: 2,
            rounds: 7,
            time: Duration::from_millis(300),
            together: TOGETHER,
            peers: Vec::new(),
            elsewhere: Vec::new(),
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { bail!("{} wants a value", pair[0]) };
            let list = || value.split(',').map(str::to_owned);
            match name.as_str() {
                "--sizes" => options.sizes = list().map(|size| size.parse()).collect::<Result<_, _>>()?,
                "--questions" => {
                    let named =
                        |name: String| Workload::ALL.into_iter().find(|workload| workload.name() == name);
                    options.workloads =
                        list().map(|name| named(name).context("no such question")).collect::<Result<_>>()?;
                }
                "--endpoints" => options.endpoints = value.parse()?,
                "--rounds" => options.rounds = value.parse()?,
                "--milliseconds" => options.time = Duration::from_millis(value.parse()?),
                "--together" => options.together = value.parse()?,
                "--peers" => options.peers = list().collect(),
                "--server" => options.elsewhere.push(value.clone()),
                _ => bail!(
                    "{name} is unknown; there are --sizes, --questions a,aaaa,srv,ptr,nxdomain,mix, --endpoints, --rounds, --milliseconds, --together, --peers nsd,knot, --server NAME=ADDRESS,PID"
                ),
            }
        }
        Ok(options)
    }
}

/// Measures `load`, `latency`, `answer` (without a socket), `memory`, or prints the `objects` of the cluster for another
/// server; load and latency without a name. `forwarded`, `freshness` and `beyond` have options of their own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let part = arguments.first().filter(|name| !name.starts_with('-')).map(String::as_str);
    let rest = &arguments[usize::from(part.is_some())..];
    match part {
        Some("beyond") => return beyond::run(rest),
        Some("freshness") => return freshness::run(rest),
        Some("forwarded") => return forwarded::run(rest),
        _ => {}
    }
    let options = Options::read(rest)?;
    for services in &options.sizes {
        let cluster = Cluster { services: *services, endpoints: options.endpoints };
        match part {
            Some("objects") => print_objects(cluster),
            Some("memory") => memory::run(cluster)?,
            Some("answer") => answers(cluster)?,
            Some("load") => serve(cluster, &options, true, false)?,
            Some("latency") => serve(cluster, &options, false, true)?,
            None => serve(cluster, &options, true, true)?,
            Some(other) => {
                bail!(
                    "{other}: there are load, latency, answer, memory, objects, forwarded, freshness, beyond"
                )
            }
        }
    }
    Ok(())
}

fn zone(cluster: Cluster) -> Result<Arc<Zone>> {
    let snapshot = cluster.model()?.snapshot();
    Ok(Arc::new(Zone::build(Arc::new(ZoneConfig::cluster("cluster.local")?), &snapshot, 1)))
}

fn targets(cluster: Cluster, options: &Options) -> Result<Vec<Target>> {
    let mut targets = vec![Target::echo()?, Target::ours(cluster)?];
    for peer in &options.peers {
        targets.push(match peer.as_str() {
            "nsd" => Target::nsd(cluster)?,
            "knot" => Target::knot(cluster)?,
            other => bail!("{other} cannot be started from here: nsd and knot can, others with --server"),
        });
    }
    for text in &options.elsewhere {
        targets.push(Target::elsewhere(text)?);
    }
    Ok(targets)
}

fn serve(cluster: Cluster, options: &Options, load: bool, latency: bool) -> Result<()> {
    let targets = targets(cluster, options)?;
    println!("\n{} Services × {} endpoints", cluster.services, cluster.endpoints);
    for workload in Workload::ALL {
        let packets = workload.packets(cluster, 1)?;
        targets
            .iter()
            .try_for_each(|target| target.wait(&packets[0], |answer| workload.is_answered(answer)))?;
    }
    let mut rows = Vec::new();
    for workload in options.workloads.iter().filter(|_| load) {
        rows.push(load_row(cluster, *workload, &targets, options)?);
    }
    if load {
        println!("\nTime of a core for each answer, and the echo's divided by it; rate:\n");
        print_table(&head("question", &targets), &rows);
    }
    if latency {
        println!(
            "\nTime to the answer at half of each server's rate: medians over rounds of p50 / p99 / p99.9; rounds with a p99 \
             below {LATENCY_GOAL} µs; queries without an answer:\n"
        );
        let rows: Result<Vec<_>> =
            LATENCY_OF.iter().map(|workload| latency_row(cluster, *workload, &targets, options)).collect();
        print_table(&head("question", &targets), &rows?);
    }
    Ok(())
}

fn head<'t>(first: &'t str, targets: &'t [Target]) -> Vec<&'t str> {
    std::iter::once(first).chain(targets.iter().map(|target| target.name.as_str())).collect()
}

/// One workload against all servers, in turn.
fn load_row(
    cluster: Cluster,
    workload: Workload,
    targets: &[Target],
    options: &Options,
) -> Result<Vec<String>> {
    let mut generator = Generator::new(&workload.packets(cluster, PACKETS_MAX)?, options.together)?;
    let mut rounds: Vec<Vec<Load>> = Vec::new();
    for _ in 0..options.rounds {
        let round = targets.iter().map(|target| generator.load(target, options.time));
        rounds.push(round.collect::<Result<_>>()?);
    }
    let cell = |target: usize| {
        let middle = |of: &dyn Fn(&[Load]) -> f64| middle(rounds.iter().map(|round| of(round)).collect());
        let cost = middle(&|round| round[target].cost);
        let ratio = middle(&|round| round[0].cost / round[target].cost);
        let rate = middle(&|round| round[target].rate);
        format!("{cost:.0} ns ({ratio:.2}), {:.0}k/s", rate / 1000.0)
    };
    Ok(std::iter::once(workload.title().to_owned()).chain((0..targets.len()).map(cell)).collect())
}

fn latency_row(
    cluster: Cluster,
    workload: Workload,
    targets: &[Target],
    options: &Options,
) -> Result<Vec<String>> {
    let packets = workload.packets(cluster, PACKETS_MAX)?;
    let (mut full, mut even) = (Generator::new(&packets, options.together)?, Generator::new(&packets, 1)?);
    let mut row = vec![workload.title().to_owned()];
    for target in targets {
        let rates = (0..3).map(|_| Ok(full.load(target, options.time)?.rate)).collect::<Result<Vec<_>>>()?;
        let mut runs = Vec::new();
        for _ in 0..LATENCY_ROUNDS * options.rounds {
            runs.push(even.latencies(target.address, middle(rates.clone()) / 2.0, options.time)?);
        }
        row.push(latency_cell(&runs));
    }
    Ok(row)
}

fn latency_cell(runs: &[(Vec<Duration>, usize)]) -> String {
    let lost: usize = runs.iter().map(|(_, lost)| lost).sum();
    let at = |part: f64| middle(runs.iter().map(|(taken, _)| percentile(taken, part)).collect());
    let met = runs.iter().filter(|(taken, _)| percentile(taken, 0.99) < LATENCY_GOAL).count();
    format!("{:.0} / {:.0} / {:.0} µs; {met} of {}; {lost}", at(0.5), at(0.99), at(0.999), runs.len())
}

/// Microseconds.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e6)
}

fn middle(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The time of an answer alone, one after the other, without a socket.
fn answers(cluster: Cluster) -> Result<()> {
    servers::stay_on(servers::GENERATOR_CORE);
    let zone = zone(cluster)?;
    let mut rows = Vec::new();
    for workload in Workload::ALL {
        let packets = workload.packets(cluster, PACKETS_MAX)?;
        let mut buffer = [0; 4096];
        let mut samples = Vec::new();
        // Short stretches, so that most are whole while others want the core too.
        for stretch in (0..PASSES).flat_map(|_| packets.chunks(STRETCH)) {
            let start = Instant::now();
            for packet in stretch {
                let context = Context { transport: Transport::Udp, synced: true, rotation: 7 };
                black_box(answer(&zone, black_box(packet), context, &mut buffer));
            }
            samples.push(start.elapsed().as_secs_f64() * 1e9 / stretch.len() as f64);
        }
        rows.push(vec![workload.title().to_owned(), format!("{:.0} ns", middle(samples))]);
    }
    println!("\n{} Services × {} endpoints\n", cluster.services, cluster.endpoints);
    print_table(&["question", "answer alone"], &rows);
    Ok(())
}

/// One object on each line, for another server's API.
fn print_objects(cluster: Cluster) {
    for number in 0..cluster.services {
        let (service, slice) = cluster.objects(number);
        println!("{service}\n{slice}");
    }
}
