//! Memory of the Service model and of the zone made from it: what the allocator has handed out, by size of cluster.

use std::sync::Arc;

use anyhow::Result;
use dns::zone::{Zone, ZoneConfig};
use nix::libc;
use services::{Detail, Model};

use crate::dns::Cluster;
use crate::measure::print_table;

/// Services × endpoints.
const SIZES: [(u32, u32); 4] = [(10_000, 0), (10_000, 2), (10_000, 18), (8_200, 18)];

/// Prints a table, and what one more endpoint and one more Service take.
pub(crate) fn run() -> Result<()> {
    let dns = Detail { placement: false, pods: false };
    let config = Arc::new(ZoneConfig::cluster("cluster.local")?);
    let all = sizes(|cluster| taken(|| cluster.fill(Model::new())))?;
    let alone = sizes(|cluster| taken(|| cluster.fill(Model::keeping(dns))))?;
    let zone = sizes(|cluster| {
        let model = cluster.fill(Model::keeping(dns))?;
        taken(|| Ok(Zone::build(Arc::clone(&config), &model.snapshot(), 1)))
    })?;
    let mut rows = Vec::new();
    for (index, (services, endpoints)) in SIZES.into_iter().enumerate() {
        let cell = |taken: &[usize]| format!("{:.2} MB", taken[index] as f64 / 1e6);
        rows.push(vec![format!("{services} × {endpoints}"), cell(&all), cell(&alone), cell(&zone)]);
    }
    let each = |bytes: usize, count: u32| format!("{:.1} bytes", bytes as f64 / f64::from(count));
    let columns = [&all, &alone, &zone];
    let service = columns.map(|taken| each(taken[0], SIZES[0].0));
    let endpoint = columns.map(|taken| each(taken[2].saturating_sub(taken[1]), SIZES[0].0 * 16));
    rows.push([vec!["a Service with a slice".to_owned()], service.to_vec()].concat());
    rows.push([vec!["an endpoint more".to_owned()], endpoint.to_vec()].concat());
    println!("As the allocator counts it:\n");
    print_table(
        &["services × endpoints", "the model", "the model for DNS alone", "the zone beside it"],
        &rows,
    );
    Ok(())
}

/// What a thing takes for each size.
fn sizes(measure: impl Fn(Cluster) -> Result<usize>) -> Result<Vec<usize>> {
    SIZES.into_iter().map(|(services, endpoints)| measure(Cluster { services, endpoints })).collect()
}

/// What the allocator has handed out for this.
fn taken<T>(make: impl FnOnce() -> Result<T>) -> Result<usize> {
    let before = allocated();
    let _made = make()?;
    Ok(allocated().saturating_sub(before))
}

/// Bytes that are handed out by the C library.
#[allow(unsafe_code, reason = "the allocator's counters have no safe call")]
fn allocated() -> usize {
    // SAFETY: mallinfo2(3) takes nothing and returns numbers.
    let counters = unsafe { libc::mallinfo2() };
    counters.uordblks + counters.hblkhd
}
