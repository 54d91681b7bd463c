//! Node ports, load balancers and external IPs, in both families: who may connect, who serves, and whose address the
//! server sees. Each outcome is held against what the forwarding table says of the same packet.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use dataplane::forwarding_table::{NodeFacts, Outcome, Packet, Pods};
use dataplane::reconcile::Reconciler;
use serde_json::{Value, json};
use services::Protocol;

use crate::load::After;
use crate::namespace::isolated;
use crate::node::{Answer, NODE, NODE6, Pod, connect, set_up_dual_stack};
use crate::objects::{self, Proxy, dual_stack_facts};
use crate::restart::nft;

const LOAD_BALANCER: [&str; 2] = ["198.51.100.7", "2001:db8:100::7"];
const CLUSTER_IP: [&str; 2] = ["10.96.1.1", "fd00:96::1:1"];
const NODE_PORT: u16 = 30080;
/// Connections that show all of two endpoints, but once in 30,000 times.
const TRIES: usize = 16;

/// A node with pods, one "elsewhere", and a client outside.
struct Lab {
    here: Pod,
    elsewhere: Pod,
    client: Pod,
    outside: Pod,
    proxy: Proxy,
}

impl Lab {
    fn new() -> Self {
        set_up_dual_stack();
        let (here, elsewhere) = (Pod::dual_stack(1, 2), Pod::dual_stack(2, 2));
        here.serve_dual_stack();
        elsewhere.serve_dual_stack();
        let proxy = Proxy::with_facts(dual_stack_facts());
        Self { here, elsewhere, client: Pod::dual_stack(1, 5), outside: Pod::outside(2), proxy }
    }

    fn endpoints(&mut self, pods: &[bool]) {
        let mut addresses = Vec::new();
        for (pod, wanted) in [&self.here, &self.elsewhere].into_iter().zip(pods) {
            if *wanted {
                addresses.extend([pod.ip(false).to_string(), pod.ip(true).to_string()]);
            }
        }
        self.proxy.endpoints_of_both("web", &addresses);
    }

    fn sync(&mut self) {
        self.proxy.sync();
        self.proxy.assert_in_sync();
    }

    /// What a client sees in several connections: servers and its own address there.
    fn see(&self, from: Option<&Pod>, to: SocketAddr) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
        let source = from.map_or(node(to.is_ipv6()), |pod| pod.ip(to.is_ipv6()));
        let judged = self.proxy.table.judge(&Packet::new(source, Protocol::Tcp, to));
        let (mut servers, mut clients) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..TRIES {
            let answer = from.map_or_else(|| connect(to), |pod| pod.connect(&to.to_string()));
            match (answer, &judged) {
                (Answer::From(server, client), Outcome::Forward(_)) => {
                    servers.insert(server.parse().unwrap());
                    clients.insert(client.parse().unwrap());
                }
                (Answer::Refused, Outcome::Reject) => {}
                (Answer::Nothing, Outcome::Drop) => break,
                (answer, judged) => panic!("{source} -> {to}: {answer:?}, but {judged} is right"),
            }
        }
        if let Outcome::Forward(endpoints) = &judged {
            assert_eq!(servers, endpoints.iter().map(SocketAddr::ip).collect(), "{source} -> {to}");
        }
        (servers, clients)
    }

    fn servers(&self, from: Option<&Pod>, to: SocketAddr) -> usize {
        self.see(from, to).0.len()
    }

    /// The one address that servers see of a client.
    fn seen(&self, from: Option<&Pod>, to: SocketAddr) -> IpAddr {
        let (servers, clients) = self.see(from, to);
        let source = from.map_or(node(to.is_ipv6()), |pod| pod.ip(to.is_ipv6()));
        let key = dataplane::forwarding_table::FrontendKey::new(Protocol::Tcp, to.ip(), to.port());
        let masqueraded = self.proxy.table.masquerades(source, &key, *servers.first().unwrap());
        let expected = if masqueraded { node(to.is_ipv6()) } else { source };
        assert_eq!(clients, BTreeSet::from([expected]), "{source} -> {to}");
        expected
    }
}

fn node(ipv6: bool) -> IpAddr {
    if ipv6 { NODE6.into() } else { NODE.into() }
}

fn at(addresses: [&str; 2], ipv6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(addresses[usize::from(ipv6)].parse().unwrap(), port)
}

