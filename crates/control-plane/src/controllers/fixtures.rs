//! Objects for unit tests, small enough to be read in a table.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::action::{Plan, summary};
use super::cluster::Cluster;
use super::engine::{Controller, Now};
use super::object::{Key, Object, Target, Watched};

/// The time at which unit tests happen.
pub(super) fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    Now { wall: at(1000), steady: *START.get_or_init(Instant::now) }
}

/// So many seconds into the tests' day.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// An object in the namespace `default`, with its name as uid.
pub(super) fn object<K: Watched + DeserializeOwned>(name: &str, mut fields: Value) -> Object {
    let meta = &mut fields["metadata"];
    meta["name"] = json!(name);
    meta["uid"] = json!(name);
    if !matches!(K::kind(&()).as_ref(), "Node" | "Namespace") && meta["namespace"].is_null() {
        meta["namespace"] = json!("default");
    }
    Object::new::<K>(serde_json::from_value(fields).unwrap())
}

/// What the controller plans for an object.
pub(super) fn plan<K: Watched>(controller: &dyn Controller, cluster: &Cluster, name: &str) -> Plan {
    let namespace = if matches!(K::kind(&()).as_ref(), "Node" | "Namespace") { "" } else { "default" };
    let target = Target { kind: K::KIND, key: Key::new(namespace, name) };
    controller.plan(cluster, &target, now())
}

/// The same, as lines.
pub(super) fn planned<K: Watched>(controller: &dyn Controller, cluster: &Cluster, name: &str) -> Vec<String> {
    summary(&plan::<K>(controller, cluster, name))
}

/// An owner reference that makes `name` the controller.
pub(super) fn owned_by(kind: &str, name: &str) -> Value {
    let api_version = if kind == "Service" || kind == "Node" { "v1" } else { "apps/v1" };
    json!([{
        "apiVersion": api_version, "kind": kind, "name": name, "uid": name,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// A pod of the ReplicaSet `owner` (none for `""`), with label `app`.
pub(super) struct PodOf<'a> {
    pub(super) name: &'a str,
    pub(super) owner: &'a str,
    pub(super) app: &'a str,
    pub(super) node: &'a str,
    pub(super) phase: &'a str,
    pub(super) ip: Option<&'a str>,
    /// When it became ready.
    pub(super) ready: Option<i64>,
    pub(super) deleting: bool,
    pub(super) fields: Value,
}

impl Default for PodOf<'_> {
    fn default() -> Self {
        Self {
            name: "pod",
            owner: "",
            app: "web",
            node: "",
            phase: "Running",
            ip: None,
            ready: None,
            deleting: false,
            fields: json!({}),
        }
    }
}

impl PodOf<'_> {
    pub(super) fn object(self) -> Object {
        let mut pod = json!({
            "metadata": {"labels": {"app": self.app}},
            "spec": {"nodeName": self.node, "containers": []},
            "status": {"phase": self.phase, "podIP": self.ip},
        });
        for (field, value) in self.fields.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        if !self.owner.is_empty() {
            pod["metadata"]["ownerReferences"] = owned_by("ReplicaSet", self.owner);
        }
        if let Some(second) = self.ready {
            let time = at(second).to_string();
            pod["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
        }
        if self.deleting {
            pod["metadata"]["deletionTimestamp"] = json!(now().wall.to_string());
        }
        object::<k8s_openapi::api::core::v1::Pod>(self.name, pod)
    }
}

/// A node with the condition Ready.
pub(super) fn node(name: &str, ready: bool, spec: Value, labels: Value) -> Object {
    let status = if ready { "True" } else { "False" };
    let conditions = json!([{"type": "Ready", "status": status, "lastTransitionTime": at(900).to_string(),
        "lastHeartbeatTime": at(990).to_string()}]);
    let fields = json!({"metadata": {"labels": labels}, "spec": spec, "status": {"conditions": conditions}});
    object::<k8s_openapi::api::core::v1::Node>(name, fields)
}

/// A Ready node `n1` whose last heartbeat was at this second.
pub(super) fn seen_at(second: i64) -> Object {
    let mut node = node("n1", true, json!({}), json!({}));
    if let Object::Node(node) = &mut node {
        let node = std::sync::Arc::make_mut(node);
        let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions[0].last_heartbeat_time =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(second)));
    }
    node
}

/// The Lease of node `n1`, renewed at this second.
pub(super) fn lease(renewed: i64) -> Object {
    let time = at(renewed).strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let fields = json!({"metadata": {"namespace": "kube-node-lease"}, "spec": {"renewTime": time}});
    object::<k8s_openapi::api::coordination::v1::Lease>("n1", fields)
}
