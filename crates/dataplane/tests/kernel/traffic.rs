//! Real packets through the rules, judged by what client and server see. What the table says of each packet is
//! asserted beside it, so that model and kernel are held to the same answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataplane::forwarding_table::{ForwardingTable, Packet};
use services::Protocol;

use crate::namespace::isolated;
use crate::node::{Answer, NODE, PORT, Pod, ask, connect, serve_at, set_up};
use crate::objects::{Proxy, facts, web};

const WEB: &str = "10.96.1.1:80";

pub(crate) fn connections_reach_every_endpoint_and_come_back() {
    isolated("traffic::connections_reach_every_endpoint_and_come_back", || {
        let (client, _servers, proxy) = web([2, 3]);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..200 {
            let Answer::From(server, peer) = client.connect(WEB) else { panic!("no answer") };
            assert_eq!(peer, "10.244.1.5", "the client's address is kept");
            *seen.entry(server).or_default() += 1;
        }
        // Binomial(200, 1/2): outside of 60..140 with probability below 1e-8.
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.values().all(|count| (60..140).contains(count)), "{seen:?}");
        assert_eq!(judge(&proxy.table, "10.244.1.5", WEB), "10.244.1.2:9898, 10.244.1.3:9898");
        client.ask(WEB).server();
        connect(WEB.parse().unwrap()).server();
    });
}

pub(crate) fn refuses_at_once_and_drops_silently() {
    isolated("traffic::refuses_at_once_and_drops_silently", || {
        set_up();
        let client = Pod::new(5);
        let mut proxy = Proxy::open();
        proxy.service("empty", "10.96.1.1", 80);
        proxy.sync();
        for to in [WEB, "10.96.1.1:81"] {
            let mut times: Vec<Duration> = (0..20)
                .map(|_| {
                    let start = Instant::now();
                    assert_eq!(client.connect(to), Answer::Refused, "{to}");
                    start.elapsed()
                })
                .collect();
            times.sort_unstable();
            // All within a second, and most at once: a loaded machine may hold up a few.
            assert!(times[10] < Duration::from_millis(10), "{to}: {times:?}");
            assert_eq!(connect(to.parse().unwrap()), Answer::Refused, "{to} from the node");
            assert_eq!(judge(&proxy.table, "10.244.1.5", to), "reject");
        }
        // The kernel's ICMP rate limit lets a first few refusals through at once.
        assert_eq!(client.ask(WEB), Answer::Refused);
        assert_eq!(client.ask("10.96.1.1:81"), Answer::Refused);
        assert_eq!(client.connect("10.96.77.77:80"), Answer::Nothing);
        assert_eq!(judge(&proxy.table, "10.244.1.5", "10.96.77.77:80"), "drop");
    });
}

pub(crate) fn nothing_for_the_service_subnet_leaves_the_node() {
    isolated("traffic::nothing_for_the_service_subnet_leaves_the_node", || {
        set_up();
        let client = Pod::new(5);
        let mut proxy = Proxy::open();
        proxy.service("empty", "10.96.1.1", 80);
        proxy.sync();
        let before = crate::node::sent_on_wire();
        assert_eq!(client.connect("10.96.77.77:80"), Answer::Nothing);
        assert_eq!(client.ask("10.96.77.77:80"), Answer::Nothing);
        client.namespace.run(|| crate::node::stray_fin("10.244.1.5", "10.96.1.1:80"));
        crate::node::stray_fin(&NODE.to_string(), "10.96.1.1:80");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(crate::node::sent_on_wire(), before);
    });
}

pub(crate) fn a_pod_reaches_itself() {
    isolated("traffic::a_pod_reaches_itself", || {
        set_up();
        let (own, other) = (Pod::new(2), Pod::new(3));
        own.serve();
        let mut proxy = Proxy::open();
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2"]);
        proxy.sync();
        let node = NODE.to_string();
        assert_eq!(own.connect(WEB), Answer::From("10.244.1.2".into(), node.clone()));
        assert_eq!(own.ask(WEB), Answer::From("10.244.1.2".into(), node));
        assert_eq!(other.connect(WEB), Answer::From("10.244.1.2".into(), "10.244.1.3".into()));
        let direct = own.connect(&format!("10.244.1.2:{PORT}"));
        assert_eq!(direct, Answer::From("10.244.1.2".into(), "10.244.1.2".into()), "not through the service");
    });
}

