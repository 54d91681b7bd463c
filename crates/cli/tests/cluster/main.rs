//! The program as its users run it: `demo` and `up` as root and as an ordinary user, the lab with real kubectl, faults,
//! bad input, and that nothing is left afterwards. Needs namespaces; what cannot run here is shown and counted as ignored.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program")]

mod demo;
mod faults;
mod kubectl;
mod lifecycle;
mod program;
mod trace;
mod workloads;

use std::process::ExitCode;

use testnet::harness::{self, Trial};

fn main() -> ExitCode {
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(demo::trials());
    trials.extend(kubectl::trials());
    trials.extend(lifecycle::trials());
    trials.extend(workloads::trials());
    trials.extend(faults::trials());
    trials.extend(trace::trials());
    harness::run(trials)
}
