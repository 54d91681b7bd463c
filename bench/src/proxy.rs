//! Sluice's proxy against kube-proxy: the same objects from the same API, one after the other, each in a network
//! namespace of its own.
//!
//! `bench proxy --kubeconfig FILE [--sluice PATH|none] [--kube-proxy PATH] [--sizes 1000x2,10000x5] [--changes N]
//! [--churn SECONDS]`. The API must run already, on loopback; everything of an earlier run in its namespace
//! `proxy-bench` is replaced. A candidate counts as synced when its metrics show a finished sync; a change counts from
//! the call of the API to the first connection that reaches the new endpoint.

mod api;
mod candidate;
mod node;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use api::Api;
use candidate::{Candidate, Program};
use node::Node;

use crate::measure::{milliseconds, percentile, print_table};

/// What is asked for on the command line.
struct Options {
    kubeconfig: PathBuf,
    programs: Vec<Program>,
    sizes: Vec<(u32, u32)>,
    changes: u32,
    churn: Duration,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (mut kubeconfig, mut kube_proxy) = (None, None);
        let mut sluice = PathBuf::from("target/release/sluice");
        let (mut sizes, mut changes, mut churn) = ("1000x2,10000x2".to_owned(), 50, 20);
        let mut words = arguments.iter();
        while let Some(flag) = words.next() {
            let value = words.next().with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--kubeconfig" => kubeconfig = Some(PathBuf::from(value)),
                "--kube-proxy" => kube_proxy = Some(PathBuf::from(value)),
                "--sluice" => sluice = PathBuf::from(value),
                "--sizes" => sizes.clone_from(value),
                "--changes" => changes = value.parse()?,
                "--churn" => churn = value.parse()?,
                other => bail!("proxy knows no {other}"),
            }
        }
        let mut programs = Vec::new();
        if sluice.as_os_str() != "none" {
            programs.push(Program::sluice(sluice));
        }
        programs.extend(kube_proxy.map(Program::kube_proxy));
        let kubeconfig = kubeconfig.context("--kubeconfig of a running API is needed")?;
        let sizes = sizes.split(',').map(size).collect::<Result<_>>()?;
        Ok(Self { kubeconfig, programs, sizes, changes, churn: Duration::from_secs(churn) })
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
    let api = Api::connect(&options.kubeconfig)?;
    let (mut loads, mut changes, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for &(services, endpoints) in &options.sizes {
        api.fill(services, endpoints)?;
        for program in &options.programs {
            let title = format!("{services} × {endpoints}, {}", program.name());
            let node = Node::create(&api)?;
            let mut candidate = Candidate::start(program, &node, &options.kubeconfig)?;
            let cold = candidate.wait_synced(&node)?;
            loads.push(vec![title.clone(), milliseconds(cold), megabytes(candidate.resident()?)]);
            changes.push(change_row(&title, &api, &node, options.changes)?);
            costs.push(cost_row(&title, &api, &candidate, services, endpoints, options.churn)?);
            let done = [&loads, &changes, &costs]
                .map(|rows: &Vec<Vec<String>>| rows.last().map(|row| row[1..].join(", ")));
            println!("{title}: {}", done.into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
    }
    println!();
    println!("Start to synced, and resident memory then:\n");
    print_table(&["services × endpoints", "cold", "resident"], &loads);
    println!("\nFrom the API call to the first connection that reaches the new endpoint:\n");
    print_table(
        &["services × endpoints", "endpoint replaced p50", "p99", "service added p50", "p99"],
        &changes,
    );
    println!("\n100 endpoint changes a second, then idle for as long:\n");
    print_table(
        &["services × endpoints", "processor under churn", "resident, highest", "processor idle"],
        &costs,
    );
    Ok(())
}

fn change_row(title: &str, api: &Api, node: &Node, changes: u32) -> Result<Vec<String>> {
    let mut row = vec![title.to_owned()];
    let replaced = (0..changes).map(|turn| node.replaced(api, turn)).collect::<Result<Vec<_>>>()?;
    let added = (0..changes).map(|turn| node.added(api, turn)).collect::<Result<Vec<_>>>()?;
    for samples in [replaced, added] {
        row.extend([50, 99].map(|percent| milliseconds(percentile(samples.clone(), percent))));
    }
    Ok(row)
}

fn cost_row(
    title: &str,
    api: &Api,
    candidate: &Candidate,
    services: u32,
    endpoints: u32,
    span: Duration,
) -> Result<Vec<String>> {
    let before = candidate.processor_time()?;
    api.churn(services, endpoints, span)?;
    let busy = candidate.processor_time()?.saturating_sub(before);
    let highest = candidate.highest_resident()?;
    // What is still on its way is not idleness.
    std::thread::sleep(Duration::from_secs(5));
    let before = candidate.processor_time()?;
    std::thread::sleep(span);
    let idle = candidate.processor_time()?.saturating_sub(before);
    let share = |time: Duration| format!("{:.2} %", 100.0 * time.as_secs_f64() / span.as_secs_f64());
    Ok(vec![title.to_owned(), share(busy), megabytes(highest), share(idle)])
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
