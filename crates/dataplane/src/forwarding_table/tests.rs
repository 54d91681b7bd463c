//! Tables of objects against the text of the forwarding table; any order of events against a table built at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use proptest::prelude::*;
use serde_json::{Value, json};
use services::{Model, Protocol, ServiceName};

use super::{ForwardingTable, FrontendKey, NodeFacts, Packet};

mod external;

pub(super) fn facts() -> NodeFacts {
    NodeFacts::new("worker-1", ["10.96.0.0/16".parse().unwrap()])
}

pub(super) fn service(name: &str, ip: &str, extra: Value) -> core::Service {
    let mut spec = json!({"clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})).unwrap()
}

/// An endpoint: address, node and condition, one of `ready`, `unready`, `terminating`, `gone`.
pub(super) type Row<'a> = (&'a str, &'a str, &'a str);

pub(super) fn slice(name: &str, service: &str, rows: &[Row<'_>]) -> discovery::EndpointSlice {
    let endpoints: Vec<Value> = rows
        .iter()
        .map(|(address, node, condition)| {
            let (ready, serving, terminating) = match *condition {
                "ready" => (true, true, false),
                "terminating" => (false, true, true),
                "gone" => (false, false, true),
                _ => (false, false, false),
            };
            json!({"addresses": [address], "nodeName": node,
                   "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
        })
        .collect();
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"port": 9898, "protocol": "TCP", "name": ""}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn table(extra: Value, slices: &[&[Row<'_>]]) -> ForwardingTable {
    let mut model = Model::new();
    model.apply_service(&service("web", "10.96.1.1", extra)).unwrap();
    for (index, rows) in slices.iter().enumerate() {
        model.apply_slice(&slice(&format!("web-{index}"), "web", rows)).unwrap();
    }
    ForwardingTable::build(facts(), &model.snapshot())
}

#[test]
fn endpoints_by_condition_and_policy() {
    let (here, there) = ("worker-1", "worker-2");
    let local = json!({"internalTrafficPolicy": "Local"});
    let cases: &[(&str, Value, &[&[Row<'_>]], &str)] = &[
        ("no slice", json!({}), &[], "reject (no endpoints)"),
        ("none ready", json!({}), &[&[("10.244.1.2", here, "unready")]], "reject (no endpoints)"),
        (
            "ready ones only",
            json!({}),
            &[&[
                ("10.244.1.2", here, "ready"),
                ("10.244.1.3", here, "terminating"),
                ("10.244.2.2", there, "ready"),
            ]],
            "10.244.1.2:9898, 10.244.2.2:9898",
        ),
        (
            "terminating when none is ready",
            json!({}),
            &[&[
                ("10.244.1.2", here, "unready"),
                ("10.244.1.3", here, "terminating"),
                ("10.244.1.4", here, "gone"),
            ]],
            "10.244.1.3:9898",
        ),
        (
            "once in two slices, in its best condition",
            json!({}),
            &[&[("10.244.1.2", here, "unready")], &[("10.244.1.2", here, "ready")]],
            "10.244.1.2:9898",
        ),
        (
            "in two slices, terminating in one: the other counts",
            json!({}),
            &[
                &[("10.244.1.2", here, "unready"), ("10.244.1.3", here, "terminating")],
                &[("10.244.1.2", here, "terminating")],
            ],
            "10.244.1.3:9898",
        ),
        (
            "an address that another node's pod took over is not local",
            local.clone(),
            &[&[("10.244.1.2", here, "terminating")], &[("10.244.1.2", there, "ready")]],
            "drop (no endpoint on this node)",
        ),
        (
            "local policy takes local ones",
            local.clone(),
            &[&[("10.244.1.2", here, "ready"), ("10.244.2.2", there, "ready")]],
            "10.244.1.2:9898",
        ),
        (
            "local policy falls back to local terminating ones",
            local.clone(),
            &[&[("10.244.1.2", here, "terminating"), ("10.244.2.2", there, "ready")]],
            "10.244.1.2:9898",
        ),
        (
            "local policy, none local",
            local.clone(),
            &[&[("10.244.2.2", there, "ready")]],
            "drop (no endpoint on this node)",
        ),
        ("local policy, none anywhere", local, &[], "reject (no endpoints)"),
    ];
    for (title, extra, slices, expected) in cases {
        let lines = table(extra.clone(), slices).lines();
        assert_eq!(lines[0], format!("tcp 10.96.1.1:80 default/web => {expected}"), "{title}");
    }
}

#[test]
fn headless_external_and_foreign_services_forward_nothing() {
    let mut foreign = service("foreign", "10.96.1.2", json!({}));
    foreign.metadata.labels =
        Some([("service.kubernetes.io/service-proxy-name".to_owned(), "other".to_owned())].into());
    let mut model = Model::new();
    model.apply_service(&foreign).unwrap();
    model.apply_service(&service("headless", "None", json!({}))).unwrap();
    model
        .apply_service(&service(
            "external",
            "",
            json!({"type": "ExternalName", "externalName": "example.com"}),
        ))
        .unwrap();
    for name in ["foreign", "headless", "external"] {
        model.apply_slice(&slice(name, name, &[("10.244.1.2", "worker-1", "ready")])).unwrap();
    }
    let table = ForwardingTable::build(facts(), &model.snapshot());
    assert_eq!(table.lines(), ["service-cidr 10.96.0.0/16"]);
}

#[test]
fn only_endpoints_of_this_node_can_hairpin() {
    let rows: &[Row<'_>] = &[("10.244.1.2", "worker-1", "ready"), ("10.244.2.2", "worker-2", "ready")];
    let table = table(json!({}), &[rows]);
    assert_eq!(table.lines()[1..], ["hairpin 10.244.1.2", "service-cidr 10.96.0.0/16"]);
    let [here, there]: [IpAddr; 2] = ["10.244.1.2", "10.244.2.2"].map(|text| text.parse().unwrap());
    let vip = FrontendKey::new(Protocol::Tcp, "10.96.1.1".parse().unwrap(), 80);
    assert!(table.masquerades(here, &vip, here));
    assert!(!table.masquerades(there, &vip, there), "the flow never comes back through this node");
    assert!(!table.masquerades(here, &vip, there));
}

#[test]
fn judges_packets() {
    let table = table(json!({}), &[&[("10.244.1.2", "worker-1", "ready")]]);
    let mut table = table;
    table.facts = facts().answering_dns("10.96.0.10".parse().unwrap());
    let cases = [
        (Protocol::Tcp, "10.96.1.1:80", "10.244.1.2:9898"),
        (Protocol::Tcp, "10.96.1.1:81", "reject"),
        (Protocol::Udp, "10.96.1.1:80", "reject"),
        (Protocol::Tcp, "10.96.77.77:80", "drop"),
        (Protocol::Udp, "10.96.0.10:53", "local"),
        (Protocol::Tcp, "10.96.0.10:53", "local"),
        (Protocol::Tcp, "10.244.1.2:9898", "pass"),
    ];
    for (protocol, destination, expected) in cases {
        let packet = Packet::new("10.244.1.5".parse().unwrap(), protocol, destination.parse().unwrap());
        assert_eq!(table.judge(&packet).to_string(), expected, "{packet}");
    }
}

#[test]
fn a_locally_answered_port_needs_no_service() {
    let table = ForwardingTable::new(facts().answering_dns("10.96.0.10".parse().unwrap()));
    assert_eq!(table.lines()[..2], ["tcp 10.96.0.10:53 => local", "udp 10.96.0.10:53 => local"]);
}

#[test]
fn changed_facts_touch_only_the_facts() {
    let mut model = Model::new();
    model.apply_service(&service("web", "10.96.1.1", json!({}))).unwrap();
    let snapshot = model.snapshot();
    let mut table = ForwardingTable::build(facts(), &snapshot);
    assert!(table.set_facts(facts(), &snapshot).is_empty());
    let changes = table.set_facts(facts().answering_dns("10.96.0.10".parse().unwrap()), &snapshot);
    assert!(changes.facts && changes.frontends.is_empty());
}

#[test]
fn what_the_node_answers_itself_falls_back_to_other_nodes() {
    let (vip, own) = ("10.96.0.10".parse().unwrap(), ["172.18.0.2".parse().unwrap()]);
    let asked = FrontendKey::new(Protocol::Tcp, vip, 53);
    let ports = json!({"ports": [{"port": 53, "protocol": "TCP"}], "sessionAffinity": "ClientIP"});
    let mut model = Model::new();
    model.apply_service(&service("dns", "10.96.0.10", ports)).unwrap();
    let two = [("172.18.0.2", "worker-1", "ready"), ("172.18.0.3", "worker-2", "ready")];
    let build = |model: &Model, facts| ForwardingTable::build(facts, &model.snapshot());
    for (rows, expected) in [(&two[..], &["172.18.0.3:9898"][..]), (&two[..1], &[])] {
        model.apply_slice(&slice("dns-1", "dns", rows)).unwrap();
        let mut table = build(&model, facts().with_addresses(&own));
        assert_eq!(table.frontend(&asked).unwrap().endpoints().count(), rows.len());
        let answering = facts().with_addresses(&own).answering_dns(vip);
        let changes = table.set_facts(answering.clone(), &model.snapshot());
        assert!(changes.frontends.contains(&asked));
        let frontend = table.frontend(&asked).unwrap();
        let endpoints: Vec<_> = frontend.endpoints().map(|endpoint| endpoint.to_string()).collect();
        assert_eq!(
            (endpoints, frontend.affinity),
            (expected.iter().map(ToString::to_string).collect(), None)
        );
        assert_eq!(table.lines(), build(&model, answering).lines());
        assert!(!table.is_hairpin(own[0]));
    }
}

/// One event: a Service (of four, over three addresses, so that they collide) or a slice comes or goes, or the node
/// changes.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Service { name: usize, ip: usize, local: bool, external: usize },
    Node { address: u8, zone: bool },
    NoService { name: usize },
    Slice { name: usize, owner: usize, endpoints: Vec<(u8, usize, usize)> },
    NoSlice { name: usize },
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let endpoint = (1u8..6, 0usize..2, 0usize..4);
    prop_oneof![
        (0usize..4, 0usize..3, any::<bool>(), 0usize..EXTERNAL.len())
            .prop_map(|(name, ip, local, external)| Event::Service { name, ip, local, external }),
        (2u8..4, any::<bool>()).prop_map(|(address, zone)| Event::Node { address, zone }),
        (0usize..4).prop_map(|name| Event::NoService { name }),
        (0usize..4, 0usize..4, prop::collection::vec(endpoint, 0..5))
            .prop_map(|(name, owner, endpoints)| Event::Slice { name, owner, endpoints }),
        (0usize..4).prop_map(|name| Event::NoSlice { name }),
    ]
}

/// What a Service may be beside a ClusterIP: type, external policy and further fields.
const EXTERNAL: [&str; 4] = [
    "{}",
    r#"{"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}"#,
    r#"{"externalIPs": ["192.0.2.1"], "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP"}"#,
    r#"{"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]}"#,
];

pub(super) fn apply(model: &mut Model, event: &Event) {
    match event {
        Event::Node { .. } => {}
        Event::Service { name, ip, local, external } => {
            let mut extra: Value = serde_json::from_str(EXTERNAL[*external]).unwrap();
            extra["internalTrafficPolicy"] = json!(if *local { "Local" } else { "Cluster" });
            model.apply_service(&service(&format!("s{name}"), &format!("10.96.1.{ip}"), extra)).unwrap();
        }
        Event::NoService { name } => model.delete_service(&ServiceName::new("default", format!("s{name}"))),
        Event::Slice { name, owner, endpoints } => {
            let rows: Vec<(String, String, &str)> = endpoints
                .iter()
                .map(|(host, node, condition)| {
                    let condition = ["ready", "unready", "terminating", "gone"][*condition];
                    (format!("10.244.{}.{host}", node + 1), format!("worker-{}", node + 1), condition)
                })
                .collect();
            let rows: Vec<Row<'_>> = rows.iter().map(|(a, n, c)| (a.as_str(), n.as_str(), *c)).collect();
            model.apply_slice(&slice(&format!("slice-{name}"), &format!("s{owner}"), &rows)).unwrap();
        }
        Event::NoSlice { name } => model.delete_slice(&ServiceName::new("default", format!("slice-{name}"))),
    }
}

proptest! {
    /// After each event, the updated table equals one that is built from scratch, and every line that differs from
    /// the table before was announced as touched.
    #[test]
    fn incremental_equals_rebuilt(events in prop::collection::vec(event(), 1..40)) {
        let mut model = Model::new();
        let mut table = ForwardingTable::new(facts());
        for event in &events {
            let before = table.clone();
            apply(&mut model, event);
            let changes = model.take_changes();
            let mut touched = table.update(&model.snapshot(), &changes);
            if let Event::Node { address, zone } = event {
                let changed = facts().with_addresses(&[IpAddr::from([172, 18, 0, *address])]);
                let changed = changed.in_zone(zone.then(|| "east".into()));
                touched.merge(table.set_facts(changed, &model.snapshot()));
            }
            let rebuilt = ForwardingTable::build(table.facts().clone(), &model.snapshot());
            prop_assert_eq!(table.lines(), rebuilt.lines());
            prop_assert_eq!(table.addresses().collect::<BTreeSet<_>>(), rebuilt.addresses().collect::<BTreeSet<_>>());
            for key in before.keys().chain(table.keys()) {
                prop_assert!(before.frontend(&key) == table.frontend(&key) || touched.frontends.contains(&key));
            }
            for address in before.addresses().chain(table.addresses()) {
                let same = before.is_address(address) == table.is_address(address);
                prop_assert!(same || touched.addresses.contains(&address));
            }
            for address in before.hairpins().chain(table.hairpins()) {
                let same = before.is_hairpin(address) == table.is_hairpin(address);
                prop_assert!(same || touched.hairpins.contains(&address));
            }
        }
    }
}
