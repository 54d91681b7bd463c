//! Creating, changing and deleting: what is stored, what is refused, and with which words.

use http::Method;
use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES, Server, config_map, deployment, pod, service};

const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_object_gets_its_metadata_and_defaults() {
    let server = Server::start().await;
    let created = server.post(PODS, &pod("a")).await;
    assert_eq!(created.code, 201);
    let metadata = &created.json["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["generation"], 1);
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(created.json["status"]["phase"], "Pending");
    assert_eq!(created.json["spec"]["restartPolicy"], "Always");
    assert_eq!(server.get(&format!("{PODS}/a")).await.json, created.json);
}

#[tokio::test]
async fn refusals_have_the_words_of_kube_apiserver() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("taken", "1")).await;
    let missing_name = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let other_namespace =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "other"}});
    let cases = [
        (
            server.post(CONFIG_MAPS, &config_map("taken", "2")).await,
            409,
            "configmaps \"taken\" already exists",
        ),
        (server.get(&format!("{CONFIG_MAPS}/none")).await, 404, "configmaps \"none\" not found"),
        (server.get(&format!("{DEPLOYMENTS}/none")).await, 404, "deployments.apps \"none\" not found"),
        (
            server.post("/api/v1/namespaces/nowhere/configmaps", &config_map("x", "1")).await,
            404,
            "namespaces \"nowhere\" not found",
        ),
        (
            server.post(CONFIG_MAPS, &missing_name).await,
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            server.post(CONFIG_MAPS, &other_namespace).await,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (server.get("/apis/nope/v1").await, 404, "the server could not find the requested resource"),
        (server.get(&format!("{PODS}/a/portforward")).await, 501, "pods/portforward is not supported yet"),
        (server.get("/api/v1/widgets").await, 404, "the server could not find the requested resource"),
        (
            server.send(Method::PUT, CONFIG_MAPS, "application/json", "{}").await,
            405,
            "the server does not allow this method on the requested resource",
        ),
        (
            server.put(&format!("{CONFIG_MAPS}/taken"), &config_map("other", "1")).await,
            400,
            "the name of the object (other) does not match the name on the URL (taken)",
        ),
    ];
    for (reply, code, message) in cases {
        assert_eq!((reply.code, reply.message()), (code, message));
        assert_eq!((&reply.json["kind"], &reply.json["code"]), (&json!("Status"), &json!(code)));
    }
}

#[tokio::test]
async fn bodies_that_are_too_long_or_in_an_unknown_form_are_refused() {
    let server = Server::start().await;
    let long = config_map("long", &"x".repeat(3 * 1024 * 1024)).to_string();
    let reply = server.send(Method::POST, CONFIG_MAPS, "application/json", long).await;
    assert_eq!((reply.code, reply.message()), (413, "Request entity too large: limit is 3145728"));

    let reply = server.send(Method::POST, CONFIG_MAPS, "text/csv", "a,b").await;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (415, Some("UnsupportedMediaType")));

    let reply = server.send(Method::POST, CONFIG_MAPS, "application/json", "{nonsense").await;
    assert_eq!(reply.code, 400);

    let path = format!("{CONFIG_MAPS}/x");
    let reply = server.send(Method::PATCH, &path, "application/apply-patch+yaml", "{}").await;
    assert_eq!(reply.code, 415);
    assert!(reply.message().contains("not supported yet"), "{}", reply.message());
    assert_eq!(server.get(CONFIG_MAPS).await.json["items"], json!([]));
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let server = Server::start().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  key: \"1\"\n";
    let created = server.send(Method::POST, CONFIG_MAPS, "application/yaml", text).await;
    assert_eq!((created.code, &created.json["data"]["key"]), (201, &json!("1")));
    for text in ["a: [", "---\n", "x"] {
        let refused = server.send(Method::POST, CONFIG_MAPS, "application/yaml", text).await;
        assert_eq!(refused.code, 400, "{text}");
    }
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped_as_asked() {
    let server = Server::start().await;
    let mut wrong = service("web");
    wrong["spec"]["prots"] = json!([]);
    let strict = server.post(&format!("{SERVICES}?fieldValidation=Strict"), &wrong).await;
    assert_eq!(
        (strict.code, strict.message()),
        (
            400,
            "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \
             \"spec.prots\""
        )
    );
    let warned = server.post(SERVICES, &wrong).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"spec.prots\\\"\""]);
    assert_eq!(warned.json["spec"].get("prots"), None);
    let path = format!("{SERVICES}/web?fieldValidation=Ignore");
    assert!(server.put(&path, &wrong).await.warnings().is_empty());
}

