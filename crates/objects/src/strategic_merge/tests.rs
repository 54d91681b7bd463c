use proptest::prelude::*;
use serde_json::{Value, json};

use super::apply;

fn patched(kind: (&str, &str), object: Value, patch: Value) -> Value {
    let mut object = object;
    apply(kind.0, kind.1, &mut object, &patch).unwrap();
    object
}

const POD: (&str, &str) = ("", "Pod");
const SERVICE: (&str, &str) = ("", "Service");
const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

#[test]
fn fields_merge_and_null_deletes() {
    let object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"type": "NodePort", "x": 1}});
    let patch = json!({"metadata": {"labels": {"b": null, "c": "3"}}, "spec": {"type": "ClusterIP"}});
    let expected =
        json!({"metadata": {"labels": {"a": "1", "c": "3"}}, "spec": {"type": "ClusterIP", "x": 1}});
    assert_eq!(patched(SERVICE, object, patch), expected);
}

#[test]
fn keyed_lists_merge_by_their_key() {
    let ports = |list: Value| json!({"spec": {"ports": list}});
    let original = ports(json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
    let cases = [
        (
            json!([{"port": 443, "targetPort": 8443}]),
            json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https", "targetPort": 8443}]),
        ),
        (
            json!([{"port": 53}]),
            json!([{"port": 53}, {"port": 80, "name": "http"}, {"port": 443, "name": "https"}]),
        ),
        (json!([{"port": 80, "$patch": "delete"}]), json!([{"port": 443, "name": "https"}])),
        (json!([{"$patch": "replace"}, {"port": 1}]), json!([{"port": 1}])),
        (json!([{"port": 80, "$patch": "replace", "x": 1}]), json!([{"port": 80, "x": 1}])),
    ];
    for (patch, expected) in cases {
        assert_eq!(patched(SERVICE, original.clone(), ports(patch.clone())), ports(expected), "{patch}");
    }
}

#[test]
fn the_order_of_kubectl_apply_is_followed() {
    let container = |name: &str| json!({"name": name, "image": name});
    let object = json!({"spec": {"containers": [container("a"), container("b"), container("sidecar")]}});
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
        "containers": [{"name": "new", "image": "new"}],
    }});
    let names: Vec<Value> = patched(POD, object, patch)["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["b", "new", "a", "sidecar"]);
}

#[test]
fn sets_of_plain_values() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    let add = json!({"metadata": {"finalizers": ["c", "a"]}});
    let remove = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(patched(POD, object.clone(), add)["metadata"]["finalizers"], json!(["c", "a", "b"]));
    assert_eq!(patched(POD, object, remove)["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn lists_without_a_key_are_replaced() {
    let object =
        json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}], "tolerations": [{"key": "k"}]}});
    let patch = json!({"spec": {"containers": [{"name": "a", "args": ["z"]}], "tolerations": []}});
    let expected = json!({"spec": {"containers": [{"name": "a", "args": ["z"]}], "tolerations": []}});
    assert_eq!(patched(POD, object, patch), expected);
}

#[test]
fn retained_keys_drive_out_the_others() {
    let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched(DEPLOYMENT, object, patch), json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn objects_are_replaced_and_emptied_by_directive() {
    let object = json!({"spec": {"selector": {"a": "1"}, "x": 1}});
    let replace = json!({"spec": {"selector": {"$patch": "replace", "b": "2"}}});
    let delete = json!({"spec": {"selector": {"$patch": "delete"}}});
    assert_eq!(patched(SERVICE, object.clone(), replace)["spec"]["selector"], json!({"b": "2"}));
    assert_eq!(patched(SERVICE, object, delete)["spec"]["selector"], json!({}));
}

#[test]
fn directives_never_reach_the_object() {
    let patch = json!({"spec": {
        "$setElementOrder/ports": [{"port": 80}],
        "ports": [{"port": 80, "$patch": "merge"}, {"port": 81, "$patch": "delete"}],
        "selector": {"$retainKeys": ["a"], "a": "1"},
    }});
    let result = patched(SERVICE, json!({}), patch);
    assert_eq!(result, json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "1"}}}));
}

#[test]
fn malformed_patches_are_refused() {
    let cases = [
        (json!({"spec": {"ports": [{"name": "x"}]}}), "does not contain declared merge key: port"),
        (json!({"spec": {"ports": ["x"]}}), "expected a list of objects"),
        (json!({"spec": {"$patch": "wibble"}}), "Unexpected value for directive $patch"),
        (json!({"spec": {"$retainKeys": "x"}}), "$retainKeys"),
        (json!({"spec": {"$setElementOrder/ports": 1, "ports": []}}), "$setElementOrder/ports"),
    ];
    for (patch, expected) in cases {
        let error = apply(SERVICE.0, SERVICE.1, &mut json!({"spec": {"ports": []}}), &patch).unwrap_err();
        assert!(error.to_string().contains(expected), "{patch}: {error}");
    }
}

/// Services' specs with few different ports, so that they meet.
fn service() -> impl Strategy<Value = Value> {
    let port = (1..5_u16, "[ab]?", prop::option::of(1..3_u16)).prop_map(|(port, name, target)| {
        let mut value = json!({"port": port, "name": name});
        if let Some(target) = target {
            value["targetPort"] = json!(target);
        }
        value
    });
    let ports = prop::collection::vec(port, 0..4).prop_map(|mut ports: Vec<Value>| {
        let mut seen = Vec::new();
        ports.retain(|p| {
            !seen.contains(&p["port"]) && {
                seen.push(p["port"].clone());
                true
            }
        });
        ports
    });
    let labels = prop::collection::btree_map("[abc]", prop::option::of("[12]"), 0..3);
    (ports, labels)
        .prop_map(|(ports, labels)| json!({"metadata": {"labels": labels}, "spec": {"ports": ports}}))
}

proptest! {
    #[test]
    fn a_second_application_changes_nothing(object in service(), patch in service()) {
        let once = patched(SERVICE, object, patch.clone());
        prop_assert_eq!(patched(SERVICE, once.clone(), patch), once);
    }

    #[test]
    fn an_empty_patch_changes_nothing(object in service()) {
        prop_assert_eq!(patched(SERVICE, object.clone(), json!({})), object);
    }

    #[test]
    fn every_item_of_the_patch_is_there_in_its_order(object in service(), patch in service()) {
        let ports = |v: &Value| -> Vec<Value> {
            v["spec"]["ports"].as_array().unwrap().iter().map(|p| p["port"].clone()).collect()
        };
        let result = ports(&patched(SERVICE, object, patch.clone()));
        let wanted = ports(&patch);
        let found: Vec<Value> = result.into_iter().filter(|p| wanted.contains(p)).collect();
        prop_assert_eq!(found, wanted);
    }
}
