//! How long the kernel takes to learn many services, and one more change: from objects to committed transaction.

use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::nftables::cleanup;
use dataplane::reconcile::Synced;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use services::{Model, ServiceName};

use crate::measure::{median, milliseconds, percentile, print_table, time};
use crate::namespace;
use crate::node::Node;
use crate::objects::{name, service, slice};

/// Services, and endpoints of each.
const SIZES: [(u32, u32); 6] = [(1_000, 5), (10_000, 2), (10_000, 5), (50_000, 2), (50_000, 5), (8_000, 30)];
/// Cold loads of each size.
const LOADS: usize = 3;
/// Changes of each kind.
const CHANGES: u32 = 200;

/// What the process holds of its own, in kB, after each step of a cold load.
pub(crate) fn memory(size: u32, endpoints: u32) -> Result<()> {
    namespace::enter()?;
    let mut node = Node::open()?;
    let mut steps = vec![("at the start", own_kb()?)];
    for number in 0..size {
        node.model.apply_service(&service(number))?;
        node.model.apply_slice(&slice(number, endpoints, 0))?;
    }
    steps.push(("model", own_kb()?));
    let changes = node.model.take_changes();
    let touched = node.table.update(&node.model.snapshot(), &changes);
    drop(changes);
    steps.push(("forwarding table", own_kb()?));
    node.reconciler.sync(&node.table, &touched)?;
    steps.push(("kernel", own_kb()?));
    drop(touched);
    steps.push(("changes freed", own_kb()?));
    let rows: Vec<Vec<String>> = steps
        .windows(2)
        .map(|pair| vec![pair[1].0.to_owned(), format!("{:.1} MB", (pair[1].1 - pair[0].1) as f64 / 1000.0)])
        .collect();
    println!("Growth of the process's own memory, {size} × {endpoints}:\n");
    print_table(&["after", "grown by"], &rows);
    Ok(())
}

fn own_kb() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Loads each size several times, then changes the loaded table, and prints both.
pub(crate) fn run() -> Result<()> {
    namespace::enter()?;
    let (mut loads, mut changes) = (Vec::new(), Vec::new());
    for (size, endpoints) in SIZES {
        let (load, change) = measure(size, endpoints)?;
        loads.push(load);
        changes.push(change);
    }
    println!("Cold load, medians of {LOADS}:\n");
    print_table(
        &["services × endpoints", "model and table", "kernel", "together", "transactions", "longest", "sent"],
        &loads,
    );
    println!(
        "\nOne change with that many present, from object to committed transaction, median and 99th percentile of {CHANGES}:\n"
    );
    print_table(
        &[
            "services × endpoints",
            "service added",
            "endpoint added (count changes)",
            "endpoint replaced",
            "service removed",
        ],
        &changes,
    );
    Ok(())
}

fn measure(size: u32, endpoints: u32) -> Result<(Vec<String>, Vec<String>)> {
    let objects: Vec<_> = (0..size).map(|number| (service(number), slice(number, endpoints, 0))).collect();
    let mut samples = Vec::new();
    let mut node = None;
    for _ in 0..LOADS {
        drop(node.take());
        cleanup().context("removing the table between loads")?;
        let mut fresh = Node::open()?;
        samples.push(fresh.load(&objects)?);
        node = Some(fresh);
    }
    let mut node = node.context("at least one load")?;
    let title = format!("{size} × {endpoints}");
    Ok((load_row(title.clone(), &samples), node.change_row(title, size, endpoints)?))
}

fn load_row(title: String, samples: &[Load]) -> Vec<String> {
    let column = |part: fn(&Load) -> Duration| milliseconds(median(samples.iter().map(part).collect()));
    vec![
        title,
        column(|load| load.table),
        column(|load| load.kernel),
        column(|load| load.table + load.kernel),
        samples[0].transactions.to_string(),
        column(|load| load.longest),
        format!("{:.1} MB", samples[0].bytes as f64 / 1e6),
    ]
}

struct Load {
    table: Duration,
    kernel: Duration,
    transactions: u32,
    longest: Duration,
    bytes: usize,
}

impl Node {
    fn load(&mut self, objects: &[(core::Service, discovery::EndpointSlice)]) -> Result<Load> {
        let (touched, table) = time(|| {
            for (service, slice) in objects {
                self.model.apply_service(service)?;
                self.model.apply_slice(slice)?;
            }
            let changes = self.model.take_changes();
            anyhow::Ok(self.table.update(&self.model.snapshot(), &changes))
        });
        let touched = touched?;
        let (synced, kernel) = time(|| self.reconciler.sync(&self.table, &touched));
        let synced = synced?;
        let Synced { transactions, longest, bytes, .. } = synced;
        Ok(Load { table, kernel, transactions, longest, bytes })
    }

    fn change_row(&mut self, title: String, size: u32, endpoints: u32) -> Result<Vec<String>> {
        let mut row = vec![title];
        row.push(self.changes(|model, turn| {
            model.apply_service(&service(size + turn))?;
            Ok(model.apply_slice(&slice(size + turn, endpoints, 0))?)
        })?);
        row.push(self.changes(|model, turn| Ok(model.apply_slice(&slice(turn, endpoints + 1, 0))?))?);
        row.push(self.changes(|model, turn| Ok(model.apply_slice(&slice(turn, endpoints + 1, 1))?))?);
        row.push(self.changes(|model, turn| {
            let name = ServiceName::new("default", name(size + turn));
            model.delete_service(&name);
            model.delete_slice(&name);
            Ok(())
        })?);
        Ok(row)
    }

    fn changes(&mut self, mut change: impl FnMut(&mut Model, u32) -> Result<()>) -> Result<String> {
        let mut samples = Vec::new();
        for turn in 0..CHANGES {
            let (result, duration) = time(|| {
                change(&mut self.model, turn)?;
                self.sync()
            });
            // The first change to a new number of endpoints makes a chain, in a transaction before.
            anyhow::ensure!((1..=2).contains(&result?.transactions), "a change is one transaction");
            samples.push(duration);
        }
        Ok(format!("{}, {}", milliseconds(median(samples.clone())), milliseconds(percentile(samples, 99))))
    }
}
