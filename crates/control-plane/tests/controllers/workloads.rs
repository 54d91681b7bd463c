//! Deployments, ReplicaSets and the scheduler.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Event, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::lab::Lab;

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

fn available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

async fn wait_available(lab: &Lab, name: &str, replicas: i32) -> Deployment {
    let deployments = lab.api::<Deployment>();
    lab.eventually(&format!("{name} has {replicas} available pods"), async || {
        let deployment = deployments.get(name).await.ok()?;
        let status = deployment.status.clone()?;
        let settled =
            status.replicas.unwrap_or(0) == replicas && status.updated_replicas.unwrap_or(0) == replicas;
        let seen = status.observed_generation == deployment.metadata.generation;
        (settled && seen && available(&deployment) == replicas).then_some(deployment)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_becomes_pods_on_both_nodes() {
    let lab = Lab::start().await;
    let start = Instant::now();
    lab.deployment("podinfo", 3, json!({})).await;
    let pods = lab
        .eventually("three pods are bound", async || {
            let pods = lab.pods().await;
            (pods.len() == 3 && pods.iter().all(|pod| node_of(pod).is_some())).then_some(pods)
        })
        .await;
    eprintln!("create deployment to pods bound: {:?}", start.elapsed());
    let mut on_node: HashMap<String, usize> = HashMap::new();
    pods.iter().filter_map(node_of).for_each(|node| *on_node.entry(node).or_default() += 1);
    assert_eq!((on_node.len(), on_node.values().max()), (2, Some(&2)), "{on_node:?}");

    let deployment = wait_available(&lab, "podinfo", 3).await;
    assert_eq!(
        deployment.annotations().get("deployment.kubernetes.io/revision").map(String::as_str),
        Some("1")
    );
    let set = &lab.api::<ReplicaSet>().list(&ListParams::default()).await.expect("sets").items[0];
    let hash = &set.labels()["pod-template-hash"];
    assert_eq!(set.name_any(), format!("podinfo-{hash}"));
    assert!(pods.iter().all(|pod| pod.name_any().starts_with(&format!("podinfo-{hash}-"))));
    let conditions = deployment.status.and_then(|status| status.conditions).unwrap_or_default();
    let reasons: Vec<_> = conditions.iter().filter_map(|held| held.reason.as_deref()).collect();
    assert_eq!(reasons, ["MinimumReplicasAvailable", "NewReplicaSetAvailable"]);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_what_was_done() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({})).await;
    wait_available(&lab, "podinfo", 2).await;
    let set = lab.api::<ReplicaSet>().list(&ListParams::default()).await.expect("sets").items[0].name_any();
    let expected = format!("Scaled up replica set {set} from 0 to 2");
    let told = lab
        .eventually("all events are written", async || {
            let events = lab.api::<Event>().list(&ListParams::default()).await.ok()?.items;
            let count =
                |reason| events.iter().filter(|event| event.reason.as_deref() == Some(reason)).count();
            (count("ScalingReplicaSet") == 1 && count("SuccessfulCreate") == 2 && count("Scheduled") == 2)
                .then_some(events)
        })
        .await;
    assert!(told.iter().any(|event| event.message.as_deref() == Some(expected.as_str())));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_follows_and_spares_what_serves() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({})).await;
    wait_available(&lab, "podinfo", 2).await;
    let serving: Vec<_> = lab.pods().await.iter().map(ResourceExt::name_any).collect();
    lab.ready.store(false, Ordering::Relaxed);
    let scale = |replicas: u32| Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let deployments = lab.api::<Deployment>();
    deployments.patch_scale("podinfo", &PatchParams::default(), &scale(4)).await.expect("scaled");
    lab.eventually("four pods", async || (lab.pods().await.len() == 4).then_some(())).await;
    deployments.patch_scale("podinfo", &PatchParams::default(), &scale(2)).await.expect("scaled");
    lab.eventually("two pods", async || (lab.pods().await.len() == 2).then_some(())).await;
    let mut left: Vec<_> = lab.pods().await.iter().map(ResourceExt::name_any).collect();
    left.sort();
    let mut serving = serving;
    serving.sort();
    assert_eq!(left, serving, "the pods that were not ready went");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_is_replaced() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({})).await;
    wait_available(&lab, "podinfo", 2).await;
    let victim = lab.pods().await[0].name_any();
    lab.api::<Pod>().delete(&victim, &DeleteParams::default()).await.expect("deleted");
    lab.eventually("two pods, the victim not among them", async || {
        let pods = lab.pods().await;
        (pods.len() == 2 && pods.iter().all(|pod| pod.name_any() != victim)).then_some(())
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_never_lacks_more_than_it_may() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 4, json!({})).await;
    wait_available(&lab, "podinfo", 4).await;
    let watched = watcher(lab.api::<Pod>(), watcher::Config::default());
    let template = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    let patched = lab.api::<Deployment>();
    patched.patch("podinfo", &PatchParams::default(), &Patch::Merge(template)).await.expect("patched");
    let mut least = usize::MAX;
    let mut watched = std::pin::pin!(watched);
    let mut pods: HashMap<String, Pod> = HashMap::new();
    let mut listed = false;
    let done = async {
        while let Some(Ok(event)) = watched.next().await {
            match event {
                watcher::Event::InitDone => listed = true,
                watcher::Event::Init => {}
                watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                    pods.insert(pod.name_any(), pod);
                }
                watcher::Event::Delete(pod) => {
                    pods.remove(&pod.name_any());
                }
            }
            let alive = pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            if listed {
                least = least.min(alive.filter(|pod| is_ready(pod)).count());
            }
        }
    };
    tokio::select! {
        () = done => panic!("the watch ended"),
        _ = wait_available_of_revision(&lab, "2") => {}
    }
    assert!(least >= 3, "maxUnavailable 25 % of 4 leaves 3, seen {least}");
    let sets = lab.api::<ReplicaSet>().list(&ListParams::default()).await.expect("sets").items;
    assert_eq!(sets.len(), 2, "the old one stays as history");
    lab.stop().await;
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|held| held.type_ == "Ready" && held.status == "True")
}

