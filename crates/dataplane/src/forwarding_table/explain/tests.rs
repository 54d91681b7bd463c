//! Tables of reasons, and that an explanation never says anything else than the table.

use proptest::prelude::*;
use serde_json::{Value, json};
use services::{Model, Protocol};

use super::super::tests::{Event, Row, apply, event, facts, service, slice};
use super::super::{ForwardingTable, NodeFacts, Packet, Pods};
use super::*;

fn explained(facts: NodeFacts, model: &Model, source: &str, destination: &str) -> Explanation {
    let snapshot = model.snapshot();
    let table = ForwardingTable::build(facts, &snapshot);
    let packet = Packet::new(source.parse().unwrap(), Protocol::Tcp, destination.parse().unwrap());
    table.explain(&packet, &snapshot)
}

fn reasons(explanation: Explanation) -> Reasons {
    match explanation.destination {
        Destination::Frontend(reasons) => *reasons,
        other => panic!("no frontend: {other:?}"),
    }
}

fn web(extra: Value, slices: &[&[Row<'_>]]) -> Model {
    let mut model = Model::new();
    model.apply_service(&service("web", "10.96.1.1", extra)).unwrap();
    for (index, rows) in slices.iter().enumerate() {
        model.apply_slice(&slice(&format!("web-{index}"), "web", rows)).unwrap();
    }
    model
}

fn standings(model: &Model) -> Vec<Standing> {
    let reasons = reasons(explained(facts(), model, "10.244.1.5", "10.96.1.1:80"));
    reasons.endpoints.iter().map(|endpoint| endpoint.standing).collect()
}

#[test]
fn every_endpoint_has_its_reason() {
    use Standing::{In, NotReady, OtherNode, Terminated, Terminating};
    let rows: &[Row<'_>] = &[
        ("10.244.1.2", "worker-1", "ready"),
        ("10.244.1.3", "worker-1", "unready"),
        ("10.244.1.4", "worker-1", "terminating"),
        ("10.244.1.5", "worker-1", "gone"),
        ("10.244.2.2", "worker-2", "ready"),
    ];
    assert_eq!(standings(&web(json!({}), &[rows])), [In, NotReady, Terminating, Terminated, In]);
    let local = json!({"internalTrafficPolicy": "Local"});
    assert_eq!(standings(&web(local, &[rows])), [In, NotReady, Terminating, Terminated, OtherNode]);
    assert_eq!(standings(&web(json!({}), &[&rows[1..4]])), [NotReady, In, Terminated]);
}

#[test]
fn an_endpoint_of_two_slices_is_told_once() {
    let row: Row<'_> = ("10.244.1.2", "worker-1", "unready");
    let model = web(json!({}), &[&[row], &[("10.244.1.2", "worker-1", "ready")]]);
    let endpoints = reasons(explained(facts(), &model, "10.244.1.5", "10.96.1.1:80")).endpoints;
    assert_eq!((endpoints.len(), endpoints[0].listed, endpoints[0].standing), (1, 2, Standing::In));
}

#[test]
fn hints_ports_and_families() {
    let mut model = web(json!({}), &[]);
    let slice = |name: &str, kind: &str, port: &str, endpoints: Value| {
        serde_json::from_value(json!({
            "addressType": kind,
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 9898, "protocol": "TCP", "name": port}],
            "endpoints": endpoints,
        }))
        .unwrap()
    };
    let hinted = |address: &str, zone: &str| json!({"addresses": [address], "conditions": {"ready": true}, "hints": {"forZones": [{"name": zone}]}});
    let near = json!([hinted("10.244.1.2", "a"), hinted("10.244.2.2", "b")]);
    model.apply_slice(&slice("web-0", "IPv4", "", near)).unwrap();
    let plain = |address: &str| json!([{"addresses": [address], "conditions": {"ready": true}}]);
    model.apply_slice(&slice("web-1", "IPv4", "metrics", plain("10.244.1.3"))).unwrap();
    model.apply_slice(&slice("web-2", "IPv6", "", plain("fd00::2"))).unwrap();
    let facts = facts().in_zone(Some("a".into()));
    let endpoints = reasons(explained(facts, &model, "10.244.1.5", "10.96.1.1:80")).endpoints;
    let told: Vec<Standing> = endpoints.iter().map(|endpoint| endpoint.standing).collect();
    let expected = [Standing::In, Standing::OtherPort, Standing::HintedToOtherZones, Standing::OtherFamily];
    assert_eq!(told, expected);
}

