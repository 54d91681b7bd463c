//! How many connections were made to each Service port, as the table's own counters say.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dataplane::forwarding_table::{ForwardingTable, FrontendKey};
use dataplane::reconcile::{Reconciler, Synced, connections};
use serde_json::json;
use services::Protocol;

use crate::namespace::isolated;
use crate::node::{Answer, NODE, NODE6, PORT, Pod, connect, set_up_dual_stack};
use crate::objects::{Proxy, apply, dual_stack_facts, web};

/// What is counted, without what nobody connected to.
fn counted() -> BTreeMap<String, u64> {
    let counted = connections().unwrap().into_iter().filter(|(_, count)| *count > 0);
    let name = |key: FrontendKey| format!("{} {}", key.protocol, SocketAddr::new(key.address, key.port));
    counted.map(|(key, count)| (name(key), count)).collect()
}

fn expect(counts: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> =
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(counted(), expected);
}

pub(crate) fn each_connection_counts_once() {
    isolated("connections::each_connection_counts_once", || {
        assert_eq!(connections().unwrap(), [], "there is no table");
        set_up_dual_stack();
        let (client, server, outside) = (Pod::dual_stack(1, 5), Pod::dual_stack(1, 2), Pod::outside(2));
        server.serve_dual_stack();
        let mut proxy = Proxy::with_facts(dual_stack_facts());
        let spec = json!({
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.1.1", "fd00:96::1:1"],
            "ports": [{"name": "tcp", "port": 80, "nodePort": 30080}],
        });
        apply(&mut proxy, "web", &spec, &["198.51.100.7"]);
        proxy.endpoints_of_both("web", &[server.ip(false).to_string(), server.ip(true).to_string()]);
        proxy.service("empty", "10.96.1.2", 80);
        proxy.sync();
        expect(&[]);
        let times = |count: usize, from: &Pod, to: &str| {
            for _ in 0..count {
                from.connect(to).server();
            }
        };
        times(7, &client, "10.96.1.1:80");
        times(3, &client, "[fd00:96::1:1]:80");
        times(5, &outside, &format!("{NODE}:30080"));
        times(2, &outside, &format!("[{NODE6}]:30080"));
        times(4, &outside, "198.51.100.7:80");
        // What the node itself sends passes the output hook only.
        connect("10.96.1.1:80".parse().unwrap()).server();
        assert_eq!(client.connect("10.96.1.2:80"), Answer::Refused);
        // Neither undefined ports nor direct connections are anyone's.
        assert_eq!(client.connect("10.96.1.1:81"), Answer::Refused);
        times(1, &client, &format!("{}:{PORT}", server.address));
        expect(&[
            ("tcp 10.96.1.1:80", 8),
            ("tcp 10.96.1.2:80", 1),
            ("tcp [fd00:96::1:1]:80", 3),
            (&format!("tcp {NODE}:30080"), 5),
            (&format!("tcp [{NODE6}]:30080"), 2),
            ("tcp 198.51.100.7:80", 4),
        ]);
    });
}

pub(crate) fn counts_outlive_endpoints_and_processes() {
    isolated("connections::counts_outlive_endpoints_and_processes", || {
        let (client, _servers, mut proxy) = web([2]);
        assert_eq!(client.ask("10.96.1.1:80").server(), "10.244.1.2");
        client.connect("10.96.1.1:80").server();
        let expected = [("tcp 10.96.1.1:80", 1), ("udp 10.96.1.1:80", 1)];
        expect(&expected);
        // Another number of endpoints replaces the verdict, none and one again too.
        for endpoints in [&["10.244.1.2", "10.244.2.2"][..], &[], &["10.244.1.2"]] {
            proxy.endpoints("web", endpoints);
            assert_ne!(proxy.sync(), Synced::default());
            proxy.assert_in_sync();
            expect(&expected);
        }
        let Proxy { model, table, reconciler } = proxy;
        drop(reconciler);
        let mut proxy = Proxy { model, table, reconciler: Reconciler::open().unwrap() };
        proxy.table = ForwardingTable::build(proxy.table.facts().clone(), &proxy.model.snapshot());
        assert_eq!(proxy.sync(), Synced::default(), "counts are no difference");
        assert_eq!(proxy.reconciler.verify(&proxy.table).unwrap(), Synced::default());
        client.connect("10.96.1.1:80").server();
        expect(&[("tcp 10.96.1.1:80", 2), ("udp 10.96.1.1:80", 1)]);
        proxy.delete("web");
        proxy.sync();
        expect(&[]);
        proxy.service("web", "10.96.1.1", 80);
        proxy.sync();
        let fresh = FrontendKey::new(Protocol::Tcp, "10.96.1.1".parse().unwrap(), 80);
        assert!(connections().unwrap().contains(&(fresh, 0)), "another Service starts anew");
    });
}
