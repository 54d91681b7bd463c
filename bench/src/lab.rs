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

/// What a run measures unless told otherwise.
const PARTS: [&str; 3] = ["start", "idle", "requests"];

/// Measures the parts that are asked for and prints their tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (sluice, parts) = read(arguments)?;
    let asked = |part: &str| parts.iter().any(|asked| asked == part);
    let mut rows = vec![size(&sluice)?];
    if asked("start") {
        rows.extend(start::measure(&sluice)?);
    }
    if asked("idle") {
        rows.extend(idle::measure(&sluice)?);
    }
    print_table(&["what", "measured", "range or parts", "target"], &rows);
    if asked("requests") {
        println!();
        requests::measure(&sluice)?;
    }
    Ok(())
}

/// The program to measure, `--sluice PATH` or the one beside this one, and the parts.
fn read(arguments: &[String]) -> Result<(PathBuf, Vec<String>)> {
    let mut path = std::env::current_exe()?.with_file_name("sluice");
    let mut parts = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--sluice" => path = arguments.next().context("--sluice takes a path")?.into(),
            part if PARTS.contains(&part) => parts.push(part.to_owned()),
            other => bail!("lab takes {} and --sluice PATH, not {other}", PARTS.join(", ")),
        }
    }
    if parts.is_empty() {
        parts = PARTS.map(str::to_owned).into();
    }
    ensure!(path.is_file(), "there is no {}; build it: cargo build --release", path.display());
    Ok((std::path::absolute(&path).context("the program's path")?, parts))
}

fn size(sluice: &Path) -> Result<Vec<String>> {
    let bytes = sluice.metadata().context("the program's size")?.len();
    Ok(row("size of the program", format!("{:.1} MB", bytes as f64 / 1e6), "", "25 MB"))
}

/// A row of the first table.
fn row(what: impl Into<String>, measured: String, range: impl Into<String>, target: &str) -> Vec<String> {
    vec![what.into(), measured, range.into(), target.into()]
}
