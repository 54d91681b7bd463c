//! EndpointSlices, Endpoints, mirroring and the cluster's own Services.

use std::sync::atomic::Ordering;
use std::time::Instant;

use control_plane::controllers;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::lab::{Lab, bootstrap_config, labels, running};

fn port_80() -> Value {
    json!([{"port": 80, "targetPort": 9898}])
}

async fn wait_ready(lab: &Lab, service: &str, count: usize) -> Vec<String> {
    lab.eventually(&format!("{count} ready endpoints of {service}"), async || {
        let ready = lab.ready_addresses(service).await;
        (ready.len() == count).then_some(ready)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_and_endpoints_follow_pods() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 3, json!({})).await;
    lab.eventually("three pods", async || {
        let pods = lab.pods().await;
        let placed =
            pods.iter().filter(|pod| pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()));
        (placed.count() == 3).then_some(())
    })
    .await;
    let start = Instant::now();
    lab.service("podinfo", json!({"selector": {"app": "podinfo"}, "ports": port_80()})).await;
    let ready = wait_ready(&lab, "podinfo", 3).await;
    eprintln!("service to slices: {:?}", start.elapsed());
    let slice = &lab.slices("podinfo").await[0];
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("podinfo-"));
    assert_eq!(
        slice.labels(),
        &labels(&[
            ("app", "podinfo"),
            ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
            ("kubernetes.io/service-name", "podinfo"),
        ])
    );
    assert!(slice.annotations().contains_key("endpoints.kubernetes.io/last-change-trigger-time"));
    let endpoints = lab.eventually("endpoints", async || lab.endpoints("podinfo").await).await;
    let subset = &endpoints.subsets.as_deref().unwrap_or_default()[0];
    let mut listed: Vec<_> = subset.addresses.iter().flatten().map(|address| address.ip.clone()).collect();
    listed.sort();
    assert_eq!(listed, ready);

    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    let deployments = lab.api::<Deployment>();
    deployments.patch_scale("podinfo", &PatchParams::default(), &scale).await.expect("scaled");
    wait_ready(&lab, "podinfo", 1).await;
    lab.api::<Service>().delete("podinfo", &DeleteParams::default()).await.expect("deleted");
    lab.eventually("slices and endpoints are gone", async || {
        (lab.slices("podinfo").await.is_empty() && lab.endpoints("podinfo").await.is_none()).then_some(())
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_moves_a_pod_between_the_lists() {
    let lab = Lab::start().await;
    lab.ready.store(false, Ordering::Relaxed);
    lab.deployment("web", 1, json!({})).await;
    lab.service("web", json!({"selector": {"app": "web"}, "ports": port_80()})).await;
    lab.eventually("one endpoint that is not ready", async || {
        let slices = lab.slices("web").await;
        let conditions = slices.first()?.endpoints.as_ref()?.first()?.conditions.clone()?;
        (conditions.ready == Some(false) && conditions.serving == Some(false)).then_some(())
    })
    .await;
    let pod = lab.pods().await.remove(0);
    let address = pod.status.clone().and_then(|status| status.pod_ip).unwrap_or_default();
    let ready = Patch::Merge(running(&address, true));
    lab.api::<Pod>().patch_status(&pod.name_any(), &PatchParams::default(), &ready).await.expect("status");
    assert_eq!(wait_ready(&lab, "web", 1).await, [address]);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_pods_has_an_empty_slice() {
    let lab = Lab::start().await;
    lab.service("lonely", json!({"selector": {"app": "nobody"}, "ports": port_80()})).await;
    let slice = lab.eventually("a slice", async || lab.slices("lonely").await.pop()).await;
    assert!(slice.endpoints.unwrap_or_default().is_empty());
    assert!(slice.ports.unwrap_or_default().is_empty());
    let endpoints = lab.eventually("endpoints", async || lab.endpoints("lonely").await).await;
    assert!(endpoints.subsets.unwrap_or_default().is_empty());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_a_person_are_mirrored() {
    let lab = Lab::start().await;
    lab.service("outside", json!({"ports": [{"port": 80}]})).await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 8080}]}]);
    lab.create::<Endpoints>(json!({"metadata": {"name": "outside"}, "subsets": subsets})).await;
    assert_eq!(wait_ready(&lab, "outside", 1).await, ["192.0.2.7"]);
    let slice = lab.slices("outside").await.remove(0);
    assert_eq!(slice.ports.unwrap_or_default()[0].port, Some(8080));
    lab.api::<Endpoints>().delete("outside", &DeleteParams::default()).await.expect("deleted");
    lab.eventually("the mirror is gone", async || lab.slices("outside").await.is_empty().then_some(())).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_has_its_own_services() {
    let lab = Lab::start().await;
    controllers::bootstrap(lab.client.clone(), &bootstrap_config())
        .await
        .expect("a second bootstrap changes nothing");
    let services: Api<Service> = Api::namespaced(lab.client.clone(), "default");
    let kubernetes = services.get("kubernetes").await.expect("default/kubernetes");
    assert_eq!(kubernetes.spec.and_then(|spec| spec.cluster_ip).as_deref(), Some("10.96.0.1"));
    let services: Api<Service> = Api::namespaced(lab.client.clone(), "kube-system");
    let dns = services.get("kube-dns").await.expect("kube-system/kube-dns");
    assert_eq!(dns.spec.and_then(|spec| spec.cluster_ip).as_deref(), Some("10.96.0.10"));
    let slices: Api<EndpointSlice> = Api::namespaced(lab.client.clone(), "kube-system");
    let selector = ListParams::default().labels("kubernetes.io/service-name=kube-dns");
    lab.eventually("both nodes answer DNS", async || {
        let found = slices.list(&selector).await.ok()?.items;
        let endpoints = found.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let mut addresses: Vec<_> = endpoints.flat_map(|endpoint| endpoint.addresses.clone()).collect();
        addresses.sort();
        (addresses == ["172.18.0.2", "172.18.0.3"]).then_some(())
    })
    .await;
    lab.set_node_ready("worker-2", false).await;
    lab.eventually("one node is left", async || {
        let found = slices.list(&selector).await.ok()?.items;
        let count = found.iter().flat_map(|slice| slice.endpoints.iter().flatten()).count();
        (count == 1).then_some(())
    })
    .await;
    lab.stop().await;
}
