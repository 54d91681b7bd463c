//! Measures Sluice on this machine and prints the figures as Markdown tables. Never touches the host's own
//! namespaces: what needs a kernel's tables makes a network namespace of its own.
//!
//! `cargo run --release -p bench -- lab`, `… -- kernel-load`, `… -- connections`, `… -- conntrack`,
//! `… -- dns`, `… -- memory`

#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

mod connections;
mod conntrack;
mod dns;
mod kernel_load;
mod lab;
mod measure;
mod model;
mod namespace;
mod node;
mod objects;
mod proxy;

use anyhow::{Result, bail};

/// What can be measured, with a line on each.
const BENCHES: &[(&str, &str)] = &[
    (
        "lab",
        "the program as a whole: start, idle cost, size, requests through a service's address; [--sluice PATH]",
    ),
    ("kernel-load", "1,000 to 50,000 services × 5 endpoints into nftables, and one more change; [memory]"),
    (
        "dns",
        "the DNS server against a bare echo and other servers; [load|latency|answer|memory|objects|forwarded|freshness|beyond] [--sizes 100,10000] …",
    ),
    (
        "connections",
        "new connections through a service's address against direct ones, with 1 to 50,000 services; [--kube-proxy PATH]",
    ),
    (
        "memory",
        "of the Service model by structure, and of proxy, agent and DNS as processes; [model|processes] …",
    ),
    ("conntrack", "sweeps of UDP flows: 200,000 real ones, syncs beside them, a stream of 7,000,000"),
    ("proxy", "`sluice proxy` against kube-proxy with the same objects from a real API; --peers DIR …"),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("lab") => lab::run(rest),
        Some(lab::CLIENT) => lab::run_client(rest),
        Some("kernel-load") if rest == ["memory"] => kernel_load::memory(10_000, 2),
        Some("kernel-load") => kernel_load::run(),
        Some("dns") => dns::run(rest),
        Some("connections") => connections::run(rest),
        Some("conntrack") => conntrack::run(),
        Some("memory") => memory(rest),
        Some("proxy") => proxy::run(rest),
        other => {
            let list: String = BENCHES.iter().map(|(name, what)| format!("\n  {name:<14} {what}")).collect();
            bail!("{} is no benchmark; there are:{list}", other.unwrap_or("nothing"))
        }
    }
}

fn memory(arguments: &[String]) -> Result<()> {
    match arguments.first().map(String::as_str) {
        Some("model") => model::run(),
        Some("processes") => proxy::memory::run(&arguments[1..]),
        _ => {
            model::run()?;
            proxy::memory::run(arguments)
        }
    }
}
