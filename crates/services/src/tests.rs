//! Objects in, text and changes out; any order of events.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Model, ServiceName, Snapshot};

fn service(name: &str, spec: Value) -> core::Service {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})).unwrap()
}

fn slice(name: &str, owner: Option<&str>, ports: Value, endpoints: Value) -> discovery::EndpointSlice {
    let labels = owner.map(|owner| json!({"kubernetes.io/service-name": owner}));
    serde_json::from_value(json!({
        "addressType": "IPv4", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "ports": ports, "endpoints": endpoints,
    }))
    .unwrap()
}

fn web(ip: &str) -> core::Service {
    service("web", json!({"clusterIPs": [ip], "ports": [{"port": 80}]}))
}

fn web_slice(owner: Option<&str>) -> discovery::EndpointSlice {
    slice("web-1", owner, json!([{"port": 9898}]), json!([{"addresses": ["10.244.1.2"]}]))
}

#[test]
fn objects_as_text() {
    let full = json!({
        "clusterIPs": ["10.96.1.1", "fd00::1"], "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
        "sessionAffinity": "ClientIP",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    });
    let cases = [
        (
            full,
            "service default/web 10.96.1.1 fd00::1 internal=local external=local affinity=10800s\n  \
                port tcp 80 http node-port=30080\n  port udp 53 dns\n",
        ),
        (
            json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80}]}),
            "service default/web 10.96.1.1\n  port tcp 80\n",
        ),
        (json!({"clusterIP": "None"}), "service default/web headless\n"),
        (
            json!({"type": "ExternalName", "externalName": "example.com."}),
            "service default/web external example.com\n",
        ),
    ];
    for (spec, expected) in cases {
        let mut model = Model::new();
        model.apply_service(&service("web", spec)).unwrap();
        assert_eq!(model.snapshot().to_string(), expected);
    }
}

#[test]
fn endpoint_conditions_default_as_documented() {
    let cases = [
        (json!({}), ""),
        (json!({"ready": true}), ""),
        (json!({"ready": false}), " not-ready"),
        (json!({"ready": false, "serving": true, "terminating": true}), " serving,terminating"),
        (json!({"ready": true, "terminating": true}), " ready,terminating"),
        (json!({"ready": false, "terminating": true}), " serving,terminating"),
        (json!({"ready": false, "serving": false, "terminating": true}), " terminating"),
    ];
    for (conditions, expected) in cases {
        let mut model = Model::new();
        let endpoints = json!([{"addresses": ["10.244.1.2"], "conditions": conditions}]);
        model.apply_slice(&slice("web-1", Some("web"), json!([{"port": 80}]), endpoints)).unwrap();
        let text = model.snapshot().to_string();
        assert_eq!(text.lines().last().unwrap(), format!("    10.244.1.2{expected}"), "{conditions}");
    }
}

#[test]
fn proxies_leave_further_addresses_and_headless_slices_alone() {
    let endpoints = json!([{"addresses": ["10.244.1.2", "10.244.1.3"]}]);
    let mut object = slice("web-1", Some("web"), json!([{"port": 80}]), endpoints);
    let mut model = Model::new();
    model.apply_slice(&object).unwrap();
    let text = model.snapshot().to_string();
    assert!(text.ends_with("    10.244.1.2\n    10.244.1.3 dns-only\n"), "{text}");
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    model.apply_slice(&object).unwrap();
    let text = model.snapshot().to_string();
    assert!(text.ends_with("    10.244.1.2 dns-only\n    10.244.1.3 dns-only\n"), "{text}");
}

#[test]
fn what_cannot_be_understood_counts_as_absent_and_says_why() {
    let cases = [
        (json!({"ports": [{"port": 80}]}), "spec.clusterIP: \"\" is not an IP address"),
        (json!({"clusterIP": "10.96.1", "ports": []}), "spec.clusterIPs: \"10.96.1\" is not an IP address"),
        (json!({"clusterIP": "10.96.1.1", "ports": [{"port": 0}]}), "spec.ports.port: \"0\" is not a port"),
        (
            json!({"clusterIP": "10.96.1.1", "ports": [{"port": 70000}]}),
            "\"70000\" is not a port between 1 and 65535",
        ),
        (
            json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80, "protocol": "ICMP"}]}),
            "\"ICMP\" is not TCP, UDP or SCTP",
        ),
    ];
    for (spec, expected) in cases {
        let mut model = Model::new();
        model.apply_service(&web("10.96.1.1")).unwrap();
        let reason = model.apply_service(&service("web", spec)).unwrap_err().to_string();
        assert!(
            reason.starts_with("Service default/web is skipped: ") && reason.contains(expected),
            "{reason}"
        );
        assert_eq!(model.snapshot().to_string(), "", "the state before is gone too");
    }
    let nameless = core::Service::default();
    let reason = Model::new().apply_service(&nameless).unwrap_err().to_string();
    assert_eq!(reason, "Service without a name or namespace is skipped");
}

