//! What `nft` of the system prints of our table: readable, and never an abort.

use testnet::harness::skip;

use crate::namespace::{isolated, output};
use crate::objects::{Proxy, facts};

/// As nft 1.0.6 (Debian 12) prints it; later ones differ in details of layout only.
const EXPECTED: &str = include_str!("listing.nft");

pub(crate) fn nft_lists_the_table() {
    isolated("listing::nft_lists_the_table", || {
        let mut proxy = Proxy::open();
        proxy.table = dataplane::forwarding_table::ForwardingTable::new(
            facts().answering_dns("10.96.0.10".parse().unwrap()),
        );
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2", "10.244.2.2", "10.244.2.3"]);
        proxy.service("empty", "10.96.1.2", 80);
        proxy.sync();
        proxy.assert_in_sync();
        let Some(listing) = output("nft", &["list", "ruleset"]) else {
            skip("nft is not installed");
        };
        let version = output("nft", &["--version"]).unwrap_or_default();
        if version.contains("v1.0.6") {
            assert_eq!(sorted_elements(&listing), sorted_elements(EXPECTED), "{listing}");
        }
        for text in ["chain n3", "10.244.2.3 . 9898", "default/web:tcp"] {
            assert!(listing.contains(text), "{text}:\n{listing}");
        }
    });
}

/// Elements come in the order of the kernel's hash: lines are compared as a set, without commas, brackets and the
/// owner's name that nft appends as a comment.
fn sorted_elements(listing: &str) -> Vec<String> {
    let mut lines: Vec<String> = listing.lines().map(clean).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

fn clean(line: &str) -> String {
    let line = line.split(" #").next().unwrap_or_default().trim();
    line.trim_start_matches("elements = {").trim_matches([' ', ',', '}']).to_owned()
}