async fn wait_available_of_revision(lab: &Lab, revision: &str) {
    lab.eventually("the revision is there", async || {
        let sets = lab.api::<ReplicaSet>().list(&ListParams::default()).await.ok()?;
        let wanted: i32 = sets.iter().filter_map(|set| set.spec.replicas).sum();
        assert!(wanted <= 5, "maxSurge 25 % of 4 allows 5, the replica sets ask for {wanted}");
        let deployment = lab.api::<Deployment>().get("podinfo").await.ok()?;
        let held = deployment.annotations().get("deployment.kubernetes.io/revision")?;
        (held == revision).then_some(())
    })
    .await;
    wait_available(lab, "podinfo", 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_waits_until_the_old_pods_are_gone() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({"strategy": {"type": "Recreate"}})).await;
    wait_available(&lab, "podinfo", 2).await;
    let template = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    let deployments = lab.api::<Deployment>();
    deployments.patch("podinfo", &PatchParams::default(), &Patch::Merge(template)).await.expect("patched");
    lab.eventually("all pods are of the new template", async || {
        let pods = lab.pods().await;
        let versions: Vec<_> = pods.iter().map(|pod| pod.annotations().get("version").cloned()).collect();
        let mixed = versions.contains(&None) && versions.iter().any(Option::is_some);
        assert!(!mixed, "old and new at the same time");
        (versions.len() == 2 && !versions.contains(&None)).then_some(())
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_says_so_and_is_bound_when_it_does() {
    let lab = Lab::without_nodes().await;
    lab.add_node("worker-1", "172.18.0.2", true).await;
    lab.add_node("worker-2", "172.18.0.3", false).await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let cordon = |on: bool| Patch::Merge(json!({"spec": {"unschedulable": on}}));
    nodes.patch("worker-1", &PatchParams::default(), &cordon(true)).await.expect("cordoned");
    // The taint shows that the cache which the scheduler plans with has seen the cordon; before, it is right to bind.
    for (node, taint) in [("worker-1", "unschedulable"), ("worker-2", "not-ready")] {
        lab.eventually("the node is tainted", async || {
            let taints = nodes.get(node).await.ok()?.spec?.taints?;
            taints.iter().any(|held| held.key == format!("node.kubernetes.io/{taint}")).then_some(())
        })
        .await;
    }
    let pod = json!({
        "metadata": {"name": "alone"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    });
    lab.create::<Pod>(pod).await;
    let condition = lab
        .eventually("the pod is unschedulable", async || {
            let pod = lab.api::<Pod>().get("alone").await.ok()?;
            let conditions = pod.status?.conditions?;
            conditions.into_iter().find(|held| held.type_ == "PodScheduled" && held.status == "False")
        })
        .await;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    let text = condition.message.unwrap_or_default();
    assert!(
        text.starts_with("0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable."),
        "{text}"
    );
    lab.eventually("an event says why", async || {
        let events = lab.api::<Event>().list(&ListParams::default()).await.ok()?.items;
        events.iter().any(|event| event.reason.as_deref() == Some("FailedScheduling")).then_some(())
    })
    .await;
    nodes.patch("worker-1", &PatchParams::default(), &cordon(false)).await.expect("uncordoned");
    lab.eventually("the pod is bound", async || node_of(&lab.api::<Pod>().get("alone").await.ok()?)).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_replica_sets_go_beyond_the_history_limit() {
    let lab = Lab::start().await;
    lab.deployment("podinfo", 1, json!({"revisionHistoryLimit": 1})).await;
    wait_available(&lab, "podinfo", 1).await;
    for version in ["2", "3", "4"] {
        let template = json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}});
        let deployments = lab.api::<Deployment>();
        deployments
            .patch("podinfo", &PatchParams::default(), &Patch::Merge(template))
            .await
            .expect("patched");
        lab.eventually("the revision is complete", async || {
            let deployment = deployments.get("podinfo").await.ok()?;
            (deployment.annotations().get("deployment.kubernetes.io/revision")? == version).then_some(())
        })
        .await;
        wait_available(&lab, "podinfo", 1).await;
    }
    lab.eventually("two replica sets are left", async || {
        let sets = lab.api::<ReplicaSet>().list(&ListParams::default()).await.ok()?;
        (sets.items.len() == 2).then_some(())
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_when_nothing_happens() {
    let mut lab = Lab::start().await;
    lab.deployment("podinfo", 2, json!({})).await;
    lab.service(
        "podinfo",
        json!({"selector": {"app": "podinfo"}, "ports": [{"port": 80, "targetPort": 9898}]}),
    )
    .await;
    lab.service("outside", json!({"ports": [{"port": 80}]})).await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 8080}]}]);
    lab.create::<Endpoints>(json!({"metadata": {"name": "outside"}, "subsets": subsets})).await;
    wait_available(&lab, "podinfo", 2).await;
    lab.rest().await;
    let before = lab.revision().await;
    lab.restart_controllers(Duration::from_secs(40)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(lab.revision().await, before, "a restart changes nothing");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pods_come_in_one_go() {
    const PODS: u32 = 200;
    let lab = Lab::start().await;
    for number in 0..50 {
        let selector = json!({"app": if number == 0 { "podinfo" } else { "other" }});
        let spec = json!({"selector": selector, "ports": [{"port": 80, "targetPort": 9898}]});
        lab.service(&format!("s{number}"), spec).await;
    }
    let start = Instant::now();
    lab.deployment("podinfo", PODS, json!({})).await;
    lab.eventually("all are ready endpoints", async || {
        (lab.ready_addresses("s0").await.len() == PODS as usize).then_some(())
    })
    .await;
    eprintln!("{PODS} pods to ready endpoints: {:?}", start.elapsed());
    assert_eq!(lab.pods().await.len(), PODS as usize, "no more than asked for");
    assert!(lab.slices("s0").await.len() <= 3, "slices are filled");
    lab.stop().await;
}
