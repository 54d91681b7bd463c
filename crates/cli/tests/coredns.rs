//! `sluice dns` in CoreDNS's place, and the agent's DNS half: the real binary against a real API server, both in a network
//! namespace that the trial makes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows why"
)]

#[path = "verbs/cluster.rs"]
mod cluster;
#[path = "proxy/node.rs"]
#[allow(dead_code, reason = "the proxy's trials use the rest")]
mod node;
#[path = "coredns/program.rs"]
mod program;
#[path = "coredns/served.rs"]
mod served;

use std::process::ExitCode;

fn main() -> ExitCode {
    testnet::harness::run(testnet::trials![
        served::kubeadms_corefile_serves_with_coredns_flags,
        served::a_changed_file_is_taken_up_and_a_broken_one_is_not,
        served::what_is_not_served_is_refused_by_name,
        served::pods_are_verified_and_objects_selected,
        served::the_agent_follows_the_config_map,
    ])
}