#[test]
fn destinations_without_a_frontend() {
    let mut model = web(json!({}), &[]);
    let mut foreign = service("foreign", "10.96.1.2", json!({}));
    foreign.metadata.labels =
        Some([("service.kubernetes.io/service-proxy-name".to_owned(), "other".to_owned())].into());
    model.apply_service(&foreign).unwrap();
    let name = |name: &str| vec![ServiceName::new("default", name)];
    let cases = [
        ("10.96.1.1:81", Destination::UndefinedPort(name("web"))),
        ("10.96.1.2:80", Destination::LeftAlone(name("foreign"))),
        ("10.96.9.9:80", Destination::Unallocated),
        ("10.244.1.2:80", Destination::Foreign),
        ("10.96.0.10:53", Destination::Answered(None)),
    ];
    for (destination, expected) in cases {
        let facts = facts().answering_dns("10.96.0.10".parse().unwrap());
        let explanation = explained(facts, &model, "10.244.1.5", destination);
        assert_eq!(explanation.destination, expected, "{destination}");
    }
    let ports = ports_at(&model.snapshot(), "10.96.1.1".parse().unwrap());
    assert_eq!(ports, [(ServiceName::new("default", "web"), "".into(), Protocol::Tcp, 80)]);
}

#[test]
fn masquerade_has_its_reason() {
    let row: Row<'_> = ("10.244.1.2", "worker-1", "ready");
    let external = json!({"type": "NodePort", "externalIPs": ["192.0.2.1"]});
    let mut model = web(external, &[&[row]]);
    let pods = || Pods::Cidrs(["10.244.0.0/16".parse().unwrap()].into());
    let node = || facts().with_addresses(&["172.18.0.2".parse().unwrap()]).recognising(pods());
    let told = |model: &Model, source, destination| {
        reasons(explained(node(), model, source, destination)).endpoints[0].masquerade
    };
    assert_eq!(told(&model, "10.244.1.5", "10.96.1.1:80"), None);
    assert_eq!(told(&model, "10.244.1.2", "10.96.1.1:80"), Some(MasqueradeReason::Hairpin));
    assert_eq!(told(&model, "198.51.100.7", "10.96.1.1:80"), Some(MasqueradeReason::NotAPod));
    assert_eq!(told(&model, "198.51.100.7", "192.0.2.1:80"), Some(MasqueradeReason::External));
    let local = json!({"type": "NodePort", "externalIPs": ["192.0.2.1"], "externalTrafficPolicy": "Local"});
    model.apply_service(&service("web", "10.96.1.1", local)).unwrap();
    assert_eq!(told(&model, "198.51.100.7", "192.0.2.1:80"), None);
    assert_eq!(told(&model, "172.18.0.2", "192.0.2.1:80"), Some(MasqueradeReason::Own));
}

proptest! {
    /// Whatever happened: the endpoints that an explanation calls in are those that the packet may go to, and the
    /// others have a reason to be out.
    #[test]
    fn in_is_what_the_table_balances_over(events in prop::collection::vec(event(), 1..40)) {
        let mut model = Model::new();
        events.iter().for_each(|event: &Event| apply(&mut model, event));
        let snapshot = model.snapshot();
        let pods = Pods::Cidrs(["10.244.0.0/16".parse().unwrap()].into());
        let facts = facts().with_addresses(&["172.18.0.2".parse().unwrap()]).recognising(pods);
        let table = ForwardingTable::build(facts, &snapshot);
        for (key, frontend) in table.frontends() {
            for source in ["10.244.1.5", "198.51.100.7"].map(|text| text.parse().unwrap()) {
                let packet = Packet { source, destination: *key };
                let explanation = table.explain(&packet, &snapshot);
                prop_assert_eq!(&explanation.outcome, &table.judge(&packet));
                let reasons = reasons(explanation);
                let taking = reasons.endpoints.iter().filter(|endpoint| endpoint.standing == Standing::In);
                let taking: Vec<_> = taking.filter_map(EndpointReason::socket).collect();
                prop_assert_eq!(taking, table.target_for(source, frontend).endpoints());
            }
        }
    }
}
