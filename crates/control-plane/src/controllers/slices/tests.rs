//! Packing, and the writes that follow from it.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::*;
use crate::controllers::action::summary;
use crate::controllers::fixtures::object;

fn endpoint(number: usize) -> Endpoint {
    let address = format!("10.0.{}.{}", number / 250, number % 250);
    serde_json::from_value(json!({"addresses": [address], "conditions": {"ready": true}})).unwrap()
}

fn endpoints(numbers: impl IntoIterator<Item = usize>) -> Vec<Endpoint> {
    numbers.into_iter().map(endpoint).collect()
}

fn port(number: i32) -> Port {
    Port { name: String::new(), protocol: "TCP".into(), number: Some(number), app_protocol: None }
}

fn held(name: &str, port: Option<i32>, numbers: impl IntoIterator<Item = usize>) -> Object {
    let ports: Vec<Value> =
        port.iter().map(|port| json!({"name": "", "protocol": "TCP", "port": port})).collect();
    let labels = json!({SERVICE_NAME_LABEL: "web", MANAGED_BY: "test"});
    object::<EndpointSlice>(
        name,
        json!({
            "metadata": {"labels": labels, "ownerReferences": [owner()]},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints(numbers),
        }),
    )
}

fn owner() -> OwnerReference {
    OwnerReference {
        kind: "Service".into(),
        name: "web".into(),
        uid: "web".into(),
        ..OwnerReference::default()
    }
}

/// The writes, each with the number of endpoints after it.
fn writes(held: Vec<Object>, wanted: Vec<(i32, Vec<Endpoint>)>, capacity: usize) -> Vec<String> {
    let service = Key::new("default", "web");
    let set = SliceSet {
        service: &service,
        owner: owner(),
        managed_by: "test",
        labels: BTreeMap::new(),
        capacity,
        changed: None,
        placeholder: true,
    };
    let wanted = wanted.into_iter().map(|(number, endpoints)| (vec![port(number)], endpoints)).collect();
    let mut plan = Plan::default();
    set.plan(&mut plan, &Cluster::of(held), BTreeMap::from([(Family::V4, wanted)]));
    let sizes = plan.actions.iter().map(|action| match &action.verb {
        Verb::Create(Object::EndpointSlice(slice)) | Verb::Replace(Object::EndpointSlice(slice)) => {
            format!(" {}", slice.endpoints.as_ref().map_or(0, Vec::len))
        }
        _ => String::new(),
    });
    let lines = summary(&plan).into_iter().zip(sizes);
    lines.map(|(line, size)| line.replace("EndpointSlice ", "") + &size).collect()
}

#[test]
fn the_fewest_writes() {
    for (what, slices, wanted, expected) in [
        ("nothing wanted, nothing there", vec![], vec![], vec!["create web- 0"]),
        ("placeholder stays", vec![held("a", None, [])], vec![], vec![]),
        ("placeholder is used", vec![held("a", None, [])], vec![(80, endpoints(0..2))], vec!["replace a 2"]),
        ("last endpoint goes", vec![held("a", Some(80), 0..1)], vec![], vec!["replace a 0"]),
        ("same", vec![held("a", Some(80), 0..3)], vec![(80, endpoints(0..3))], vec![]),
        ("order does not matter", vec![held("a", Some(80), [2, 0, 1])], vec![(80, endpoints(0..3))], vec![]),
        ("one more", vec![held("a", Some(80), 0..3)], vec![(80, endpoints(0..4))], vec!["replace a 4"]),
        ("one less", vec![held("a", Some(80), 0..3)], vec![(80, endpoints(0..2))], vec!["replace a 2"]),
        ("one too many", vec![held("a", Some(80), 0..4)], vec![(80, endpoints(0..5))], vec!["create web- 1"]),
        (
            "many",
            vec![],
            vec![(80, endpoints(0..9))],
            vec!["create web- 4", "create web- 4", "create web- 1"],
        ),
        (
            "the fullest that has room",
            vec![held("a", Some(80), 0..1), held("b", Some(80), 1..4), held("c", Some(80), 4..8)],
            vec![(80, endpoints(0..9))],
            vec!["replace b 4"],
        ),
        (
            "a slice that changes anyway takes the new one",
            vec![held("a", Some(80), 0..3), held("b", Some(80), 3..7)],
            vec![(80, endpoints((0..6).chain([9])))],
            vec!["replace b 4"],
        ),
        ("another port", vec![held("a", Some(80), 0..2)], vec![(81, endpoints(0..2))], vec!["replace a 2"]),
        (
            "two sets of ports",
            vec![held("a", Some(80), 0..2)],
            vec![(80, endpoints(0..1)), (81, endpoints(1..2))],
            vec!["replace a 1", "create web- 1"],
        ),
        (
            "what is left over is deleted",
            vec![held("a", Some(80), 0..4), held("b", Some(80), 4..5)],
            vec![(80, endpoints(0..4))],
            vec!["delete b"],
        ),
    ] {
        assert_eq!(writes(slices, wanted, 4), expected, "{what}");
    }
}

#[test]
fn no_slice_is_ever_over_capacity_and_every_endpoint_is_in_exactly_one() {
    // A fixed pseudo-random walk: grow and shrink the set, apply each plan, and check the slices.
    let mut slices: Vec<Object> = Vec::new();
    let mut state = 7_usize;
    for round in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (start, length) = ((state >> 33) % 400, (state >> 21) % 350);
        let wanted = endpoints(start..start + length);
        slices = applied(slices, wanted.clone(), round);
        let mut all: Vec<_> =
            slices.iter().flat_map(|slice| slice_of(slice).endpoints.clone().unwrap()).collect();
        assert!(slices.iter().all(|slice| slice_of(slice).endpoints.as_ref().unwrap().len() <= 100));
        let by_address = |a: &Endpoint, b: &Endpoint| a.addresses.cmp(&b.addresses);
        let mut wanted = wanted;
        all.sort_by(by_address);
        wanted.sort_by(by_address);
        assert_eq!(all, wanted, "round {round}");
        assert!(!slices.is_empty());
    }
}

fn slice_of(object: &Object) -> &EndpointSlice {
    object.get::<EndpointSlice>().unwrap()
}

fn applied(slices: Vec<Object>, wanted: Vec<Endpoint>, round: usize) -> Vec<Object> {
    let service = Key::new("default", "web");
    let set = SliceSet {
        service: &service,
        owner: owner(),
        managed_by: "test",
        labels: BTreeMap::new(),
        capacity: 100,
        changed: None,
        placeholder: true,
    };
    let wanted = if wanted.is_empty() { Wanted::new() } else { Wanted::from([(vec![port(80)], wanted)]) };
    let mut plan = Plan::default();
    set.plan(&mut plan, &Cluster::of(slices.clone()), BTreeMap::from([(Family::V4, wanted)]));
    let mut slices = slices;
    for (number, action) in plan.actions.into_iter().enumerate() {
        match action.verb {
            Verb::Create(object) => {
                let mut slice = slice_of(&object).clone();
                slice.metadata.name = Some(format!("s{round}-{number}"));
                slices.push(Object::new(slice));
            }
            Verb::Replace(object) => {
                slices.retain(|slice| slice.target() != object.target());
                slices.push(object);
            }
            Verb::Delete { target, .. } => slices.retain(|slice| slice.target() != target),
            other => panic!("{other:?}"),
        }
    }
    slices
}
