//! The lab as a whole: how long the program takes from its start to the first answer, what the cluster costs when
//! nothing happens, and what a service's address costs a client.
//!
//! Runs the `sluice` program as a user would and looks at its processes from outside. What it starts ends with it.

mod client;
mod cluster;
mod idle;
mod processes;
mod requests;
mod start;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

pub(crate) use client::{SUBCOMMAND as CLIENT, run as run_client};

use crate::measure::print_table;

/// Measures everything and prints one table.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let sluice = program(arguments)?;
    let mut rows = vec![size(&sluice)?];
    rows.extend(start::measure(&sluice)?);
    rows.extend(idle::measure(&sluice)?);
    print_table(&["what", "measured", "lowest to highest", "target"], &rows);
    println!();
    requests::measure(&sluice)
}

/// The program to measure: `--sluice PATH`, or the one beside this one.
fn program(arguments: &[String]) -> Result<PathBuf> {
    let path = match arguments {
        [] => std::env::current_exe()?.with_file_name("sluice"),
        [flag, path] if flag == "--sluice" => PathBuf::from(path),
        other => bail!("lab takes [--sluice PATH], not {}", other.join(" ")),
    };
    ensure!(path.is_file(), "there is no {}; build it: cargo build --release", path.display());
    std::path::absolute(&path).context("the program's path")
}

fn size(sluice: &Path) -> Result<Vec<String>> {
    let bytes = sluice.metadata().context("the program's size")?.len();
    Ok(row("size of the program", format!("{:.1} MB", bytes as f64 / 1e6), "", "25 MB"))
}

/// A row of the first table.
fn row(what: impl Into<String>, measured: String, range: impl Into<String>, target: &str) -> Vec<String> {
    vec![what.into(), measured, range.into(), target.into()]
}
