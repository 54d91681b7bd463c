//! `sluice check`: what this machine can do, found out by doing, and what would be lost without it.

use std::process::ExitCode;

use anyhow::Context;

use super::privileges;

/// Arguments of `sluice check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command. Exit code 1 when a cluster cannot run here.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    let mut usable = true;
    for check in pods::userns::probe().context("probing namespaces")? {
        match check.outcome {
            Ok(remark) => line(true, &check.name, &remark),
            Err(reason) => {
                line(false, &check.name, &reason);
                usable = false;
            }
        }
    }
    if usable {
        usable = kernel_features()?;
    }
    let cgroups = pods::cgroup::Hierarchy::detect();
    line(cgroups.limits_memory() && cgroups.limits_cpu(), "limits of containers", cgroups.describe());
    say!();
    if usable {
        say!("a cluster can run here: try `sluice demo`");
        return Ok(ExitCode::SUCCESS);
    }
    say!("a cluster cannot run here; what to do is said above");
    Ok(ExitCode::FAILURE)
}

/// nf_tables in a network namespace that vanishes with this process: the host's tables are not touched.
fn kernel_features() -> anyhow::Result<bool> {
    privileges::become_root()?;
    pods::namespace::enter_new_network().context("making a network namespace")?;
    let capabilities = dataplane::nftables::probe().context("opening nf_tables")?;
    let mut usable = true;
    for (index, feature) in capabilities.features.iter().enumerate() {
        match &feature.works {
            Ok(()) => line(true, feature.name, ""),
            Err(error) => {
                line(false, feature.name, &format!("{error}; without it: {}", feature.without));
                // The first is nf_tables itself; the others have their fallbacks.
                usable &= index != 0;
            }
        }
    }
    Ok(usable)
}

fn line(works: bool, name: &str, remark: &str) {
    let mark = if works { "yes" } else { "NO " };
    say!("{}", format!("{mark}  {name:<48} {remark}").trim_end());
}
