//! Names outside: answers that an upstream gives, answers out of the cache, and what the lookup of a name with the usual
//! search path costs with and without `autopath`.
//!
//! `bench dns forwarded [--coredns PATH] [--rounds N] [--milliseconds N]`. All servers have the same Corefile, with `forward`
//! and `cache`, and the same upstream on loopback, which shares the generator's core: rates say less than the time of a
//! core for each answer.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::generator::Generator;
use super::names::{Cluster, packet};
use super::servers::{Target, loopback};
use super::upstream::Upstream;
use super::{latency_cell, middle};
use crate::measure::print_table;

/// Names that all fit a cache; the next ones are more than it holds.
const KNOWN: u32 = 1000;
const UNKNOWN: u32 = 60_000;
/// Queries a second while the time to the answer is taken, of which no server here is overloaded.
const EVEN_RATE: f64 = 2000.0;
/// Search path of a pod in the namespace `default`.
const SEARCH: [&str; 4] = [".default.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""];

struct Options {
    coredns: Option<PathBuf>,
    rounds: usize,
    time: Duration,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self { coredns: None, rounds: 7, time: Duration::from_millis(300) };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { bail!("{} wants a value", pair[0]) };
            match name.as_str() {
                "--coredns" => options.coredns = Some(value.into()),
                "--rounds" => options.rounds = value.parse()?,
                "--milliseconds" => options.time = Duration::from_millis(value.parse()?),
                _ => bail!("{name} is unknown; there are --coredns, --rounds, --milliseconds"),
            }
        }
        Ok(options)
    }
}

/// Measures all three and prints the tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::read(arguments)?;
    let upstream = Upstream::start()?;
    let block = |port: &str, plugins: &str| {
        format!(".:{port} {{\n bind 127.0.0.1\n{plugins} forward . {}\n}}\n", upstream.address)
    };
    let mut targets = vec![Target::ours_with(&block("0", " cache 3600\n"))?];
    if let Some(program) = &options.coredns {
        targets.push(Target::program("CoreDNS", program, &block("PORT", " cache 3600\n"))?);
    }
    let is_answer = |answer: &[u8]| answer.len() > 12 && answer[3] & 15 == 0 && answer[7] == 1;
    for target in &targets {
        target.wait(&packet("first.example.com", "A")?, is_answer)?;
    }
    let rows = [("cached", KNOWN), ("forwarded", UNKNOWN)]
        .map(|(title, names)| row(title, names, &targets, &upstream, &options));
    println!(
        "\nTime of a core for each answer, rate, questions to the upstream for each one; time to the answer at"
    );
    println!("{EVEN_RATE} queries a second (p50 / p99 / p99.9; rounds with a p99 below 1 ms; lost):\n");
    let head: Vec<&str> =
        std::iter::once("answers").chain(targets.iter().map(|target| &*target.name)).collect();
    print_table(&head, &rows.into_iter().collect::<Result<Vec<_>>>()?);
    search_path(&upstream, &block)
}

fn row(
    title: &str,
    names: u32,
    targets: &[Target],
    upstream: &Upstream,
    options: &Options,
) -> Result<Vec<String>> {
    let packets = (0..names).map(|number| packet(&format!("{title}-{number:05}.example.com"), "A"));
    let packets = packets.collect::<Result<Vec<_>>>()?;
    let mut row = vec![title.to_owned()];
    for target in targets {
        let (mut full, mut even) = (Generator::new(&packets, 1)?, Generator::new(&packets, 1)?);
        // The first round fills the cache with what it can hold.
        full.load(target, options.time.max(Duration::from_millis(300)))?;
        let (asked, mut loads) = (upstream.asked(), Vec::new());
        for _ in 0..options.rounds {
            loads.push(full.load(target, options.time)?);
        }
        let sent: u64 = loads.iter().map(|load| load.sent).sum();
        let share = (upstream.asked() - asked) as f64 / sent as f64;
        let cost = middle(loads.iter().map(|load| load.cost).collect());
        let rate = middle(loads.iter().map(|load| load.rate).collect());
        let runs = (0..options.rounds).map(|_| even.latencies(target.address, EVEN_RATE, options.time));
        let latency = latency_cell(&runs.collect::<Result<Vec<_>>>()?);
        row.push(format!("{cost:.0} ns, {:.1}k/s, {share:.2}; {latency}", rate / 1000.0));
    }
    Ok(row)
}

/// Looks names up as a pod's resolver does, and counts both sides' questions.
fn search_path(upstream: &Upstream, block: &impl Fn(&str, &str) -> String) -> Result<()> {
    const LOOKUPS: u32 = 200;
    let mut rows = Vec::new();
    for (title, autopath) in [("without", ""), ("with autopath", " autopath @kubernetes\n")] {
        let plugins = format!("{autopath} kubernetes cluster.local {{\n pods verified\n }}\n cache 3600\n");
        let mut target = Target::ours_with(&block("0", &plugins))?;
        target.update(Cluster { services: 1, endpoints: 1 })?;
        let (asked, mut questions, mut taken) = (upstream.asked(), 0, Vec::new());
        for number in 0..LOOKUPS {
            let start = Instant::now();
            questions += look_up(&target, &format!("www.{number}.example.com"))?;
            taken.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let each = |count: f64| format!("{:.2}", count / f64::from(LOOKUPS));
        rows.push(vec![
            title.to_owned(),
            each(f64::from(questions)),
            each((upstream.asked() - asked) as f64),
            format!("{:.0} µs", middle(taken)),
        ]);
    }
    println!("\nAn external name's address with the search path of a pod, new each time:\n");
    print_table(&["Sluice", "questions of the pod", "to the upstream", "time (median)"], &rows);
    Ok(())
}

/// Asks for the address of a name along the search path; returns how many questions that took.
fn look_up(target: &Target, name: &str) -> Result<u32> {
    let socket = UdpSocket::bind(loopback(0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    for (questions, suffix) in (1..).zip(SEARCH) {
        socket.send_to(&packet(&format!("{name}{suffix}"), "A")?, target.address)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).context("no answer")?;
        ensure!(length > 12, "an answer without a header");
        if answer[3] & 15 == 0 && answer[7] > 0 {
            return Ok(questions);
        }
    }
    bail!("{name} was not found")
}
