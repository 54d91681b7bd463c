//! Answers of kube-apiserver 1.37.2 (`recorded/`), asked of our admission. One text differs on purpose: for an address outside of
//! the subnet we say which range is valid, as Kubernetes did up to 1.32, because tools read the range from it.

use super::*;
use crate::http::carry_over;
use crate::metadata;
use crate::store::{Key, Store};
use objects::decode::decode;
use objects::resource::by_kind;
use serde_json::json;

const RANGE: &str = "10.96.0.0/16";

fn cluster(range: &str) -> (Admission, Store) {
    let (admission, store) = (Admission::new(range.parse().unwrap()), Store::in_memory());
    let namespaces = by_kind("v1", "Namespace").unwrap();
    for (name, phase) in [("default", "Active"), ("going", "Terminating")] {
        let mut namespace = json!({"metadata": {"name": name}, "status": {"phase": phase}});
        let put = store.write_blocking(|tx| {
            tx.put(&Key::new(namespaces, "", name), &mut namespace);
            Ok(())
        });
        put.unwrap();
    }
    (admission, store)
}

fn key(object: &Value) -> Key {
    let (resource, metadata) = (resource_of(object), &object["metadata"]);
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    Key::new(resource, namespace, metadata["name"].as_str().unwrap_or_default())
}

fn resource_of(object: &Value) -> &'static Resource {
    by_kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap()
}

/// As a POST: decode, complete, judge, store.
fn create(admission: &Admission, store: &Store, object: &Value) -> Result<Value, Status> {
    let resource = resource_of(object);
    let mut object =
        decode(&resource.api_version(), resource.kind, object.to_string().as_bytes()).unwrap().object;
    metadata::initialize(resource, &mut object);
    if resource.namespaced && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!("default");
    }
    if let Some(prefix) = object["metadata"]["generateName"].as_str()
        && object["metadata"]["name"].is_null()
    {
        object["metadata"]["name"] = json!(format!("{prefix}d2x68"));
    }
    store.write_blocking(|tx| {
        admission.create(tx, resource, &mut object)?;
        tx.put(&key(&object), &mut object);
        Ok(())
    })?;
    Ok(object)
}

/// As a PUT.
fn update(admission: &Admission, store: &Store, object: &Value) -> Result<Value, Status> {
    let resource = resource_of(object);
    let mut new =
        decode(&resource.api_version(), resource.kind, object.to_string().as_bytes()).unwrap().object;
    store.write_blocking(|tx| {
        let old = tx.value(&key(&new)).unwrap();
        carry_over(resource, None, &old, &mut new);
        admission.update(tx, resource, &old, &mut new, None)?;
        tx.put(&key(&new), &mut new);
        Ok(())
    })?;
    Ok(new)
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Takes out what was allocated freely, so that two clusters compare.
fn without_dynamic(mut spec: Value, asked: &Value) -> Value {
    if asked["clusterIP"].as_str().is_none_or(str::is_empty) && spec["clusterIP"] != "None" {
        spec["clusterIP"] = Value::Null;
        spec["clusterIPs"] = Value::Null;
    }
    spec
}

#[test]
fn new_services_are_answered_as_kube_apiserver_does() {
    let (admission, store) = cluster(RANGE);
    create(
        &admission,
        &store,
        &service("kubernetes", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]})),
    )
    .unwrap();
    for case in lines(include_str!("recorded/service-create.jsonl")) {
        // A name that is taken is the store's business.
        if case["code"] == 409 {
            continue;
        }
        let (object, asked) = (&case["object"], &case["object"]["spec"]);
        match create(&admission, &store, object) {
            Ok(service) => {
                let expected = without_dynamic(case["spec"].clone(), asked);
                assert_eq!(
                    without_dynamic(service["spec"].clone(), asked),
                    expected,
                    "{object} gave {:?}",
                    case["message"]
                );
            }
            Err(status) => {
                assert_eq!(json!(status.message), case["message"], "{object}");
                assert_eq!(json!(status.code), case["code"], "{object}");
            }
        }
    }
}

