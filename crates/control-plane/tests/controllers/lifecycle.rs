//! Namespaces, garbage, nodes.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::lab::Lab;

async fn wait_pods(lab: &Lab, count: usize) {
    lab.eventually(&format!("{count} pods with an address"), async || {
        let pods = lab.pods().await;
        let placed =
            pods.iter().filter(|pod| pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()));
        (placed.count() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_has_its_account_and_authority() {
    let lab = Lab::start().await;
    lab.eventually("account", async || lab.api::<ServiceAccount>().get_opt("default").await.ok()?).await;
    let map =
        lab.eventually("map", async || lab.api::<ConfigMap>().get_opt("kube-root-ca.crt").await.ok()?).await;
    assert!(map.data.unwrap_or_default()["ca.crt"].starts_with("-----BEGIN"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({})).await;
    wait_pods(&lab, 2).await;
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    namespaces.delete(&lab.namespace, &DeleteParams::default()).await.expect("deleted");
    lab.eventually("the namespace is gone", async || {
        namespaces.get_opt(&lab.namespace).await.ok()?.is_none().then_some(())
    })
    .await;
    assert!(lab.pods().await.is_empty());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deployment_owns_goes_with_it() {
    for policy in [DeleteParams::background(), DeleteParams::foreground()] {
        let lab = Lab::start().await;
        lab.deployment("podinfo", 2, json!({})).await;
        wait_pods(&lab, 2).await;
        lab.api::<Deployment>().delete("podinfo", &policy).await.expect("deleted");
        lab.eventually("nothing is left", async || {
            let sets = lab.api::<ReplicaSet>().list(&ListParams::default()).await.ok()?.items.len();
            let pods = lab.api::<Pod>().list(&ListParams::default()).await.ok()?.items.len();
            let gone = lab.api::<Deployment>().get_opt("podinfo").await.ok()?.is_none();
            (sets == 0 && pods == 0 && gone).then_some(())
        })
        .await;
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 1, json!({})).await;
    wait_pods(&lab, 1).await;
    lab.api::<Deployment>().delete("podinfo", &DeleteParams::orphan()).await.expect("deleted");
    lab.eventually("the replica set has no owner", async || {
        let gone = lab.api::<Deployment>().get_opt("podinfo").await.ok()?.is_none();
        let set = lab.api::<ReplicaSet>().list(&ListParams::default()).await.ok()?.items.pop()?;
        (gone && set.metadata.owner_references.unwrap_or_default().is_empty()).then_some(())
    })
    .await;
    assert_eq!(lab.pods().await.len(), 1);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_takes_its_pods_out_of_service() {
    let lab = Lab::start().await;
    lab.deployment("web", 2, json!({})).await;
    lab.service("web", json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})).await;
    lab.eventually("two ready endpoints", async || {
        (lab.ready_addresses("web").await.len() == 2).then_some(())
    })
    .await;
    lab.set_node_ready("worker-2", false).await;
    lab.eventually("one is left", async || {
        let ready = lab.ready_addresses("web").await;
        (ready.len() == 1 && ready[0].starts_with("10.244.1.")).then_some(())
    })
    .await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    nodes.delete("worker-2", &DeleteParams::default()).await.expect("deleted");
    lab.eventually("its pod was replaced on the other node", async || {
        let ready = lab.ready_addresses("web").await;
        (ready.len() == 2 && ready.iter().all(|address| address.starts_with("10.244.1."))).then_some(())
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_becomes_unknown() {
    let mut lab = Lab::start().await;
    lab.deployment("web", 2, json!({})).await;
    lab.service("web", json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})).await;
    lab.eventually("two ready endpoints", async || {
        (lab.ready_addresses("web").await.len() == 2).then_some(())
    })
    .await;
    lab.restart_controllers(Duration::from_secs(2)).await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    lab.eventually("worker-2 is lost", async || {
        lab.set_node_ready("worker-1", true).await;
        let conditions = nodes.get("worker-2").await.ok()?.status?.conditions?;
        conditions.iter().any(|held| held.type_ == "Ready" && held.status == "Unknown").then_some(())
    })
    .await;
    lab.eventually("its endpoint with it", async || {
        lab.set_node_ready("worker-1", true).await;
        let ready = lab.ready_addresses("web").await;
        (ready.len() == 1 && ready[0].starts_with("10.244.1.")).then_some(())
    })
    .await;
    let taints =
        nodes.get("worker-2").await.expect("a node").spec.and_then(|spec| spec.taints).unwrap_or_default();
    assert!(taints.iter().any(|taint| taint.key == "node.kubernetes.io/unreachable"), "{taints:?}");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_work_is_taken_up_again() {
    let mut lab = Lab::start().await;
    lab.deployment("web", 30, json!({})).await;
    for _ in 0..5 {
        lab.restart_controllers(Duration::from_secs(40)).await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    wait_pods(&lab, 30).await;
    lab.rest().await;
    assert_eq!(lab.pods().await.len(), 30, "no more than asked for");
    lab.stop().await;
}
