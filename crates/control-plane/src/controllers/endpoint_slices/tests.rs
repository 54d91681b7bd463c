//! From a Service and its pods to the endpoints of its slices.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::EndpointSlices;
use crate::controllers::action::Verb;
use crate::controllers::cluster::Cluster;
use crate::controllers::fixtures::{PodOf, node, object, plan};
use crate::controllers::object::Object;

fn service(spec: &Value) -> Object {
    let mut fields = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.5", "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        fields["spec"][field] = value.clone();
    }
    object::<Service>("web", fields)
}

fn pod<'a>(name: &'a str, ip: &'a str) -> PodOf<'a> {
    PodOf { name, node: "n1", ip: Some(ip), ready: Some(1), ..PodOf::default() }
}

/// The new slices of a Service that had none.
fn slices(spec: &Value, pods: Vec<PodOf>) -> Vec<EndpointSlice> {
    let zone = json!({"topology.kubernetes.io/zone": "z1"});
    let objects = [service(spec), node("n1", true, json!({}), zone)];
    let cluster = Cluster::of(objects.into_iter().chain(pods.into_iter().map(PodOf::object)));
    let plan = plan::<Service>(&EndpointSlices, &cluster, "web");
    let made = plan.actions.into_iter().map(|action| match action.verb {
        Verb::Create(Object::EndpointSlice(slice)) => (*slice).clone(),
        other => panic!("{other:?}"),
    });
    made.collect()
}

/// `address ready serving terminating` of each endpoint.
fn lines(slices: &[EndpointSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let shown = endpoints.map(|endpoint| {
        let conditions = endpoint.conditions.clone().unwrap();
        let mark = |name: &str, holds: Option<bool>| {
            if holds == Some(true) { format!(" {name}") } else { String::new() }
        };
        endpoint.addresses[0].clone()
            + &mark("ready", conditions.ready)
            + &mark("serving", conditions.serving)
            + &mark("terminating", conditions.terminating)
    });
    let mut lines: Vec<_> = shown.collect();
    lines.sort();
    lines
}

#[test]
fn conditions_say_what_a_pod_is_good_for() {
    let pods = || {
        vec![
            pod("a", "10.0.0.1"),
            PodOf { ready: None, ..pod("b", "10.0.0.2") },
            PodOf { deleting: true, ..pod("c", "10.0.0.3") },
            PodOf { phase: "Succeeded", ..pod("d", "10.0.0.4") },
            PodOf { ip: None, ..pod("e", "") },
            PodOf { app: "other", ..pod("f", "10.0.0.6") },
            PodOf { node: "unknown", ..pod("g", "10.0.0.7") },
        ]
    };
    let plain = slices(&json!({}), pods());
    assert_eq!(lines(&plain), ["10.0.0.1 ready serving", "10.0.0.2", "10.0.0.3 serving terminating"]);
    let all = slices(&json!({"publishNotReadyAddresses": true}), pods());
    assert_eq!(
        lines(&all),
        [
            "10.0.0.1 ready serving",
            "10.0.0.2 ready",
            "10.0.0.3 ready serving terminating",
            "10.0.0.7 ready serving",
        ]
    );
}

#[test]
fn an_endpoint_tells_where_it_is_and_what_it_is() {
    let fields = json!({"hostname": "db-0", "subdomain": "web"});
    let made = slices(&json!({}), vec![PodOf { fields, ..pod("a", "10.0.0.1") }]);
    let endpoint = &made[0].endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.node_name.as_deref(), Some("n1"));
    assert_eq!(endpoint.zone.as_deref(), Some("z1"));
    assert_eq!(endpoint.hostname.as_deref(), Some("db-0"));
    let target = endpoint.target_ref.clone().unwrap();
    assert_eq!((target.kind.as_deref(), target.name.as_deref()), (Some("Pod"), Some("a")));
    assert!(endpoint.hints.is_none());
    let labels = made[0].metadata.labels.clone().unwrap();
    assert!(!labels.contains_key("service.kubernetes.io/headless"));
}

#[test]
fn named_ports_differ_from_pod_to_pod() {
    let container = |port: i32| json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]});
    let pods = vec![
        PodOf { fields: container(8080), ..pod("a", "10.0.0.1") },
        PodOf { fields: container(9090), ..pod("b", "10.0.0.2") },
        pod("c", "10.0.0.3"),
    ];
    let spec = json!({"ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http"}]});
    let mut found: Vec<_> = slices(&spec, pods)
        .iter()
        .map(|slice| {
            (
                slice.ports.as_ref().unwrap().first().and_then(|port| port.port),
                lines(std::slice::from_ref(slice)),
            )
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            (None, vec!["10.0.0.3 ready serving".to_owned()]),
            (Some(8080), vec!["10.0.0.1 ready serving".to_owned()]),
            (Some(9090), vec!["10.0.0.2 ready serving".to_owned()]),
        ]
    );
}

#[test]
fn hints_follow_the_traffic_distribution() {
    for (distribution, zones, nodes) in [
        ("PreferClose", Some("z1"), None),
        ("PreferSameZone", Some("z1"), None),
        ("PreferSameNode", Some("z1"), Some("n1")),
    ] {
        let made = slices(&json!({"trafficDistribution": distribution}), vec![pod("a", "10.0.0.1")]);
        let hints = made[0].endpoints.as_ref().unwrap()[0].hints.clone().unwrap_or_default();
        let zone = hints.for_zones.unwrap_or_default().first().map(|zone| zone.name.clone());
        let node = hints.for_nodes.unwrap_or_default().first().map(|node| node.name.clone());
        assert_eq!((zone.as_deref(), node.as_deref()), (zones, nodes), "{distribution}");
    }
}

#[test]
fn headless_dual_stack_and_external_services() {
    let headless = slices(&json!({"clusterIP": "None", "ports": []}), vec![pod("a", "10.0.0.1")]);
    assert!(headless[0].metadata.labels.as_ref().unwrap().contains_key("service.kubernetes.io/headless"));
    assert!(headless[0].ports.as_ref().unwrap().is_empty());
    let mut families: Vec<_> = slices(&json!({"ipFamilies": ["IPv6", "IPv4"]}), vec![pod("a", "10.0.0.1")])
        .into_iter()
        .map(|slice| (slice.address_type, slice.endpoints.unwrap().len()))
        .collect();
    families.sort();
    assert_eq!(families, [("IPv4".to_owned(), 1), ("IPv6".to_owned(), 0)]);
    assert!(slices(&json!({"type": "ExternalName"}), vec![]).is_empty());
    assert!(slices(&json!({"selector": {}}), vec![]).is_empty());
}
