//! The plane against a real kernel: each test in a network namespace of its own, as root, or as an ordinary user in
//! a user namespace. Where namespaces are refused, or a program or feature is missing, a test is ignored and says why.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers of tests are tests too")]

mod namespace;
mod node;
mod objects;

mod affinity;
mod connections;
mod conntrack;
mod external;
mod listing;
mod load;
mod monitor;
mod priority;
mod property;
mod refused;
mod restart;
mod trace;
mod traffic;
mod udp;

use std::process::ExitCode;

fn main() -> ExitCode {
    testnet::harness::run(testnet::trials![
        affinity::a_client_comes_back_to_its_endpoint,
        affinity::clients_are_spread_and_forgotten_in_time,
        affinity::a_full_memory_still_balances,
        affinity::another_layout_keeps_the_memory,
        external::a_policy_decides_who_serves_whom,
        external::a_packet_between_two_policies_is_served,
        external::source_ranges_bind_load_balancers_only,
        external::filter_chains_refuse_where_nat_chains_cannot,
        external::cluster_ips_are_masqueraded_as_told,
        external::endpoints_reach_themselves_by_every_address,
        connections::each_connection_counts_once,
        connections::counts_outlive_endpoints_and_processes,
        listing::nft_lists_the_table,
        load::a_load_beyond_the_send_buffer_goes_in_several,
        load::another_layout_is_replaced_in_one_transaction,
        load::a_sticky_service_beyond_the_send_buffer_blocks_no_other,
        load::one_change_among_many_is_small,
        load::a_load_that_ends_anywhere_leaves_no_half_service,
        refused::one_bad_service_blocks_no_other,
        refused::a_bad_change_keeps_what_was_there,
        refused::one_bad_member_of_a_set_blocks_no_other,
        refused::many_bad_services_end_in_time,
        refused::a_refused_table_is_an_error,
        property::what_is_read_back_is_what_was_wanted,
        restart::adopts_what_a_process_left,
        restart::a_second_owner_is_refused,
        restart::an_owned_table_keeps_no_other_from_being_removed,
        restart::repairs_what_somebody_changed,
        restart::touches_no_other_table,
        restart::the_probe_says_what_works,
        restart::a_restart_under_load_loses_nothing,
        trace::a_packet_is_followed_to_its_endpoint,
        trace::a_refused_packet_shows_where_it_ended,
        trace::elements_are_shown_as_nft_would,
        monitor::edits_by_others_are_noticed_and_repaired,
        monitor::an_edit_that_keeps_the_comments_is_repaired,
        monitor::our_own_transactions_and_others_tables_are_no_edits,
        monitor::a_rival_is_called_one_and_does_not_keep_us_busy,
        priority::no_number_is_left_in_a_packets_priority,
        traffic::connections_reach_every_endpoint_and_come_back,
        traffic::refuses_at_once_and_drops_silently,
        traffic::nothing_for_the_service_subnet_leaves_the_node,
        traffic::a_pod_reaches_itself,
        traffic::dns_is_answered_here_untracked_or_forwarded,
        traffic::established_connections_outlive_changes,
        traffic::no_miss_while_endpoints_come_and_go,
        conntrack::both_families_are_filtered_and_cut,
        conntrack::tcp_flows_outlive_a_sweep,
        conntrack::a_large_table_is_swept_within_a_second,
        conntrack::programming_does_not_wait_for_sweeps,
        udp::a_client_with_a_fixed_port_follows_the_endpoints,
        udp::flows_to_every_kind_of_frontend_are_cut,
        udp::stale_flows_are_known_after_a_failure,
        udp::the_sweeper_works_beside_the_syncs,
    ])
}
