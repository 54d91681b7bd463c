//! Measures Sluice on this machine and prints the figures as Markdown tables. Never touches the host's own
//! namespaces: what needs a kernel's tables makes a network namespace of its own.
//!
//! `cargo run --release -p bench -- kernel-load`

#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

mod kernel_load;
mod measure;
mod namespace;

use anyhow::{Result, bail};

/// What can be measured, with a line on each.
const BENCHES: &[(&str, &str)] =
    &[("kernel-load", "1,000 and 10,000 services × 5 endpoints into nftables, and one more change")];

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("kernel-load") => kernel_load::run(),
        other => {
            let list: String = BENCHES.iter().map(|(name, what)| format!("\n  {name:<14} {what}")).collect();
            bail!("{} is no benchmark; there are:{list}", other.unwrap_or("nothing"))
        }
    }
}
