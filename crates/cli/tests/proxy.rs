//! `sluice proxy` in kube-proxy's place: the real binary against a real API server, both in a network namespace that the
//! trial makes. Nothing is sent to a Service; what packets do is for the scenarios.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows why"
)]

#[path = "verbs/cluster.rs"]
mod cluster;
#[path = "proxy/node.rs"]
mod node;
#[path = "proxy/told.rs"]
mod told;

use std::process::ExitCode;

fn main() -> ExitCode {
    testnet::harness::run(testnet::trials![
        told::health_and_metrics_are_those_of_kube_proxy,
        told::a_service_is_checked_on_its_health_check_port,
        told::a_port_that_is_taken_is_told_by_an_event,
        told::node_and_subnets_are_followed,
        told::what_another_proxy_forwards_is_left_alone,
        told::a_least_period_between_syncs_is_kept,
        told::clean_up_removes_the_rules_and_nothing_else,
        told::an_edited_configuration_ends_the_program,
    ])
}
