//! A new process takes over, repairs, replaces; others' tables stay as they are.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use dataplane::forwarding_table::ForwardingTable;
use dataplane::nftables::{cleanup, probe};
use dataplane::reconcile::{Reconciler, Synced, dump};
use serde_json::json;
use testnet::harness::skip;

use crate::namespace::{isolated, output};
use crate::objects::{Proxy, apply, dual_stack_facts, web};

/// Whether `nft` takes the script. Without one the test cannot run.
pub(crate) fn nft(script: &str) -> bool {
    let Ok(mut child) = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn() else {
        skip("nft is not installed");
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

fn two_services() -> Proxy {
    two_services_of(Proxy::open())
}

fn two_services_of(mut proxy: Proxy) -> Proxy {
    proxy.service("web", "10.96.1.1", 80);
    proxy.endpoints("web", &["10.244.1.2", "10.244.2.2", "10.244.2.3"]);
    proxy.service("empty", "10.96.1.2", 80);
    proxy
}

pub(crate) fn adopts_what_a_process_left() {
    isolated("restart::adopts_what_a_process_left", || {
        let mut first = two_services();
        let synced = first.sync();
        assert_eq!(synced.transactions, 1);
        // Numbers that a fresh table would give otherwise: the last endpoint has moved into a hole.
        first.endpoints("web", &["10.244.2.2", "10.244.2.3"]);
        first.sync();
        assert_eq!(first.sync(), Synced::default(), "a second sync sends nothing");
        let Proxy { model, table, reconciler } = first;
        drop(reconciler);
        let mut second = Proxy { model, table, reconciler: Reconciler::open().unwrap() };
        second.table = ForwardingTable::build(second.table.facts().clone(), &second.model.snapshot());
        assert_eq!(second.sync(), Synced::default(), "nothing changed, nothing is sent");
        second.assert_in_sync();
        second.endpoints("web", &["10.244.2.3"]);
        second.delete("empty");
        assert_eq!(second.sync().transactions, 1);
        second.assert_in_sync();
    });
}

pub(crate) fn a_second_owner_is_refused() {
    isolated("restart::a_second_owner_is_refused", || {
        let mut first = two_services();
        first.sync();
        if !first.reconciler.is_owner() {
            skip("this kernel has no owned tables");
        }
        let mut second = Reconciler::open().unwrap();
        let error = second.sync(&first.table, &Default::default()).unwrap_err();
        assert!(error.to_string().contains("owned by another process"), "{error}");
        cleanup().unwrap_err();
        assert!(!nft("delete table ip sluice"));
        nft("flush ruleset");
        first.assert_in_sync();
    });
}

pub(crate) fn an_owned_table_keeps_no_other_from_being_removed() {
    isolated("restart::an_owned_table_keeps_no_other_from_being_removed", || {
        let mut owner = two_services();
        owner.sync();
        if !owner.reconciler.is_owner() {
            skip("this kernel has no owned tables");
        }
        // What processes left that are gone: of the same family as the owned table, and of the other.
        let left = "add table ip sluice-probe; add table ip6 sluice; add table ip6 sluice-probe";
        let other = "add table ip6 sluice-like";
        assert!(nft(left) && nft(other));
        let refused = cleanup().unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EPERM), "{refused}");
        let tables = || {
            let mut lines: Vec<String> =
                output("nft", &["list", "tables"]).unwrap().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(tables(), ["table ip sluice", "table ip6 sluice-like"]);
        owner.assert_in_sync();
        drop(owner);
        assert!(cleanup().unwrap(), "what nobody owns any more is removed");
        assert_eq!(tables(), ["table ip6 sluice-like"]);
    });
}

pub(crate) fn repairs_what_somebody_changed() {
    isolated("restart::repairs_what_somebody_changed", || {
        let mut proxy = two_services_of(Proxy::with_facts(dual_stack_facts()));
        let spec = json!({
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.1.3", "fd00:96::3"],
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "externalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP",
            "ports": [{"name": "tcp", "port": 80, "nodePort": 30080}],
        });
        apply(&mut proxy, "shop", &spec, &["198.51.100.7"]);
        proxy.endpoints_of_both("shop", &["10.244.1.9", "10.244.2.9", "fd00:244:1::9"].map(str::to_owned));
        proxy.sync();
        proxy.assert_in_sync();
        let Proxy { model, table, reconciler } = proxy;
        // Without its owner, anybody may edit the table.
        drop(reconciler);
        for edit in [
            "delete element ip sluice services { tcp . 10.96.1.1 . 80 }",
            "delete element ip sluice endpoints { tcp . 10.96.1.1 . 80 . 0 }",
            "add element ip sluice endpoints { tcp . 10.96.1.1 . 80 . 7 : 10.9.9.9 . 1 }",
            "add element ip sluice services { tcp . 10.96.9.9 . 80 : 5d00:4 }",
            "add element ip sluice service-ips { 10.96.9.9 }",
            "flush set ip sluice hairpins",
            "flush chain ip sluice nat-prerouting",
            "add rule ip sluice n3 drop",
            "flush set ip sluice service-cidrs; add element ip sluice service-cidrs { 10.0.0.0/8 }",
            "flush map ip sluice inside",
            "add element ip sluice outside { tcp . 10.96.1.1 . 80 : goto o1 }",
            "add element ip sluice outside { tcp . 10.96.9.9 . 80 : drop }",
            "delete element ip sluice chains { 5c00:3 }",
            "delete element ip sluice chains { 5c00:3 }; add element ip sluice chains { 5c00:3 : drop }",
            "add element ip sluice chains { 5c00:99 : drop }",
            "flush map ip sluice chains",
            "add element ip sluice by-client { tcp . 10.96.1.1 . 80 : goto n1 }",
            "flush set ip sluice sources",
            "add element ip sluice sources { tcp . 198.51.100.7 . 80 . 0.0.0.0-1.2.3.4 }",
            "add element ip sluice pods { 192.0.2.7-192.0.2.9 }",
            "flush set ip sluice guarded",
            "add element ip sluice masqueraded { tcp . 198.51.100.7 . 80 }",
            "delete element ip sluice masqueraded-own { tcp . 172.18.0.2 . 30080 }",
            "add element ip sluice endpoints-outside { tcp . 172.18.0.2 . 30080 . 0 : 10.9.9.9 . 1 }",
            "flush set ip sluice pods",
            "add element ip sluice pods { 192.0.2.0/24 }",
            "flush chain ip sluice external",
            "add rule ip sluice translated accept",
            "flush chain ip sluice sticky-default/shop/tcp/tcp",
            "add rule ip sluice sticky-default/shop/tcp/tcp/local drop",
            "flush chain ip sluice endpoint-default/shop/tcp/tcp__10.244.2.9/9898",
            "flush table ip6 sluice",
            "delete table ip6 sluice",
            "flush set ip6 sluice service-cidrs",
            "flush ruleset",
            "flush ruleset; add table ip sluice { comment \"sluice layout 0\"; }",
        ] {
            assert!(nft(edit), "{edit}");
            assert_ne!(dump().unwrap(), table.lines(), "{edit} is seen");
            let mut reconciler = Reconciler::open().unwrap();
            let synced = reconciler.verify(&table).unwrap();
            let families = if edit.starts_with("flush ruleset") { 2 } else { 1 };
            assert_eq!(synced.transactions, families, "{edit}");
            assert_eq!(dump().unwrap(), table.lines(), "{edit}");
            assert_eq!(reconciler.verify(&table).unwrap(), Synced::default(), "{edit}");
        }
        drop(model);
    });
}

pub(crate) fn touches_no_other_table() {
    isolated("restart::touches_no_other_table", || {
        let mut others = String::new();
        for family in ["ip", "ip6", "inet"] {
            write!(
                others,
                "table {family} sluice-like {{ set s {{ type inet_service; elements = {{ 80 }}; }}
                 chain c {{ type filter hook forward priority 0; tcp dport @s accept; }}; }}\n"
            )
            .unwrap();
        }
        assert!(nft(&others));
        let listing = |family: &str| output("nft", &["list", "table", family, "sluice-like"]).unwrap();
        let before = ["ip", "ip6", "inet"].map(listing);
        probe().unwrap();
        let mut proxy = two_services();
        proxy.sync();
        proxy.delete("web");
        proxy.sync();
        proxy.reconciler.verify(&proxy.table).unwrap();
        drop(proxy);
        assert!(cleanup().unwrap());
        assert!(!cleanup().unwrap(), "nothing is left to remove");
        assert_eq!(dump().unwrap(), Vec::<String>::new());
        assert_eq!(["ip", "ip6", "inet"].map(listing), before);
        let tables = output("nft", &["list", "tables"]).unwrap();
        assert_eq!(tables.lines().count(), 3, "{tables}");
    });
}