#[test]
fn changes_name_exactly_what_differs() {
    let name = ServiceName::new("default", "web");
    let mut model = Model::new();
    model.apply_service(&web("10.96.1.1")).unwrap();
    assert_eq!(model.take_changes().services, [name.clone()].into());
    model.apply_service(&web("10.96.1.1")).unwrap();
    assert!(model.take_changes().is_empty(), "the same object again");
    model.apply_slice(&web_slice(Some("web"))).unwrap();
    assert_eq!(model.take_changes().services, [name.clone()].into());
    model.apply_slice(&web_slice(Some("other"))).unwrap();
    let both = [name.clone(), ServiceName::new("default", "other")];
    assert_eq!(model.take_changes().services, both.into(), "a relabelled slice leaves one and joins another");
    model.apply_slice(&web_slice(None)).unwrap();
    assert_eq!(model.take_changes().services, [ServiceName::new("default", "other")].into());
    model.delete_slice(&ServiceName::new("default", "web-1"));
    model.delete_service(&ServiceName::new("default", "unknown"));
    assert!(model.take_changes().is_empty());
    assert_eq!(model.snapshot().to_string(), "service default/web 10.96.1.1\n  port tcp 80\n");
}

#[test]
fn an_equal_slice_keeps_its_allocation() {
    let mut model = Model::new();
    model.apply_slice(&web_slice(Some("web"))).unwrap();
    let before = model.snapshot();
    model.apply_slice(&web_slice(Some("web"))).unwrap();
    model.apply_service(&web("10.96.1.1")).unwrap();
    let name = ServiceName::new("default", "web");
    let slice = |snapshot: &Snapshot| {
        Arc::clone(
            snapshot.services.get(&name).unwrap().slices.get(&ServiceName::new("default", "web-1")).unwrap(),
        )
    };
    assert!(Arc::ptr_eq(&slice(&before), &slice(&model.snapshot())));
}

/// The last word on one object: its state, `None` when deleted.
type Word = (bool, u8, Option<u8>);

fn speak(model: &mut Model, (is_slice, number, state): Word) {
    let name =
        ServiceName::new("default", if is_slice { format!("slice-{number}") } else { format!("s{number}") });
    match (is_slice, state) {
        (true, None) => model.delete_slice(&name),
        (false, None) => model.delete_service(&name),
        (true, Some(state)) => {
            let owner = (state > 0).then(|| format!("s{}", state % 3));
            let endpoints = json!([{"addresses": [format!("10.244.1.{state}")]}]);
            model
                .apply_slice(&slice(name.name(), owner.as_deref(), json!([{"port": 80}]), endpoints))
                .unwrap();
        }
        (false, Some(state)) => {
            let spec = json!({"clusterIPs": [format!("10.96.1.{state}")], "ports": [{"port": 80}]});
            model.apply_service(&service(name.name(), spec)).unwrap();
        }
    }
}

proptest! {
    /// Only the last word on each object counts, whatever came before and in whatever order.
    #[test]
    fn event_order_never_matters(words in prop::collection::vec((any::<bool>(), 0u8..4, prop::option::of(0u8..6)), 0..40)) {
        let mut model = Model::new();
        words.iter().for_each(|word| speak(&mut model, *word));
        let last: BTreeMap<(bool, u8), Word> = words.iter().map(|word| ((word.0, word.1), *word)).collect();
        let (mut forward, mut backward) = (Model::new(), Model::new());
        last.values().for_each(|word| speak(&mut forward, *word));
        last.values().rev().for_each(|word| speak(&mut backward, *word));
        prop_assert_eq!(model.snapshot().to_string(), forward.snapshot().to_string());
        prop_assert_eq!(backward.snapshot().to_string(), forward.snapshot().to_string());
    }

    /// Between two snapshots, exactly the changed keys differ.
    #[test]
    fn changes_are_exact(words in prop::collection::vec((any::<bool>(), 0u8..4, prop::option::of(0u8..6)), 0..40)) {
        let mut model = Model::new();
        for word in words {
            let before = model.snapshot();
            speak(&mut model, word);
            let (after, changes) = (model.snapshot(), model.take_changes());
            let names = before.services.keys().chain(after.services.keys());
            for name in names {
                prop_assert_eq!(before.services.get(name) != after.services.get(name), changes.services.contains(name));
            }
        }
    }
}
