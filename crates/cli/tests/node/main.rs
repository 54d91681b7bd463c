//! `sluice proxy` in kube-proxy's place, `sluice dns` in CoreDNS's, and the agent that is both: the real binary against an
//! API server, both in a network namespace that the trial makes. Nothing is sent to a Service but by the node to itself; what
//! packets do is for the scenarios.
//!
//! `deployed` takes the real etcd and kube-apiserver, from the folder that `SLUICE_PEERS` names or from `target/peers`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows why"
)]

#[path = "../verbs/cluster.rs"]
mod cluster;
mod deployed;
mod dns;
mod fallback;
mod handover;
mod program;
mod proxy;
mod site;

use std::process::ExitCode;

fn main() -> ExitCode {
    testnet::harness::run(testnet::trials![
        proxy::health_and_metrics_are_those_of_kube_proxy,
        proxy::a_service_is_checked_on_its_health_check_port,
        proxy::a_port_that_is_taken_is_told_by_an_event,
        proxy::node_and_subnets_are_followed,
        proxy::what_another_proxy_forwards_is_left_alone,
        proxy::a_least_period_between_syncs_is_kept,
        proxy::clean_up_removes_the_rules_and_nothing_else,
        proxy::an_edited_configuration_ends_the_program,
        dns::kubeadms_corefile_serves_with_coredns_flags,
        dns::a_changed_file_is_taken_up_and_a_broken_one_is_not,
        dns::what_is_not_served_is_refused_by_name,
        dns::pods_are_verified_and_objects_selected,
        dns::the_agent_follows_the_config_map,
        dns::who_asks_what_can_be_watched,
        handover::a_program_takes_over_without_a_lost_query,
        handover::a_killed_program_loses_only_what_it_had_received,
        handover::an_agent_takes_over_without_a_lost_query,
        fallback::a_killed_agents_queries_go_to_another_node,
        fallback::a_stopped_agents_queries_go_to_another_node,
        deployed::the_agent_may_do_what_it_does,
        deployed::the_proxy_may_do_what_it_does,
        deployed::dns_may_do_what_it_does_as_coredns,
        deployed::an_api_that_does_not_stream_lists_is_read_in_pages,
    ])
}
