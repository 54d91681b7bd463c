//! From a Service and its pods to its Endpoints.

use k8s_openapi::api::core::v1::{Endpoints, Service};
use serde_json::{Value, json};

use super::EndpointsOfServices;
use crate::controllers::action::Verb;
use crate::controllers::cluster::Cluster;
use crate::controllers::fixtures::{PodOf, object, plan, planned};
use crate::controllers::object::Object;

fn service(ports: Value) -> Object {
    let spec = json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.5", "ports": ports});
    object::<Service>("web", json!({"metadata": {"labels": {"tier": "front"}}, "spec": spec}))
}

fn made(objects: Vec<Object>) -> Endpoints {
    let plan = plan::<Service>(&EndpointsOfServices, &Cluster::of(objects), "web");
    match plan.actions.into_iter().next().map(|action| action.verb) {
        Some(Verb::Create(Object::Endpoints(endpoints))) => (*endpoints).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ready_and_not_ready_by_sets_of_ports() {
    let container = |port: i32| json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]});
    let pod = |name, ip, port| PodOf {
        name,
        ip: Some(ip),
        ready: Some(1),
        fields: container(port),
        ..PodOf::default()
    };
    let endpoints = made(vec![
        service(json!([{"name": "web", "port": 80, "targetPort": "http"}])),
        pod("a", "10.0.0.10", 8080).object(),
        pod("b", "10.0.0.9", 8080).object(),
        pod("c", "10.0.0.3", 9090).object(),
        PodOf { ready: None, ..pod("d", "10.0.0.4", 8080) }.object(),
        PodOf { deleting: true, ..pod("e", "10.0.0.5", 8080) }.object(),
    ]);
    let shown: Vec<_> = endpoints
        .subsets
        .unwrap()
        .iter()
        .map(|subset| {
            let ips = |list: &Option<Vec<super::EndpointAddress>>| {
                list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(",")
            };
            let port = subset.ports.as_ref().unwrap()[0].port;
            format!("{port}: {} not ready: {}", ips(&subset.addresses), ips(&subset.not_ready_addresses))
        })
        .collect();
    assert_eq!(shown, ["8080: 10.0.0.9,10.0.0.10 not ready: 10.0.0.4", "9090: 10.0.0.3 not ready: "]);
    let labels = endpoints.metadata.labels.unwrap();
    assert_eq!(labels["endpoints.kubernetes.io/managed-by"], "endpoint-controller");
    assert_eq!(labels["tier"], "front");
}

#[test]
fn more_than_a_thousand_are_cut_ready_ones_first() {
    let names: Vec<_> = (0..1001)
        .map(|number| (format!("p{number}"), format!("10.1.{}.{}", number / 250, number % 250)))
        .collect();
    let pods = names.iter().enumerate().map(|(number, (name, ip))| {
        let ready = (number != 0).then_some(1);
        PodOf { name, ip: Some(ip), ready, ..PodOf::default() }.object()
    });
    let endpoints = made(std::iter::once(service(json!([{"port": 80}]))).chain(pods).collect());
    let subset = &endpoints.subsets.unwrap()[0];
    assert_eq!(subset.addresses.as_ref().unwrap().len(), 1000);
    assert!(subset.not_ready_addresses.is_none());
    assert_eq!(endpoints.metadata.annotations.unwrap()["endpoints.kubernetes.io/over-capacity"], "truncated");
}

#[test]
fn endpoints_go_with_their_service_and_custom_ones_are_left_alone() {
    let custom = || object::<Endpoints>("web", json!({"metadata": {}}));
    let planned =
        |objects: Vec<Object>| planned::<Service>(&EndpointsOfServices, &Cluster::of(objects), "web");
    assert_eq!(planned(vec![custom()]), ["delete Endpoints web"]);
    let without_selector =
        object::<Service>("web", json!({"metadata": {}, "spec": {"ports": [{"port": 80}]}}));
    assert!(planned(vec![custom(), without_selector]).is_empty());
}