#[tokio::test]
async fn a_stale_revision_conflicts_and_a_current_one_does_not() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let first = server.post(CONFIG_MAPS, &config_map("a", "1")).await.json;
    let mut second = first.clone();
    second["data"]["key"] = json!("2");
    assert_eq!(server.put(&path, &second).await.code, 200);
    let stale = server.put(&path, &second).await;
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.message(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    let patch = json!({"metadata": {"resourceVersion": "1"}, "data": {"key": "3"}});
    assert_eq!(server.merge_patch(&path, &patch).await.code, 409);
    // Without a revision the last one wins.
    assert_eq!(server.put(&path, &config_map("a", "4")).await.code, 200);
}

#[tokio::test]
async fn what_changes_nothing_is_not_written() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = server.post(DEPLOYMENTS, &deployment("web")).await.json;
    let again = server.put(&path, &created).await.json;
    assert_eq!(revision(&again), revision(&created));
    let patch = json!({"spec": {"replicas": 3}}).to_string();
    let patched = server.send(Method::PATCH, &path, STRATEGIC, patch).await.json;
    assert_eq!(revision(&patched), revision(&created));
    let scaled = server.merge_patch(&path, &json!({"spec": {"replicas": 4}})).await.json;
    assert!(revision(&scaled) > revision(&created));
    assert_eq!(scaled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut object = deployment("web");
    object["status"] = json!({"replicas": 9});
    let created = server.post(DEPLOYMENTS, &object).await.json;
    assert_eq!(created["status"].get("replicas"), None);
    let status =
        json!({"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 7}, "status": {"replicas": 2}});
    let changed = server.merge_patch(&format!("{path}/status"), &status).await.json;
    assert_eq!((&changed["spec"]["replicas"], &changed["status"]["replicas"]), (&json!(3), &json!(2)));
    assert_eq!((&changed["metadata"]["generation"], changed["metadata"].get("labels")), (&json!(1), None));
    let main = server.merge_patch(&path, &json!({"status": {"replicas": 5}})).await.json;
    assert_eq!(main["status"]["replicas"], 2);
}

#[tokio::test]
async fn the_scale_is_a_view_of_the_workload() {
    let server = Server::start().await;
    server.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = server.get(&path).await.json;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert_eq!(scale["status"]["selector"], "app=web");
    let patched = server.merge_patch(&path, &json!({"spec": {"replicas": 1}})).await;
    assert_eq!((patched.code, &patched.json["spec"]["replicas"]), (200, &json!(1)));
    assert_eq!(server.put(&path, &scale).await.code, 409);
    assert_eq!(server.get(&format!("{DEPLOYMENTS}/web")).await.json["spec"]["replicas"], 1);
}

#[tokio::test]
async fn json_patches_are_tested_and_applied_whole() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patch = |value: &str| {
        json!([{"op": "test", "path": "/data/key", "value": value}, {"op": "replace", "path": "/data/key", "value": "2"}])
            .to_string()
    };
    let json_patch = "application/json-patch+json";
    let refused = server.send(Method::PATCH, &path, json_patch, patch("9")).await;
    assert_eq!((refused.code, refused.json["reason"].as_str()), (422, Some("Invalid")));
    let patched = server.send(Method::PATCH, &path, json_patch, patch("1")).await;
    assert_eq!((patched.code, &patched.json["data"]["key"]), (200, &json!("2")));
}

#[tokio::test]
async fn a_dry_run_answers_and_leaves_no_trace() {
    let server = Server::start().await;
    let before = server.get(SERVICES).await.json["metadata"]["resourceVersion"].clone();
    let created = server.post(&format!("{SERVICES}?dryRun=All"), &service("web")).await;
    assert_eq!(created.code, 201);
    assert_eq!(created.json["metadata"].get("resourceVersion"), None);
    let list = server.get(SERVICES).await.json;
    assert_eq!((&list["items"], &list["metadata"]["resourceVersion"]), (&json!([]), &before));
}

#[tokio::test]
async fn generated_names_are_different() {
    let server = Server::start().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}});
    let a = server.post(CONFIG_MAPS, &object).await.json["metadata"]["name"].clone();
    let b = server.post(CONFIG_MAPS, &object).await.json["metadata"]["name"].clone();
    assert_ne!(a, b);
    assert!(a.as_str().unwrap().starts_with("web-") && a.as_str().unwrap().len() == 9, "{a}");
}

