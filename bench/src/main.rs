//! Measures Sluice on this machine and prints the figures as Markdown tables. Never touches the host's own
//! namespaces: what needs a kernel's tables makes a network namespace of its own.
//!
//! `cargo run --release -p bench -- kernel-load`, `… -- connections`

#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

mod connections;
mod kernel_load;
mod measure;
mod namespace;
mod objects;

use anyhow::{Result, bail};

/// What can be measured, with a line on each.
const BENCHES: &[(&str, &str)] = &[
    ("kernel-load", "1,000 and 10,000 services × 5 endpoints into nftables, and one more change"),
    (
        "connections",
        "new connections through a service's address against direct ones, with 1 to 10,000 services",
    ),
];

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("kernel-load") => kernel_load::run(),
        Some("connections") => connections::run(),
        other => {
            let list: String = BENCHES.iter().map(|(name, what)| format!("\n  {name:<14} {what}")).collect();
            bail!("{} is no benchmark; there are:{list}", other.unwrap_or("nothing"))
        }
    }
}
