//! What a new pod gets from the cluster: its service account, priority, tolerations and class of service.

use serde_json::{Map, Value, json};

/// Seconds that a pod stays on a node that went away, upstream's `DefaultTolerationSeconds`.
const TOLERATED: u32 = 300;
const NODE_TROUBLES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Completes a new pod.
pub(super) fn create(pod: &mut Value) {
    let spec = &mut pod["spec"];
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = json!("default");
    }
    for (name, value) in [("priority", json!(0)), ("preemptionPolicy", json!("PreemptLowerPriority"))] {
        if spec[name].is_null() {
            spec[name] = value;
        }
    }
    tolerations(spec);
    let class = quality_of_service(spec);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// Tolerations that every pod has come back when a client's copy lacks them.
pub(super) fn update(pod: &mut Value) {
    tolerations(&mut pod["spec"]);
}

fn tolerations(spec: &mut Value) {
    let mut list = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for trouble in NODE_TROUBLES {
        let tolerated = list.iter().any(|toleration| {
            let (key, effect) = (&toleration["key"], &toleration["effect"]);
            (key == trouble || key.is_null()) && (effect == "NoExecute" || effect.is_null())
        });
        if !tolerated {
            list.push(json!({"key": trouble, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED}));
        }
    }
    spec["tolerations"] = Value::Array(list);
}

/// Guaranteed if each container's limits of processor and memory equal its requests, BestEffort if none has either.
fn quality_of_service(spec: &Value) -> &'static str {
    let containers =
        ["containers", "initContainers"].into_iter().flat_map(|list| spec[list].as_array()).flatten();
    let empty = Map::new();
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let amounts = |kind: &str| container["resources"][kind].as_object().unwrap_or(&empty);
        let (requests, limits) = (amounts("requests"), amounts("limits"));
        let counted = ["cpu", "memory"];
        any |= counted.iter().any(|name| requests.contains_key(*name) || limits.contains_key(*name));
        guaranteed &=
            counted.iter().all(|name| limits.contains_key(*name) && requests.get(*name) == limits.get(*name));
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