#[tokio::test]
async fn deletion_answers_with_what_clients_of_the_kind_expect() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    server.post(SERVICES, &service("web")).await;
    let map = server.delete(&format!("{CONFIG_MAPS}/a")).await.json;
    assert_eq!((&map["kind"], &map["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!((&map["details"]["name"], &map["details"]["kind"]), (&json!("a"), &json!("configmaps")));
    let web = server.delete(&format!("{SERVICES}/web")).await.json;
    assert_eq!((&web["kind"], &web["metadata"]["name"]), (&json!("Service"), &json!("web")));
    assert_eq!(server.delete(&format!("{SERVICES}/web")).await.code, 404);
}

#[tokio::test]
async fn a_scheduled_pod_is_deleted_gracefully_and_its_node_has_the_last_word() {
    let server = Server::start().await;
    let path = format!("{PODS}/a");
    server.post(PODS, &pod("a")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
                         "target": {"kind": "Node", "name": "worker-1"}});
    assert_eq!(server.post(&format!("{path}/binding"), &binding).await.code, 201);
    assert_eq!(server.post(&format!("{path}/binding"), &binding).await.code, 409);
    let bound = server.get(&path).await.json;
    assert_eq!(bound["spec"]["nodeName"], "worker-1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let pending = server.delete(&path).await.json;
    assert_eq!(pending["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = server.delete(&format!("{path}?gracePeriodSeconds=5")).await.json;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let later = server.delete(&format!("{path}?gracePeriodSeconds=60")).await.json;
    assert_eq!(later["metadata"]["deletionTimestamp"], sooner["metadata"]["deletionTimestamp"]);
    assert_eq!(server.get(&path).await.code, 200);
    assert_eq!(server.delete(&format!("{path}?gracePeriodSeconds=0")).await.code, 200);
    assert_eq!(server.get(&path).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/held");
    let mut object = config_map("held", "1");
    object["metadata"]["finalizers"] = json!(["example.com/a"]);
    server.post(CONFIG_MAPS, &object).await;
    let pending = server.delete(&path).await.json;
    assert!(pending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(server.get(&path).await.code, 200);
    assert_eq!(server.merge_patch(&path, &json!({"metadata": {"finalizers": null}})).await.code, 200);
    assert_eq!(server.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_policy_becomes_a_finalizer_for_the_collector() {
    let server = Server::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        server.post(DEPLOYMENTS, &deployment(&name)).await;
        let path = format!("{DEPLOYMENTS}/{name}?propagationPolicy={policy}");
        let pending = server.delete(&path).await.json;
        assert_eq!(pending["metadata"]["finalizers"], json!([finalizer]));
    }
    assert_eq!(server.delete(&format!("{DEPLOYMENTS}/foreground?propagationPolicy=Maybe")).await.code, 422);
}

#[tokio::test]
async fn preconditions_protect_a_successor_of_the_same_name() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    let options = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}).to_string();
    let path = format!("{CONFIG_MAPS}/a");
    let reply = server.send(Method::DELETE, &path, "application/json", options).await;
    assert_eq!(reply.code, 409);
    assert!(reply.message().contains("the UID in the precondition"), "{}", reply.message());
    assert_eq!(server.get(&path).await.code, 200);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized_and_takes_nothing_new_meanwhile() {
    let server = Server::start().await;
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    server.post("/api/v1/namespaces", &object).await;
    let pending = server.delete("/api/v1/namespaces/team").await.json;
    assert_eq!(pending["status"]["phase"], "Terminating");
    let refused = server.post("/api/v1/namespaces/team/configmaps", &config_map("late", "1")).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "configmaps \"late\" is forbidden: unable to create new content in namespace team because it is being \
         terminated"
    );
    let mut finalized = pending.clone();
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(server.put("/api/v1/namespaces/team/finalize", &finalized).await.code, 200);
    assert_eq!(server.get("/api/v1/namespaces/team").await.code, 404);
}
