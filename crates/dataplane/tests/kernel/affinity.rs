//! Session affinity: a client comes back to its endpoint, whatever else changes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::reconcile::{Reconciler, Synced, dump};
use serde_json::json;

use crate::namespace::{isolated, output};
use crate::node::{Answer, NODE, Pod, set_up_dual_stack};
use crate::objects::{Proxy, apply, dual_stack_facts};

const WEB: &str = "10.96.1.1:80";
const WEB6: &str = "[fd00:96::1:1]:80";
const LOAD_BALANCER: &str = "198.51.100.7:80";
/// Connections that would show two endpoints, but once in a million times.
const TRIES: usize = 20;

struct Lab {
    client: Pod,
    pods: Vec<Pod>,
    proxy: Proxy,
}

impl Lab {
    /// A client and so many pods of the service.
    fn new(pods: u8) -> Self {
        set_up_dual_stack();
        let pods: Vec<Pod> = (2..2 + pods).map(|host| Pod::dual_stack(1, host)).collect();
        pods.iter().for_each(Pod::serve_dual_stack);
        let mut lab =
            Self { client: Pod::dual_stack(1, 50), pods, proxy: Proxy::with_facts(dual_stack_facts()) };
        lab.service(10_800);
        lab.endpoints(&(0..lab.pods.len()).collect::<Vec<_>>());
        lab.sync();
        lab
    }

    fn service(&mut self, seconds: u32) {
        let spec = json!({
            "type": "LoadBalancer", "clusterIPs": ["10.96.1.1", "fd00:96::1:1"],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["10.244.0.0/16"],
            "ports": [{"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": 30080},
                      {"name": "udp", "port": 80, "protocol": "UDP", "nodePort": 30080}],
        });
        apply(&mut self.proxy, "web", &spec, &["198.51.100.7"]);
    }

    fn endpoints(&mut self, pods: &[usize]) {
        let addresses = |pod: &usize| [false, true].map(|ipv6| self.pods[*pod].ip(ipv6).to_string());
        let addresses: Vec<String> = pods.iter().flat_map(addresses).collect();
        self.proxy.endpoints_of_both("web", &addresses);
    }

    fn sync(&mut self) -> Synced {
        let synced = self.proxy.sync();
        self.proxy.assert_in_sync();
        synced
    }

    /// The pod that answers each of several connections.
    fn server(&self, to: &str) -> usize {
        let servers: BTreeSet<usize> = (0..TRIES).map(|_| self.once(to)).collect();
        assert_eq!(servers.len(), 1, "{to}: {servers:?}");
        servers.into_iter().next().unwrap()
    }

    fn once(&self, to: &str) -> usize {
        let answer = self.client.connect(to);
        self.index(&answer)
    }

    fn index(&self, answer: &Answer) -> usize {
        let server = answer.server();
        let is = |pod: &Pod| [false, true].iter().any(|ipv6| pod.ip(*ipv6).to_string() == server);
        self.pods.iter().position(is).unwrap()
    }

    fn restart(self) -> Self {
        let Self { client, pods, proxy } = self;
        let Proxy { model, table, reconciler } = proxy;
        drop(reconciler);
        let proxy = Proxy { model, table, reconciler: Reconciler::open().unwrap() };
        Self { client, pods, proxy }
    }
}

