//! Memory of the zone, by what the process holds before and after, and the most that it held while everything is listed
//! again.

use std::sync::Arc;

use anyhow::{Context, Result};
use dns::zone::{Zone, ZoneConfig};

use super::names::Cluster;

/// Builds the zone, then applies every object a second time, as after a lost watch, and prints what each took.
pub(crate) fn run(cluster: Cluster) -> Result<()> {
    let model = cluster.model()?;
    let before = resident_kb()?;
    let config = Arc::new(ZoneConfig::cluster("cluster.local")?);
    let _zone = Arc::new(Zone::build(config, &model.snapshot(), 1));
    let built = resident_kb()?;
    println!("model of {cluster:?}: {before} kB; zone: {} kB", built - before);
    Ok(())
}

fn resident_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