/// Takes out what only the server knows.
fn comparable(mut object: Value) -> Value {
    for name in ["uid", "creationTimestamp", "resourceVersion"] {
        object["metadata"].as_object_mut().unwrap().remove(name);
    }
    object
}

/// We write `[]` where Go writes `null`, and leave times out that are not set.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| (name, plain(value)));
            kept.filter(|(_, value)| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

#[test]
fn new_objects_are_answered_as_kube_apiserver_does() {
    let (admission, store) = cluster(RANGE);
    let mut wrong = Vec::new();
    for case in lines(include_str!("recorded/create.jsonl")) {
        let (answer, expected) = match create(&admission, &store, &case["object"]) {
            Ok(object) => (comparable(object), &case["answer"]),
            Err(status) => (json!(status.message), &case["message"]),
        };
        if plain(answer.clone()) != plain(expected.clone()) {
            wrong.push(format!("{}\n  ours:   {answer}\n  theirs: {expected}", case["object"]));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn changed_services_are_answered_as_kube_apiserver_does() {
    let (admission, store) = cluster(RANGE);
    for case in lines(include_str!("recorded/service-update.jsonl")) {
        let old = create(&admission, &store, &case["create"]).unwrap();
        let ip = old["spec"]["clusterIP"].as_str().unwrap_or("none").to_owned();
        let mut new = old.clone();
        let spec = new["spec"].as_object_mut().unwrap();
        for name in case["drop"].as_array().unwrap() {
            spec.remove(name.as_str().unwrap());
        }
        for (name, value) in case["change"].as_object().unwrap() {
            spec.insert(name.clone(), value.clone());
        }
        for (name, value) in case["meta"].as_object().unwrap() {
            new["metadata"][name] = value.clone();
        }
        let fill =
            |value: &Value| serde_json::from_str::<Value>(&value.to_string().replace("$IP", &ip)).unwrap();
        match update(&admission, &store, &new) {
            Ok(service) => assert_eq!(service["spec"], fill(&case["spec"]), "{case}"),
            Err(status) => assert_eq!(json!(status.message), fill(&case["message"]), "{case}"),
        }
    }
}

#[test]
fn a_full_range_is_an_internal_error_and_a_deleted_service_makes_room() {
    let (admission, store) = cluster("10.0.0.0/30");
    let spec = json!({"ports": [{"port": 80}]});
    let first = create(&admission, &store, &service("a", spec.clone())).unwrap();
    create(&admission, &store, &service("b", spec.clone())).unwrap();
    let full = create(&admission, &store, &service("c", spec.clone())).unwrap_err();
    assert_eq!(full.code, 500);
    assert_eq!(
        full.message,
        "Internal error occurred: failed to allocate a serviceIP for Service \"c\": range is full"
    );
    let resource = resource_of(&first);
    store.write_blocking(|tx| admission.delete(tx, resource, &first, true)).unwrap();
    let third = create(&admission, &store, &service("c", spec)).unwrap();
    assert_eq!(third["spec"]["clusterIP"], first["spec"]["clusterIP"]);
}

#[test]
fn dynamic_addresses_leave_the_lower_band_until_the_upper_is_full() {
    let (admission, store) = cluster("10.0.0.0/27");
    let spec = json!({"ports": [{"port": 80}]});
    let last_octet = |service: Value| {
        let ip = service["spec"]["clusterIP"].as_str().unwrap().to_owned();
        ip.rsplit('.').next().unwrap().parse::<u8>().unwrap()
    };
    let mut upper: Vec<u8> = (0..14)
        .map(|n| last_octet(create(&admission, &store, &service(&format!("u{n}"), spec.clone())).unwrap()))
        .collect();
    upper.sort_unstable();
    assert_eq!(upper, (17..=30).collect::<Vec<u8>>());
    let next = last_octet(create(&admission, &store, &service("lower", spec)).unwrap());
    assert!((1..=16).contains(&next));
}

#[test]
fn an_event_of_the_newer_group_keeps_its_fields() {
    let (admission, store) = cluster(RANGE);
    let resource = by_kind("events.k8s.io/v1", "Event").unwrap();
    let mut stored = json!({
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e", "namespace": "default"}, "reason": "R",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "message": "hello",
    });
    store.write_blocking(|tx| admission.create(tx, resource, &mut stored)).unwrap();
    assert_eq!((&stored["message"], &stored["involvedObject"]["name"]), (&json!("hello"), &json!("p")));
}

#[test]
fn an_address_in_use_stays() {
    let (admission, store) = cluster(RANGE);
    let spec = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let service = create(&admission, &store, &service("web", spec)).unwrap();
    let addresses = by_kind("networking.k8s.io/v1", "IPAddress").unwrap();
    let delete = |tx: &mut crate::store::Transaction<'_>| {
        let address = tx.value(&Key::new(addresses, "", "10.96.0.7")).unwrap();
        admission.delete(tx, addresses, &address, true)
    };
    let refused = store.write_blocking(delete).unwrap_err();
    let text = "ipaddresses.networking.k8s.io \"10.96.0.7\" is forbidden: it is the address of service default/web; delete \
                that instead";
    assert_eq!((refused.code, refused.message.as_str()), (403, text));
    let released = store.write_blocking(|tx| {
        tx.delete(&key(&service), &mut service.clone());
        admission.delete(tx, resource_of(&service), &service, true)?;
        Ok(tx.get(&Key::new(addresses, "", "10.96.0.7")).is_none())
    });
    assert!(released.unwrap());
}

#[test]
fn a_refused_service_leaves_nothing_behind() {
    let (admission, store) = cluster(RANGE);
    let bad = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 0}]});
    assert_eq!(create(&admission, &store, &service("bad", bad)).unwrap_err().code, 422);
    let good = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    create(&admission, &store, &service("good", good)).unwrap();
}