fn spec(more: &Value) -> Value {
    let mut spec = json!({
        "type": "LoadBalancer", "clusterIPs": CLUSTER_IP,
        "externalIPs": ["198.51.100.200", "2001:db8:100::200"],
        "ports": [{"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": NODE_PORT},
                  {"name": "udp", "port": 80, "protocol": "UDP", "nodePort": NODE_PORT}],
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn apply(proxy: &mut Proxy, more: &Value) {
    objects::apply(proxy, "web", &spec(more), &LOAD_BALANCER);
}

fn node_port(ipv6: bool) -> SocketAddr {
    SocketAddr::new(node(ipv6), NODE_PORT)
}

pub(crate) fn a_policy_decides_who_serves_whom() {
    isolated("external::a_policy_decides_who_serves_whom", || {
        let mut lab = Lab::new();
        apply(&mut lab.proxy, &json!({"externalTrafficPolicy": "Cluster"}));
        lab.endpoints(&[true, true]);
        lab.sync();
        let externals = |ipv6| {
            let external = at(["198.51.100.200", "2001:db8:100::200"], ipv6, 80);
            [node_port(ipv6), at(LOAD_BALANCER, ipv6, 80), external]
        };
        for to in [false, true].into_iter().flat_map(externals) {
            for from in [Some(&lab.outside), Some(&lab.client), None] {
                assert_eq!(lab.servers(from, to), 2);
                assert_eq!(lab.seen(from, to), node(to.is_ipv6()), "policy Cluster masquerades");
            }
        }
        apply(&mut lab.proxy, &json!({"externalTrafficPolicy": "Local"}));
        lab.sync();
        for to in [false, true].into_iter().flat_map(externals) {
            assert_eq!(lab.servers(Some(&lab.outside), to), 1, "only this node's pod");
            assert_eq!(lab.seen(Some(&lab.outside), to), lab.outside.ip(to.is_ipv6()), "the source is kept");
            assert_eq!(lab.servers(Some(&lab.client), to), 2, "pods go anywhere");
            assert_eq!(lab.seen(Some(&lab.client), to), lab.client.ip(to.is_ipv6()));
            assert_eq!(lab.servers(None, to), 2, "the node goes anywhere");
        }
        lab.endpoints(&[false, true]);
        lab.sync();
        for to in [node_port(false), node_port(true)] {
            assert_eq!(lab.servers(Some(&lab.client), to), 1);
            assert_eq!(lab.servers(Some(&lab.outside), to), 0, "dropped");
        }
        lab.endpoints(&[]);
        lab.sync();
        for to in [false, true].into_iter().flat_map(externals) {
            assert_eq!(lab.servers(Some(&lab.outside), to), 0, "refused");
            assert_eq!(lab.servers(None, to), 0, "refused");
        }
        lab.proxy.delete("web");
        lab.proxy.endpoints_of_both("web", &[]);
        lab.sync();
    });
}

pub(crate) fn source_ranges_bind_load_balancers_only() {
    isolated("external::source_ranges_bind_load_balancers_only", || {
        let mut lab = Lab::new();
        let stranger = Pod::outside(3);
        for policy in ["Cluster", "Local"] {
            let ranges = ["192.0.2.0/24", "2001:db8:2::/48", "10.244.1.0/24", "fd00:244:1::/48"];
            apply(
                &mut lab.proxy,
                &json!({"externalTrafficPolicy": policy, "loadBalancerSourceRanges": ranges}),
            );
            lab.endpoints(&[true, false]);
            lab.sync();
            for ipv6 in [false, true] {
                let to = at(LOAD_BALANCER, ipv6, 80);
                assert_eq!(lab.servers(Some(&lab.outside), to), 1);
                assert_eq!(lab.servers(Some(&lab.client), to), 1);
                assert_eq!(lab.servers(Some(&stranger), to), 0, "dropped");
                assert_eq!(lab.servers(None, to), 0, "the node is not in the ranges");
                assert_eq!(lab.servers(Some(&stranger), node_port(ipv6)), 1, "node ports are not bound");
            }
        }
        apply(&mut lab.proxy, &json!({"loadBalancerSourceRanges": ["192.0.3.0/24", "10.0.0.0/8"]}));
        lab.sync();
        let to = at(LOAD_BALANCER, false, 80);
        assert_eq!(lab.servers(Some(&stranger), to), 1, "now it may");
        assert_eq!(lab.servers(Some(&lab.outside), to), 0, "now it may not");
        apply(&mut lab.proxy, &json!({}));
        lab.sync();
        assert_eq!(lab.servers(Some(&lab.outside), to), 1);
    });
}

pub(crate) fn cluster_ips_are_masqueraded_as_told() {
    isolated("external::cluster_ips_are_masqueraded_as_told", || {
        let mut lab = Lab::new();
        apply(&mut lab.proxy, &json!({}));
        lab.endpoints(&[true, true]);
        lab.sync();
        let by_address = dual_stack_facts();
        let only_ipv4 = Pods::Cidrs(["10.244.0.0/16".parse().unwrap()].into());
        let with = |pods| NodeFacts { pods, ..dual_stack_facts() };
        let all = NodeFacts { masquerade_all: true, ..with(Pods::Unknown) };
        // What is masqueraded: connections from a pod, from outside, the latter by IPv6.
        for (facts, pod, outside, outside6) in [
            (by_address, false, true, true),
            (with(only_ipv4), false, true, false),
            (with(Pods::Unknown), false, false, false),
            (all, true, true, true),
            (with(Pods::InterfacePrefix("pod".into())), false, true, true),
            (with(Pods::Bridge("pod15".into())), false, true, true),
        ] {
            let interfaces = matches!(facts.pods, Pods::Bridge(_) | Pods::InterfacePrefix(_));
            lab.proxy.set_facts(facts);
            lab.proxy.assert_in_sync();
            for ipv6 in [false, true] {
                let to = at(CLUSTER_IP, ipv6, 80);
                let expected =
                    |masqueraded: bool, from: &Pod| if masqueraded { node(ipv6) } else { from.ip(ipv6) };
                let outside = if ipv6 { outside6 } else { outside };
                // The table, asked for an address, cannot tell interfaces.
                let see = |from: &Pod| match interfaces {
                    true => *lab.see(Some(from), to).1.first().unwrap(),
                    false => lab.seen(Some(from), to),
                };
                assert_eq!(see(&lab.client), expected(pod, &lab.client));
                assert_eq!(see(&lab.outside), expected(outside, &lab.outside));
                assert_eq!(lab.see(None, to).1, BTreeSet::from([node(ipv6)]));
            }
        }
    });
}

pub(crate) fn endpoints_reach_themselves_by_every_address() {
    isolated("external::endpoints_reach_themselves_by_every_address", || {
        let mut lab = Lab::new();
        lab.endpoints(&[true, false]);
        for policy in ["Cluster", "Local"] {
            apply(&mut lab.proxy, &json!({"externalTrafficPolicy": policy}));
            lab.sync();
            for ipv6 in [false, true] {
                for to in [at(CLUSTER_IP, ipv6, 80), at(LOAD_BALANCER, ipv6, 80), node_port(ipv6)] {
                    assert_eq!(lab.seen(Some(&lab.here), to), node(ipv6), "{to}, policy {policy}");
                }
            }
        }
    });
}

/// Kernels before 5.9, whose nat chains may not refuse; here the same chains on a newer one.
pub(crate) fn filter_chains_refuse_where_nat_chains_cannot() {
    isolated("external::filter_chains_refuse_where_nat_chains_cannot", || {
        let mut lab = Lab::new();
        lab.proxy.reconciler = Reconciler::open().unwrap().without_ownership().with_late_refusal();
        apply(&mut lab.proxy, &json!({"internalTrafficPolicy": "Local"}));
        lab.endpoints(&[]);
        lab.sync();
        let externals = |ipv6| [node_port(ipv6), at(LOAD_BALANCER, ipv6, 80)];
        for ipv6 in [false, true] {
            let cluster_ip = [80, 81].map(|port| at(CLUSTER_IP, ipv6, port));
            for to in cluster_ip.into_iter().chain(externals(ipv6)) {
                assert_eq!(lab.proxy.table.judge(&packet(&lab.client, to)), Outcome::Reject);
                for from in [Some(&lab.outside), Some(&lab.client), None] {
                    assert_eq!(lab.servers(from, to), 0, "refused");
                }
            }
            assert_eq!(lab.client.ask(&at(CLUSTER_IP, ipv6, 80).to_string()), Answer::Refused);
        }
        lab.endpoints(&[false, true]);
        lab.sync();
        for ipv6 in [false, true] {
            let to = at(CLUSTER_IP, ipv6, 80);
            assert_eq!(lab.proxy.table.judge(&packet(&lab.client, to)), Outcome::Drop);
            assert_eq!(lab.servers(Some(&lab.client), to), 0, "dropped, not refused");
            for to in externals(ipv6) {
                assert_eq!(lab.servers(Some(&lab.outside), to), 1);
            }
        }
        let again = lab.proxy.reconciler.verify(&lab.proxy.table).unwrap();
        assert_eq!(again.transactions, 0, "what is read back is what was wanted");
        if let Some(listing) = crate::namespace::output("nft", &["list", "ruleset"]) {
            assert!(listing.contains("ct state new ip daddr @service-ips goto reject-late"), "{listing}");
        }
    });
}

fn packet(from: &Pod, to: SocketAddr) -> Packet {
    Packet::new(from.ip(to.is_ipv6()), Protocol::Tcp, to)
}

/// Commits the first transaction of what changed, and no other.
fn half_sync(proxy: &mut Proxy) {
    let changes = proxy.model.take_changes();
    let touched = proxy.table.update(&proxy.model.snapshot(), &changes);
    proxy.reconciler.set_faults(Some(Box::new(After(1))));
    proxy.reconciler.sync(&proxy.table, &touched).unwrap_err();
    proxy.reconciler.set_faults(None);
}

/// A packet walks the rules of the generation that it met first, but finds the maps' newest elements. What it may have
/// found in one map before a change is put back there, so that every connection meets the others as that packet does.
pub(crate) fn a_packet_between_two_policies_is_served() {
    isolated("external::a_packet_between_two_policies_is_served", || {
        let mut lab = Lab::new();
        lab.proxy.reconciler = Reconciler::open().unwrap().without_ownership();
        let policy = |lab: &mut Lab, policy| apply(&mut lab.proxy, &json!({"externalTrafficPolicy": policy}));
        lab.endpoints(&[true, true]);
        // All chains are there then, and the changes that follow need no transaction for one.
        for name in ["Local", "Cluster"] {
            policy(&mut lab, name);
            lab.sync();
        }
        let key = "tcp . 198.51.100.7 . 80";
        let put = |map: &str, verdict: &str| {
            assert!(nft(&format!("add element ip sluice {map} {{ {key} : {verdict} }}")), "{map} {verdict}");
        };
        let take = |map: &str| assert!(nft(&format!("delete element ip sluice {map} {{ {key} }}")), "{map}");
        let serves = |lab: &Lab| -> BTreeSet<(String, String)> {
            let answers = (0..TRIES).map(|_| lab.outside.connect("198.51.100.7:80"));
            let served = answers.map(|answer| match answer {
                Answer::From(server, client) => (server, client),
                answer => panic!("{answer:?}"),
            });
            served.collect()
        };
        let servers = |found: &BTreeSet<(String, String)>| -> BTreeSet<String> {
            found.iter().map(|(server, _)| server.clone()).collect()
        };
        let here = BTreeSet::from([lab.here.ip(false).to_string()]);

        policy(&mut lab, "Local");
        half_sync(&mut lab.proxy);
        take("services");
        put("services", "5c00:2");
        let found = serves(&lab);
        assert_eq!(servers(&found).len(), 2, "the old list is whole: {found:?}");
        assert!(found.iter().all(|(_, client)| *client == node(false).to_string()), "masqueraded: {found:?}");
        lab.proxy.reconciler.repair(&lab.proxy.table).unwrap();
        lab.proxy.assert_in_sync();

        policy(&mut lab, "Cluster");
        half_sync(&mut lab.proxy);
        take("services");
        put("services", "5d00:1");
        put("outside", "goto o1");
        assert_eq!(servers(&serves(&lab)), here, "the old list for connections from elsewhere is whole");
        take("outside");
        assert_eq!(servers(&serves(&lab)).len(), 1, "it finds nothing there any more: the first of all");
        lab.proxy.reconciler.repair(&lab.proxy.table).unwrap();
        lab.proxy.assert_in_sync();
    });
}
