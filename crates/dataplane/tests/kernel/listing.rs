//! What `nft` of the system prints of our table: readable, and never an abort.

use serde_json::json;
use testnet::harness::skip;

use crate::namespace::{isolated, output};
use crate::objects::{Proxy, apply, dual_stack_facts};

/// As nft 1.0.6 (Debian 12) prints it; later ones differ in details of layout only.
const EXPECTED: &str = include_str!("listing.nft");

pub(crate) fn nft_lists_the_table() {
    isolated("listing::nft_lists_the_table", || {
        let mut proxy = Proxy::with_facts(dual_stack_facts().answering_dns("10.96.0.10".parse().unwrap()));
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2", "10.244.2.2", "10.244.2.3"]);
        proxy.service("empty", "10.96.1.2", 80);
        apply(
            &mut proxy,
            "shop",
            &json!({
                "type": "LoadBalancer",
                "clusterIPs": ["10.96.1.3", "fd00:96::3"],
                "loadBalancerSourceRanges": ["192.0.2.0/24", "203.0.113.7/32", "2001:db8::/32"],
                "externalTrafficPolicy": "Local",
                "ports": [{"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": 30080},
                          {"name": "sctp", "port": 81, "protocol": "SCTP", "nodePort": 30081}],
            }),
            &["198.51.100.7", "2001:db8:100::7"],
        );
        proxy.endpoints_of_both("shop", &["10.244.1.9", "10.244.2.9", "fd00:244:1::9"].map(str::to_owned));
        apply(
            &mut proxy,
            "long",
            &json!({
                "clusterIPs": ["10.96.1.4"],
                "externalIPs": ["198.51.100.8"],
                "ports": [{"name": "p".repeat(63), "port": 80}],
            }),
            &[],
        );
        apply(
            &mut proxy,
            "sticky",
            &json!({
                "type": "LoadBalancer",
                "clusterIPs": ["10.96.1.5", "fd00:96::5"],
                "externalTrafficPolicy": "Local",
                "sessionAffinity": "ClientIP",
                "ports": [{"name": "tcp", "port": 80}],
            }),
            &["198.51.100.9"],
        );
        proxy.endpoints_of_both("sticky", &["10.244.1.9", "10.244.2.9", "fd00:244:1::9"].map(str::to_owned));
        proxy.sync();
        proxy.assert_in_sync();
        let Some(listing) = output("nft", &["list", "ruleset"]) else {
            skip("nft is not installed");
        };
        if let Some(file) = std::env::var_os("SLUICE_TEST_LISTING") {
            std::fs::write(file, &listing).unwrap();
        }
        let version = output("nft", &["--version"]).unwrap_or_default();
        if version.contains("v1.0.6") {
            assert_eq!(sorted_elements(&listing), sorted_elements(EXPECTED), "{listing}");
        }
        for text in ["chain n3", "10.244.2.3 . 9898", "default/web:tcp"] {
            assert!(listing.contains(text), "{text}:\n{listing}");
        }
    });
}

/// Elements come in the order of the kernel's hash: lines are cut at commas and compared as a set, without commas, brackets and the
/// owner's name that nft appends as a comment.
fn sorted_elements(listing: &str) -> Vec<String> {
    let parts = listing.lines().flat_map(|line| line.split(", ")).map(clean);
    let mut lines: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    lines.sort();
    lines
}

fn clean(line: &str) -> String {
    let line = line.split(" #").next().unwrap_or_default().trim();
    line.trim_start_matches("elements = {").trim_matches([' ', ',', '}']).to_owned()
}
