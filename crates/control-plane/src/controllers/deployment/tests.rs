//! From ReplicaSets to the next step of a rollout.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Value, json};

use super::{Deployments, revision, rollout};
use crate::controllers::action::summary;
use crate::controllers::cluster::Cluster;
use crate::controllers::fixtures::{object, owned_by, plan};
use crate::controllers::object::Object;

fn template(version: u32) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"version": version.to_string()}},
        "spec": {"containers": []},
    })
}

/// A Deployment at template version 2.
fn deployment(replicas: i32, spec: &Value) -> Object {
    let mut fields = json!({
        "metadata": {"generation": 1},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(2),
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        fields["spec"][field] = value.clone();
    }
    object::<Deployment>("web", fields)
}

/// Version, pods asked for, pods available, annotation of the desired number.
type Set = (u32, i32, i32, i32);

fn set((version, replicas, available, desired): Set) -> Object {
    let mut template = template(version);
    template["metadata"]["labels"]["pod-template-hash"] = json!(format!("h{version}"));
    let annotations = json!({
        revision::REVISION: version.to_string(),
        revision::DESIRED_REPLICAS: desired.to_string(),
        revision::MAX_REPLICAS: (desired + (desired + 3) / 4).to_string(),
    });
    let fields = json!({
        "metadata": {
            "labels": {"app": "web"}, "annotations": annotations, "generation": 1,
            "ownerReferences": owned_by("Deployment", "web"),
            "creationTimestamp": format!("2026-01-01T00:00:{version:02}Z"),
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        "status": {
            "replicas": replicas, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 1,
        },
    });
    object::<ReplicaSet>(&format!("web-h{version}"), fields)
}

/// The sizes that are written, and what is made or deleted.
fn step(replicas: i32, spec: Value, sets: &[Set]) -> Vec<String> {
    let sets = sets.iter().map(|held| set(*held));
    let cluster = Cluster::of(std::iter::once(deployment(replicas, &spec)).chain(sets));
    let plan = plan::<Deployment>(&Deployments, &cluster, "web");
    let told =
        plan.actions.iter().filter_map(|action| action.success.as_ref().map(|note| note.message.clone()));
    let told: Vec<_> =
        told.map(|message| message.replace("Scaled ", "").replace("replica set ", "")).collect();
    let deleted = summary(&plan).into_iter().filter(|line| line.starts_with("delete"));
    told.into_iter().chain(deleted).collect()
}

#[test]
fn the_first_step_makes_the_replica_set() {
    let cluster = Cluster::of([deployment(3, &json!({}))]);
    let plan = plan::<Deployment>(&Deployments, &cluster, "web");
    let lines = summary(&plan);
    assert!(lines[0].starts_with("create ReplicaSet web-"), "{lines:?}");
    assert!(lines[1].contains(r#""deployment.kubernetes.io/revision":"1""#), "{lines:?}");
    assert!(
        lines[2].contains("NewReplicaSetCreated") && lines[2].contains("MinimumReplicasUnavailable"),
        "{lines:?}"
    );
    let name = lines[0].trim_start_matches("create ReplicaSet ");
    let told = plan.actions[0].success.as_ref().map(|note| note.message.clone());
    assert_eq!(told, Some(format!("Scaled up replica set {name} from 0 to 3")));
}

#[test]
fn steps_of_a_rolling_update() {
    for (what, replicas, sets, expected) in [
        ("surge first", 4, vec![(1, 4, 4, 4), (2, 0, 0, 4)], vec!["up web-h2 from 0 to 1"]),
        ("then one old pod may go", 4, vec![(1, 4, 4, 4), (2, 1, 0, 4)], vec!["down web-h1 from 4 to 3"]),
        ("then the new one fills up", 4, vec![(1, 3, 3, 4), (2, 1, 0, 4)], vec!["up web-h2 from 1 to 2"]),
        ("nothing while the new ones start", 4, vec![(1, 3, 3, 4), (2, 2, 0, 4)], vec![]),
        ("ready ones replace old ones", 4, vec![(1, 3, 3, 4), (2, 2, 2, 4)], vec!["down web-h1 from 3 to 1"]),
        ("useless old pods go first", 4, vec![(1, 3, 1, 4), (2, 1, 1, 4)], vec!["up web-h2 from 1 to 2"]),
        ("the last", 4, vec![(1, 1, 1, 4), (2, 4, 4, 4)], vec!["down web-h1 from 1 to 0"]),
        ("complete", 4, vec![(1, 0, 0, 4), (2, 4, 4, 4)], vec![]),
        ("scaled up", 5, vec![(2, 3, 3, 3)], vec!["up web-h2 from 3 to 5"]),
        ("scaled to nothing", 0, vec![(2, 3, 3, 3)], vec!["down web-h2 from 3 to 0"]),
        ("scaled back from nothing", 2, vec![(2, 0, 0, 0)], vec!["up web-h2 from 0 to 2"]),
        (
            "scaled in the middle: in proportion",
            10,
            vec![(1, 4, 4, 5), (2, 3, 3, 5)],
            vec!["up web-h1 from 4 to 7", "up web-h2 from 3 to 6"],
        ),
    ] {
        let mut step = step(replicas, json!({}), &sets);
        step.sort();
        assert_eq!(step, expected, "{what}");
    }
}

#[test]
fn other_strategies() {
    let recreate = json!({"strategy": {"type": "Recreate"}});
    assert_eq!(step(2, recreate.clone(), &[(1, 2, 2, 2)]), ["down web-h1 from 2 to 0"]);
    let made = step(2, recreate, &[(1, 0, 0, 2)]);
    assert!(made.len() == 1 && made[0].ends_with("from 0 to 2"), "{made:?}");
    let paused = json!({"paused": true});
    assert!(step(2, paused.clone(), &[(1, 2, 2, 2)]).is_empty(), "no new template");
    assert_eq!(step(3, paused, &[(1, 2, 2, 2)]), ["up web-h1 from 2 to 3"], "but scaling");
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_first() {
    let sets = [(0, 0, 0, 1), (1, 0, 0, 1), (2, 1, 1, 1)];
    assert_eq!(step(1, json!({"revisionHistoryLimit": 1}), &sets), ["delete ReplicaSet web-h0"]);
    assert!(step(1, json!({}), &sets).is_empty());
    let rolling = [(0, 0, 0, 1), (1, 1, 1, 1), (2, 1, 0, 1)];
    assert!(
        step(1, json!({"revisionHistoryLimit": 0}), &rolling).is_empty(),
        "not in the middle of a rollout"
    );
}

#[test]
fn fenceposts_round_in_favour_of_availability() {
    let rolling = |surge: Value, unavailable: Value| {
        json!({"strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
    };
    for (replicas, spec, expected) in [
        (4, json!({}), (1, 1)),
        (3, json!({}), (1, 0)),
        (10, json!({}), (3, 2)),
        (1, json!({}), (1, 0)),
        (0, json!({}), (0, 0)),
        (5, rolling(json!(2), json!("50%")), (2, 2)),
        (5, rolling(json!(0), json!(0)), (0, 1)),
        (2, rolling(json!("0%"), json!("10%")), (0, 1)),
        (2, rolling(json!(1), json!(9)), (1, 2)),
        (2, json!({"strategy": {"type": "Recreate"}}), (0, 0)),
    ] {
        let Object::Deployment(deployment) = deployment(replicas, &spec) else { unreachable!() };
        let found = (rollout::surge(&deployment.spec), rollout::unavailable(&deployment.spec));
        assert_eq!(found, expected, "{replicas} {spec}");
    }
}

#[test]
fn a_rollout_that_makes_no_progress_times_out() {
    let mut fields = serde_json::to_value(match deployment(2, &json!({})) {
        Object::Deployment(deployment) => (*deployment).clone(),
        _ => unreachable!(),
    })
    .unwrap();
    let since = crate::controllers::fixtures::at(300).to_string();
    fields["status"] = json!({
        "replicas": 2, "updatedReplicas": 2, "observedGeneration": 1,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
            "lastUpdateTime": since, "lastTransitionTime": since}],
    });
    let cluster = Cluster::of([object::<Deployment>("web", fields), set((2, 2, 0, 2))]);
    let lines = summary(&plan::<Deployment>(&Deployments, &cluster, "web"));
    let status = lines.iter().find(|line| line.contains("/status")).unwrap();
    assert!(status.contains(r#"ReplicaSet \"web-h2\" has timed out progressing."#), "{status}");
}