#[test]
fn namespaces_must_exist_and_stay() {
    let (admission, store) = cluster(RANGE);
    let pod = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace},
               "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
    };
    let missing = create(&admission, &store, &pod("nowhere")).unwrap_err();
    assert_eq!((missing.code, missing.message.as_str()), (404, "namespaces \"nowhere\" not found"));
    let going = create(&admission, &store, &pod("going")).unwrap_err();
    let refusal = "pods \"p\" is forbidden: unable to create new content in namespace going because it is being terminated";
    assert_eq!((going.code, going.message.as_str()), (403, refusal));
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    let resource = resource_of(&namespace);
    let kept = store.write_blocking(|tx| admission.delete(tx, resource, &namespace, false)).unwrap_err();
    assert_eq!(kept.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
    namespace["metadata"]["name"] = json!("other");
    store.write_blocking(|tx| admission.delete(tx, resource, &namespace, false)).unwrap();
}

/// Follows a path of keys and indexes separated by slashes; `-` appends.
fn set(object: &mut Value, path: &str, value: &Value) {
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    let pointer = if parent.is_empty() { String::new() } else { format!("/{parent}") };
    match object.pointer_mut(&pointer).unwrap() {
        Value::Array(items) if last == "-" => items.push(value.clone()),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
        parent => parent[last] = value.clone(),
    }
}

#[test]
fn changed_objects_are_answered_as_kube_apiserver_does() {
    let (admission, store) = cluster(RANGE);
    for case in lines(include_str!("recorded/update.jsonl")) {
        let mut object = create(&admission, &store, &case["create"]).unwrap();
        for change in case["change"].as_array().unwrap() {
            set(&mut object, change[0].as_str().unwrap(), &change[1]);
        }
        match update(&admission, &store, &object) {
            Ok(new) => assert!(case["message"].is_null(), "{new}\n{case}"),
            // Upstream adds a diff of its internal structs.
            Err(status) => assert_eq!(
                status.message.lines().next(),
                case["message"].as_str().and_then(|text| text.lines().next()),
                "{case}"
            ),
        }
    }
}
