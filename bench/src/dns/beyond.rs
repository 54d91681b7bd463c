//! What lies beyond the socket: whether answers to a pod would be cheaper by busy polling, by a program at the pod's
//! interface (XDP, `tc`) or through AF_XDP. An experiment: nothing of it is in the product.
//!
//! Real sockets in a pod ask over the veth pair that the product makes; the server stands in the node's namespace. Each
//! round starts every way to answer in turn, and every way is first held against what the zone says, byte by byte.

mod assembler;
mod bpf;
mod client;
mod clocks;
mod ready;
mod responders;
mod site;
mod system;
mod traffic;
mod ways;
mod xdp_socket;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{middle, percentile};
use crate::measure::print_table;
use crate::namespace;
use client::Round;
use clocks::Clocks;
use site::Site;
use ways::{WAYS, Way};

/// What to measure, from the command line.
struct Options {
    services: u32,
    rounds: usize,
    time: Duration,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self { services: 10_000, rounds: 11, time: Duration::from_millis(50) };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { bail!("{} wants a value", pair[0]) };
            match name.as_str() {
                "--services" => options.services = value.parse()?,
                "--rounds" => options.rounds = value.parse()?,
                "--milliseconds" => options.time = Duration::from_millis(value.parse()?),
                _ => bail!("{name} is unknown; there are --services, --rounds, --milliseconds"),
            }
        }
        Ok(options)
    }
}

/// Measures all ways and prints the tables.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::read(arguments)?;
    namespace::become_root()?;
    let site = Site::start(options.services)?;
    let mut rounds: Vec<Result<Vec<Round>>> = WAYS.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..options.rounds {
        for (way, so_far) in WAYS.iter().zip(&mut rounds) {
            // A way that is not to be had here is tried once.
            if let Ok(known) = so_far {
                match measure(&site, way, options.time) {
                    Ok(round) => known.push(round),
                    Err(error) => *so_far = Err(error),
                }
            }
        }
    }
    let echo = rounds[0].as_ref().map_err(|error| anyhow::anyhow!("the echo: {error:#}"))?;
    let rows: Vec<_> = WAYS.iter().zip(&rounds).map(|(way, rounds)| row(way, rounds, echo)).collect();
    println!(
        "{} Services; in brackets the echo's time divided by this one, round by round:\n",
        options.services
    );
    print_table(&HEAD, &rows);
    print_napi(&rounds);
    traffic::run(&site, options.rounds)
}

const HEAD: [&str; 6] = [
    "",
    "time of the server's core for an answer",
    "time of both cores",
    "answers a second",
    "one at a time: p50, p99",
    "time of both cores then",
];

/// What there was to be polled.
fn print_napi(rounds: &[Result<Vec<Round>>]) {
    let last = |rounds: &Result<Vec<Round>>| rounds.as_ref().ok()?.last()?.napi;
    let told = WAYS.iter().zip(rounds).filter_map(|(way, rounds)| Some((way.name, last(rounds)?)));
    let told: Vec<String> = told.map(|(name, napi)| format!("{name}: {napi}")).collect();
    println!("\nSO_INCOMING_NAPI_ID of the servers' sockets (0: nothing to poll): {}", told.join("; "));
}

fn measure(site: &Site, way: &Way, time: Duration) -> Result<Round> {
    let running = way.start(site)?;
    let clocks = Clocks::new();
    let questions = if way.unknown { &site.unknown } else { &site.known };
    let round =
        site.in_pod(|| client::round(Site::address(way.port), questions, way.expect, &clocks, time))?;
    let round = round.context("no round of questions")?;
    Ok(Round { napi: running.napi(), ..round })
}

fn row(way: &Way, rounds: &Result<Vec<Round>>, echo: &[Round]) -> Vec<String> {
    let mut row = vec![way.name.to_owned()];
    match rounds {
        Err(error) => row.push(format!("not here: {error:#}")),
        Ok(rounds) => row.extend(cells(rounds, echo)),
    }
    row
}

fn cells(rounds: &[Round], echo: &[Round]) -> [String; 5] {
    let compared = |of: &dyn Fn(&Round) -> f64| {
        let ratios = echo.iter().zip(rounds).map(|(echo, round)| of(echo) / of(round));
        (middle(rounds.iter().map(of).collect()), middle(ratios.collect()))
    };
    let nanoseconds = |of: &dyn Fn(&Round) -> f64| match compared(of) {
        (none, _) if none < 1.0 => "none".to_owned(),
        (value, ratio) => format!("{value:.0} ns ({ratio:.2})"),
    };
    let at = |part: f64| {
        let (value, ratio) = compared(&|round| percentile(&round.taken, part));
        format!("{value:.1} µs ({ratio:.2})")
    };
    [
        nanoseconds(&|round| round.server),
        nanoseconds(&|round| round.whole),
        format!("{:.0}k", middle(rounds.iter().map(|round| round.rate / 1000.0).collect())),
        format!("{}, {}", at(0.5), at(0.99)),
        nanoseconds(&|round| round.whole_alone),
    ]
}