pub(crate) fn the_probe_says_what_works() {
    isolated("restart::the_probe_says_what_works", || {
        let capabilities = probe().unwrap();
        for feature in &capabilities.features {
            assert!(feature.works.is_ok(), "{}: {:?}", feature.name, feature.works);
        }
        assert_eq!(capabilities.owned, Reconciler::open().unwrap().is_owner());
    });
}

pub(crate) fn a_restart_under_load_loses_nothing() {
    isolated("restart::a_restart_under_load_loses_nothing", || {
        let (client, _servers, mut proxy) = web([2]);
        std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0").unwrap();
        let time = std::time::Duration::from_secs(3);
        let flood = client.namespace.start(move || crate::node::flood("10.96.1.1:80", time));
        let mut restarts = 0;
        while !flood.is_finished() {
            let Proxy { model, table, reconciler } = proxy;
            drop(reconciler);
            proxy = Proxy { model, table, reconciler: Reconciler::open().unwrap() };
            assert_eq!(proxy.sync(), Synced::default());
            restarts += 1;
        }
        let flood = flood.join().unwrap();
        eprintln!("{flood:?}, {restarts} restarts meanwhile");
        assert_eq!(flood.refused, 0);
        assert!(flood.lost <= 3 && restarts > 10, "{flood:?}, {restarts} restarts");
    });
}