pub(crate) fn dns_is_answered_here_untracked_or_forwarded() {
    isolated("traffic::dns_is_answered_here_untracked_or_forwarded", || {
        set_up();
        crate::namespace::ip("addr add 10.96.0.10/32 dev lo scope host");
        let (client, elsewhere) = (Pod::new(5), Pod::new(3));
        elsewhere.serve();
        let dns = "10.96.0.10:53";
        let mut proxy = Proxy::open();
        proxy.service("kube-dns", "10.96.0.10", 53);
        proxy.endpoints("kube-dns", &["10.244.1.3"]);
        let here = facts().answering_dns("10.96.0.10".parse().unwrap());
        let changes = proxy.table.set_facts(here, &proxy.model.snapshot());
        proxy.reconciler.sync(&proxy.table, &changes).unwrap();
        proxy.sync();
        assert_eq!(judge(&proxy.table, "10.244.1.5", dns), "local");

        assert_eq!(client.ask(dns).server(), "10.244.1.3", "no server here yet: to the endpoint");
        let server = serve_at(dns.parse().unwrap());
        assert_eq!(client.ask(dns), Answer::From("10.96.0.10".into(), "10.244.1.5".into()));
        assert_eq!(client.connect(dns), Answer::From("10.96.0.10".into(), "10.244.1.5".into()));
        ask(dns.parse().unwrap()).server();
        connect(dns.parse().unwrap()).server();
        let tracked = crate::namespace::output("conntrack", &["-L", "-d", "10.96.0.10"]).unwrap_or_default();
        assert!(!tracked.contains("src=10.96.0.10 dst=10.244.1.5"), "{tracked}");
        assert_eq!(client.connect("10.96.0.10:9153"), Answer::Refused);

        drop(server);
        assert_eq!(client.ask(dns).server(), "10.244.1.3", "the server has died: to the endpoint");
        assert_eq!(client.connect(dns).server(), "10.244.1.3", "and over TCP");
        let server = serve_at(dns.parse().unwrap());
        for answer in [client.ask(dns), client.connect(dns)] {
            assert_eq!(answer.server(), "10.96.0.10", "it is back");
        }
        drop(server);
        assert_eq!(ask(dns.parse().unwrap()), Answer::Refused, "the node's own processes hear it at once");
        crate::namespace::ip("addr del 10.96.0.10/32 dev lo");
        let from_node = ask(dns.parse().unwrap());
        assert_eq!(from_node.server(), "10.244.1.3", "its address has gone too: to the endpoint");
        assert_eq!(connect(dns.parse().unwrap()).server(), "10.244.1.3");

        // Another program takes the port on all addresses.
        crate::namespace::ip("addr add 10.96.0.10/32 dev lo scope host");
        let stranger = serve_at("0.0.0.0:53".parse().unwrap());
        assert_eq!(client.ask(dns).server(), "10.244.1.3");
        assert_eq!(client.connect(dns).server(), "10.244.1.3");
        drop(stranger);
        let changes = proxy.table.set_facts(facts(), &proxy.model.snapshot());
        proxy.reconciler.sync(&proxy.table, &changes).unwrap();
        proxy.assert_in_sync();
        assert_eq!(client.connect(dns).server(), "10.244.1.3");
    });
}

pub(crate) fn established_connections_outlive_changes() {
    isolated("traffic::established_connections_outlive_changes", || {
        set_up();
        let (client, pod) = (Pod::new(5), Pod::new(2));
        pod.namespace.run(|| crate::node::echo("10.244.1.2:9898".parse().unwrap()));
        let mut proxy = Proxy::open();
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2"]);
        proxy.sync();
        let connection = client.namespace.run(|| crate::node::Conversation::open(WEB));
        let connection = client.namespace.run(|| connection.say("one"));
        proxy.delete("web");
        proxy.sync();
        assert_eq!(client.connect(WEB), Answer::Nothing);
        client.namespace.run(|| connection.say("two"));
    });
}

pub(crate) fn no_miss_while_endpoints_come_and_go() {
    isolated("traffic::no_miss_while_endpoints_come_and_go", || {
        let (client, _servers, mut proxy) = web([2, 3]);
        // Every miss must show: no limit on refusals.
        std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0").unwrap();
        let flood = client.namespace.start(|| crate::node::flood(WEB, Duration::from_secs(3)));
        let mut changes = 0u32;
        while !flood.is_finished() {
            let endpoints: &[&str] = match changes % 3 {
                0 => &["10.244.1.2"],
                1 => &["10.244.1.3"],
                _ => &["10.244.1.2", "10.244.1.3"],
            };
            proxy.endpoints("web", endpoints);
            proxy.sync();
            changes += 1;
        }
        let flood = flood.join().unwrap();
        eprintln!("{flood:?}, {changes} changes of the endpoints meanwhile");
        assert_eq!(flood.refused, 0);
        assert!(flood.lost <= 3, "{flood:?}");
        assert!(flood.flows > 1000 && changes > 100, "{flood:?}, {changes} changes");
    });
}

fn judge(table: &ForwardingTable, from: &str, to: &str) -> String {
    let packet = Packet::new(from.parse().unwrap(), Protocol::Tcp, to.parse().unwrap());
    table.judge(&packet).to_string()
}
