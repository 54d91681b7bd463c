//! `sluice cleanup`: removes what a killed cluster left behind, and the tables of an agent that ran in this namespace.
//! Clusters that run are left alone.

use std::process::ExitCode;

use anyhow::Context;

use super::cluster::runtime_dir;

/// Arguments of `sluice cleanup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also remove Sluice's tables from this network namespace's nf_tables (an agent leaves them, so that its restart loses nothing)
    #[arg(long)]
    rules: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = runtime_dir::root();
    let removed = runtime_dir::remove_dead(&root)?;
    for path in &removed {
        say!("removed {}", path.display());
    }
    let mut something = !removed.is_empty();
    if args.rules && dataplane::nftables::cleanup().context("removing our tables")? {
        say!("removed Sluice's tables");
        something = true;
    }
    let groups = pods::cgroup::remove_stale(&pods::cgroup::Hierarchy::detect());
    if groups > 0 {
        say!("removed {groups} control group(s) of containers");
        something = true;
    }
    if !something {
        say!("nothing to remove");
    }
    let running = runtime_dir::running(&root).len();
    if running > 0 {
        say!("{running} running cluster(s) left alone");
    }
    Ok(ExitCode::SUCCESS)
}
