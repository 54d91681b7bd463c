//! Any objects in any order, with kernel calls that fail and processes that start anew: what the kernel holds, read
//! back, is what the table says; the table updated step by step is the table built at once; and a second sync sends
//! nothing.

use dataplane::forwarding_table::{ForwardingTable, NodeFacts, Pods};
use dataplane::reconcile::{Reconciler, Synced, dump};
use dataplane::{Call, Faults};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use services::ServiceName;

use crate::namespace::isolated;
use crate::objects::{Proxy, apply, dual_stack_facts};

const CASES: u32 = 24;

#[derive(Clone, Debug)]
enum Event {
    Service {
        number: u8,
        shape: Shape,
    },
    Delete(u8),
    Endpoints {
        service: u8,
        ipv4: Vec<u8>,
        ipv6: Vec<u8>,
    },
    Facts(u8),
    Restart,
    /// The next sync's calls fail with this period.
    Fail(u8),
}

#[derive(Clone, Debug)]
struct Shape {
    families: u8,
    affinity: Option<u32>,
    internal_local: bool,
    external: u8,
    ranges: Vec<u8>,
    /// Its ClusterIPs are those of the next Service: two claim one address.
    conflicting: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let shape = (
        0u8..3,
        prop::option::of(prop::sample::select(vec![60u32, 600])),
        any::<bool>(),
        0u8..5,
        prop::collection::vec(0u8..6, 0..3),
        prop::bool::weighted(0.1),
    );
    let shape = shape.prop_map(|(families, affinity, internal_local, external, ranges, conflicting)| Shape {
        families,
        affinity,
        internal_local,
        external,
        ranges,
        conflicting,
    });
    let hosts = || prop::collection::vec(0u8..8, 0..5);
    prop_oneof![
        4 => (0u8..3, shape).prop_map(|(number, shape)| Event::Service { number, shape }),
        4 => (0u8..3, hosts(), hosts())
            .prop_map(|(service, ipv4, ipv6)| Event::Endpoints { service, ipv4, ipv6 }),
        1 => (0u8..3).prop_map(Event::Delete),
        1 => (0u8..6).prop_map(Event::Facts),
        1 => Just(Event::Restart),
        1 => (1u8..4).prop_map(Event::Fail),
    ]
}

fn spec(number: u8, shape: &Shape) -> (Value, Vec<String>) {
    let ip = number + u8::from(shape.conflicting);
    let mut ips = vec![format!("10.96.1.{ip}"), format!("fd00:96::1:{ip}")];
    match shape.families {
        0 => drop(ips.pop()),
        1 => drop(ips.remove(0)),
        _ => {}
    }
    let ranges = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "172.18.0.0/24"];
    let ranges: Vec<&str> = shape.ranges.iter().map(|range| ranges[usize::from(*range)]).collect();
    let kind = if shape.external == 0 { "ClusterIP" } else { "LoadBalancer" };
    let mut spec = json!({
        "type": kind, "clusterIPs": ips,
        "internalTrafficPolicy": if shape.internal_local { "Local" } else { "Cluster" },
        "ports": [
            {"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": 30080 + u32::from(number)},
            {"name": "udp", "port": 80, "protocol": "UDP", "nodePort": 30080 + u32::from(number)},
            {"name": "sctp", "port": 80, "protocol": "SCTP"},
        ],
    });
    if shape.external > 0 {
        spec["externalTrafficPolicy"] =
            json!(if shape.external.is_multiple_of(2) { "Local" } else { "Cluster" });
        spec["loadBalancerSourceRanges"] = json!(ranges);
    }
    if shape.external > 2 {
        spec["externalIPs"] = json!(["198.51.100.99"]);
    }
    if let Some(seconds) = shape.affinity {
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    (spec, vec![format!("198.51.100.{number}"), format!("2001:db8:100::{number}")])
}

fn facts(number: u8) -> NodeFacts {
    let pods = match number {
        0 => Pods::Unknown,
        1 => Pods::Cidrs(["10.244.0.0/16".parse().unwrap(), "10.244.1.0/24".parse().unwrap()].into()),
        2 => Pods::Bridge("cni0".into()),
        3 => Pods::InterfacePrefix("veth".into()),
        _ => dual_stack_facts().pods,
    };
    NodeFacts { pods, masquerade_all: number == 4, ..dual_stack_facts() }
}

/// Each n-th call fails, so many times.
#[derive(Debug)]
struct Each {
    period: u8,
    calls: u8,
    left: u8,
}

impl Faults for Each {
    fn strike(&mut self, _: Call) -> Option<i32> {
        self.calls = self.calls.wrapping_add(1);
        if self.left == 0 || !self.calls.is_multiple_of(self.period) {
            return None;
        }
        self.left -= 1;
        Some(libc::ENOBUFS)
    }
}

fn play(proxy: &mut Proxy, event: &Event) {
    match event {
        Event::Service { number, shape } => {
            let (spec, ips) = spec(*number, shape);
            let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
            apply(proxy, &format!("service-{number}"), &spec, &ips);
        }
        Event::Delete(number) => {
            proxy.model.delete_service(&ServiceName::new("default", format!("service-{number}")));
        }
        Event::Endpoints { service, ipv4, ipv6 } => {
            let ipv4 = ipv4.iter().map(|host| format!("10.244.{}.{host}", 1 + host % 2));
            let ipv6 = ipv6.iter().map(|host| format!("fd00:244:{}::{host}", 1 + host % 2));
            proxy.endpoints_of_both(&format!("service-{service}"), &ipv4.chain(ipv6).collect::<Vec<_>>());
        }
        Event::Facts(number) => {
            let touched = proxy.table.set_facts(facts(*number), &proxy.model.snapshot());
            // A failure is repaired by the sync that follows.
            drop(proxy.reconciler.sync(&proxy.table, &touched));
        }
        Event::Restart => {
            let Ok(reconciler) = Reconciler::open() else { return };
            // Ownership ends with the old socket.
            drop(std::mem::replace(&mut proxy.reconciler, reconciler));
        }
        Event::Fail(period) => {
            let faults = Each { period: *period, calls: 0, left: 2 };
            proxy.reconciler.set_faults(Some(Box::new(faults)));
        }
    }
}

fn run(events: &[Event]) -> Result<(), TestCaseError> {
    dataplane::nftables::cleanup().unwrap();
    let mut proxy = Proxy::with_facts(dual_stack_facts());
    for event in events {
        play(&mut proxy, event);
        proxy.sync();
        prop_assert_eq!(dump().unwrap(), proxy.table.lines(), "after {:?}", event);
        let rebuilt = ForwardingTable::build(proxy.table.facts().clone(), &proxy.model.snapshot());
        prop_assert_eq!(rebuilt.lines(), proxy.table.lines());
        proxy.reconciler.set_faults(None);
        let again = proxy.reconciler.verify(&proxy.table).unwrap();
        prop_assert_eq!(again, Synced::default(), "a second sync after {:?}", event);
    }
    Ok(())
}

pub(crate) fn what_is_read_back_is_what_was_wanted() {
    isolated("property::what_is_read_back_is_what_was_wanted", || {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let events = prop::collection::vec(event(), 1..12);
        TestRunner::new(config).run(&events, |events| run(&events)).unwrap();
    });
}
