//! Memory of the Service model: what the allocator has handed out for it, by size of cluster.

use anyhow::Result;
use nix::libc;
use services::{Detail, Model};

use crate::dns::Cluster;
use crate::measure::print_table;

/// Services × endpoints.
const SIZES: [(u32, u32); 4] = [(10_000, 0), (10_000, 2), (10_000, 18), (8_200, 18)];

/// Prints a table, and what one more endpoint and one more Service take.
pub(crate) fn run() -> Result<()> {
    let mut rows = Vec::new();
    for (title, detail) in
        [("everything", Detail::default()), ("for DNS alone", Detail { placement: false, pods: false })]
    {
        let mut taken = Vec::new();
        for (services, endpoints) in SIZES {
            let cluster = Cluster { services, endpoints };
            let before = allocated();
            let model = cluster.fill(Model::keeping(detail))?;
            let bytes = allocated().saturating_sub(before);
            drop(model);
            taken.push(bytes);
            rows.push(vec![
                format!("{services} × {endpoints}, {title}"),
                format!("{:.2} MB", bytes as f64 / 1e6),
            ]);
        }
        let each = |bytes: usize, count: u32| format!("{:.1} bytes", bytes as f64 / f64::from(count));
        rows.push(vec![format!("a Service with a slice, {title}"), each(taken[0], 10_000)]);
        let endpoints = taken[2].saturating_sub(taken[1]);
        rows.push(vec![format!("an endpoint more, {title}"), each(endpoints, 160_000)]);
    }
    println!("The Service model, as the allocator counts it:\n");
    print_table(&["services × endpoints", "memory"], &rows);
    Ok(())
}

/// Bytes that are handed out by the C library.
#[allow(unsafe_code, reason = "the allocator's counters have no safe call")]
fn allocated() -> usize {
    // SAFETY: mallinfo2(3) takes nothing and returns numbers.
    let counters = unsafe { libc::mallinfo2() };
    counters.uordblks + counters.hblkhd
}