pub(crate) fn a_client_comes_back_to_its_endpoint() {
    isolated("affinity::a_client_comes_back_to_its_endpoint", || {
        let mut lab = Lab::new(4);
        let server = lab.server(WEB);
        assert_eq!(lab.server(LOAD_BALANCER), server, "all addresses of a Service port share the memory");
        assert_eq!(lab.server(&format!("{NODE}:30080")), server);
        let server6 = lab.server(WEB6);
        let udp: BTreeSet<usize> = (0..TRIES).map(|_| lab.index(&lab.client.ask(WEB))).collect();
        assert_eq!(udp.len(), 1, "each port has a memory of its own, and it works for UDP");

        let others: Vec<usize> = (0..4).filter(|pod| *pod != server && *pod != server6).collect();
        let kept: Vec<usize> = (0..4).filter(|pod| *pod != others[0]).collect();
        lab.endpoints(&kept);
        lab.sync();
        assert_eq!((lab.server(WEB), lab.server(WEB6)), (server, server6), "another endpoint left");
        lab.endpoints(&[0, 1, 2, 3]);
        lab.sync();
        assert_eq!((lab.server(WEB), lab.server(WEB6)), (server, server6), "another endpoint came");
        lab.proxy.service("unrelated", "10.96.1.9", 80);
        lab.service(600);
        lab.sync();
        assert_eq!((lab.server(WEB), lab.server(WEB6)), (server, server6), "another timeout");

        let mut lab = lab.restart();
        assert_eq!(lab.sync(), Synced::default(), "a new process adopts the sets");
        assert_eq!((lab.server(WEB), lab.server(WEB6)), (server, server6), "after a restart");

        let without: Vec<usize> = (0..4).filter(|pod| *pod != server).collect();
        lab.endpoints(&without);
        lab.sync();
        let next = lab.server(WEB);
        assert_ne!(next, server);
        lab.endpoints(&[0, 1, 2, 3]);
        lab.sync();
        assert_eq!(lab.server(WEB), next, "an endpoint that left has forgotten its clients");

        lab.proxy.delete("web");
        lab.proxy.endpoints_of_both("web", &[]);
        lab.sync();
        let rules = output("nft", &["list", "ruleset"]).unwrap_or_default();
        assert!(!rules.contains("default/web"), "{rules}");
    });
}

pub(crate) fn clients_are_spread_and_forgotten_in_time() {
    isolated("affinity::clients_are_spread_and_forgotten_in_time", || {
        let mut lab = Lab::new(2);
        lab.service(1);
        lab.sync();
        let server = lab.server(WEB);
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(400));
            assert_eq!(lab.once(WEB), server, "each connection starts the time anew");
        }
        let mut seen = [0; 2];
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(1200));
            seen[lab.once(WEB)] += 1;
        }
        // Both but once in 512 times if only these; the first connection may count as well.
        assert!(seen.iter().all(|count| *count > 0) || lab.once(WEB) != server, "{seen:?}");
    });
}

pub(crate) fn a_full_memory_still_balances() {
    isolated("affinity::a_full_memory_still_balances", || {
        let mut lab = Lab::new(1);
        lab.proxy.reconciler = Reconciler::open().unwrap().without_ownership();
        dataplane::nftables::cleanup().unwrap_or_default();
        lab.proxy.reconciler.verify(&lab.proxy.table).unwrap();
        let set = "affinity-default/web/tcp/tcp__10.244.1.2/9898";
        let clients: Vec<String> = (0..65_535u32)
            .map(|n| format!("11.{}.{}.{} timeout 1h", n >> 16, n >> 8 & 255, n & 255))
            .collect();
        // An ordinary user's nft cannot send all of them at once (net.core.wmem_max).
        for some in clients.chunks(2_000) {
            let script = format!("add element ip sluice {set} {{ {} }}", some.join(", "));
            assert!(crate::restart::nft(&script));
        }
        assert_eq!(lab.server(WEB), 0);
        let listed = output("nft", &["list", "set", "ip", "sluice", set]).unwrap();
        assert!(listed.contains("11.0.255.254") && !listed.contains("10.244.1.50"), "it is full");
    });
}

pub(crate) fn another_layout_keeps_the_memory() {
    isolated("affinity::another_layout_keeps_the_memory", || {
        let mut lab = Lab::new(3);
        let Proxy { reconciler, .. } = &mut lab.proxy;
        *reconciler = Reconciler::open().unwrap();
        dataplane::nftables::cleanup().unwrap_or_default();
        let old = "table ip sluice { comment \"sluice layout 0\";
            set affinity-default/web/tcp/tcp__10.244.1.3/9898 {
                type ipv4_addr; flags dynamic,timeout; elements = { 10.244.1.50 timeout 3h expires 1h }
            }
            set affinity-default/gone/tcp__10.244.1.3/9898 { type ipv4_addr; flags dynamic,timeout; }
        }";
        assert!(crate::restart::nft(old));
        lab.proxy.reconciler.verify(&lab.proxy.table).unwrap();
        assert_eq!(dump().unwrap(), lab.proxy.table.lines());
        let rules = output("nft", &["list", "ruleset"]).unwrap();
        assert!(rules.contains("10.244.1.50 timeout 3h expires 59m"), "{rules}");
        assert!(!rules.contains("default/gone"), "{rules}");
        let to: SocketAddr = WEB.parse().unwrap();
        assert_eq!(lab.server(&to.to_string()), 1, "the pod 10.244.1.3");
    });
}
