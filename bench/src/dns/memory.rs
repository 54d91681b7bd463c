//! Memory of the zone, by what the process holds before and after, and the most that it held while every object was
//! applied again, as after a lost watch.

use std::sync::Arc;

use anyhow::{Context, Result};
use dns::zone::{Zone, ZoneConfig};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use services::Model;

use super::names::Cluster;

/// Objects between two zones when everything is listed again: what a burst of watch events brings at most.
const BURST: u32 = 4096;

/// Builds the zone, lists everything again, once as it was and once with every Service's ports changed, and prints what
/// each took.
pub(crate) fn run(cluster: Cluster) -> Result<()> {
    let (model_kb, mut model) = grown(|| cluster.model())?;
    let config = Arc::new(ZoneConfig::cluster("cluster.local")?);
    let (zone_kb, mut zone) = grown(|| Ok(Arc::new(Zone::build(config, &model.snapshot(), 1))))?;
    model.take_changes();
    println!("\n{} Services × {} endpoints", cluster.services, cluster.endpoints);
    println!("the model: {model_kb} kB; the zone beside it: {zone_kb} kB");
    for port in [80, 81] {
        let steady = read_kb("VmRSS")?;
        std::fs::write("/proc/self/clear_refs", "5").context("resetting the peak")?;
        for first in (0..cluster.services).step_by(BURST as usize) {
            list_again(cluster, &mut model, first..cluster.services.min(first + BURST), port)?;
            zone = Arc::new(zone.update(&model.snapshot(), &model.take_changes(), 2));
        }
        let peak = read_kb("VmHWM")?;
        println!(
            "listed again with port {port}: {steady} kB before, {peak} kB at most: {:.2}",
            peak as f64 / steady as f64
        );
    }
    Ok(())
}

fn list_again(cluster: Cluster, model: &mut Model, numbers: std::ops::Range<u32>, port: u16) -> Result<()> {
    for number in numbers {
        let (mut service, slice) = cluster.objects(number);
        service["spec"]["ports"][0]["port"] = port.into();
        model.apply_service(&serde_json::from_value::<Service>(service)?)?;
        model.apply_slice(&serde_json::from_value::<EndpointSlice>(slice)?)?;
    }
    Ok(())
}

/// What the process grew by, in kB, while this was made.
fn grown<T>(make: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let before = read_kb("VmRSS")?;
    let made = make()?;
    Ok((read_kb("VmRSS")?.saturating_sub(before), made))
}

fn read_kb(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.context("no such field")?.trim().trim_end_matches(" kB").parse()?)
}
