//! Compares Sluice with kube-proxy: what a real one did with real packets, recorded in `tests/oracle/`, for hundreds of sets
//! of objects on nodes that are configured in some ways, and for every scenario.
//!
//! ```text
//! cargo test -p testnet --test kube_proxy                                      # Sluice against the recordings
//! KUBE_PROXY=/path/to/kube-proxy cargo test -p testnet --test kube_proxy       # kube-proxy against the recordings
//! UPDATE=1 KUBE_PROXY=… cargo test -p testnet --test kube_proxy                # records anew
//! ORACLE_SET=17 cargo test -p testnet --test kube_proxy                        # one set, its objects are shown
//! ORACLE_EVERY=1 cargo test -p testnet --test kube_proxy                       # every set in the kernel, not only some
//! ```
//!
//! Where the answers differ, one of the reasons in a function `deliberate` must hold: there is one for sets, and one for
//! scenarios.
//!
//! Not seen here, because both count as `reject`: Sluice refuses TCP by a reset, at once and as often as it is asked; kube-proxy
//! by ICMP, which the kernel limits to one a second after the first six.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod by_hand;
mod changes;
mod scenarios;
mod sets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use testnet::harness::{self, Outcome};

fn main() -> ExitCode {
    if let Err(error) = pods::userns::enter() {
        eprintln!("no user namespace: {error}");
    }
    let trials = [sets::trials(), changes::trials(), scenarios::trials(), by_hand::trials()];
    harness::run(trials.into_iter().flatten().collect())
}

fn done(differences: Vec<String>) -> Outcome {
    if differences.is_empty() {
        return Outcome::Passed;
    }
    let shown = differences.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
    Outcome::Failed(format!("{} differences:\n{shown}", differences.len()))
}

/// The kube-proxy to ask.
fn program() -> PathBuf {
    let Some(program) = std::env::var_os("KUBE_PROXY") else {
        harness::skip("set KUBE_PROXY to a kube-proxy to compare it with the recordings");
    };
    program.into()
}

/// True when recordings are made anew.
fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/oracle/{name}.txt"))
}
