//! Many Services and their slices, written into etcd in bulk before an API server runs on it.
//!
//! Through the API this takes hours for the largest sizes: it creates some 65 Services a second, because each one's address
//! is an object of its own that is allocated first. The API reads JSON from its store as well as its own protobuf.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use testnet::peers::Store;

use super::api::NAMESPACE;
use crate::objects;

/// Services of one transaction.
const BATCH: usize = 500;

/// Writes so many Services with so many endpoints.
pub(crate) fn fill(store: &Store, services: u32, endpoints: u32) -> Result<()> {
    let numbers: Vec<u32> = (0..services).collect();
    for batch in numbers.chunks(BATCH) {
        let mut puts = Vec::with_capacity(3 * batch.len());
        for number in batch {
            puts.extend(objects_of(*number, endpoints)?.map(|(key, value)| put(&key, &value)));
        }
        store.post("/v3/kv/txn", &json!({"success": puts}).to_string())?;
    }
    Ok(())
}

/// Removes a Service behind the API's back.
pub(super) fn remove_service(store: &Store, number: u32) -> Result<()> {
    let key = format!("/registry/services/specs/{NAMESPACE}/{}", objects::name(number));
    store.post("/v3/kv/deleterange", &json!({"key": STANDARD.encode(key)}).to_string())?;
    Ok(())
}

fn put(key: &str, value: &Value) -> Value {
    json!({"requestPut": {"key": STANDARD.encode(key), "value": STANDARD.encode(value.to_string())}})
}

/// A Service, its slice and its address's allocation as the API server stores them, with their keys.
fn objects_of(number: u32, endpoints: u32) -> Result<[(String, Value); 3]> {
    let name = objects::name(number);
    let mut service = serde_json::to_value(objects::service(number))?;
    let address = service["spec"]["clusterIPs"][0].as_str().context("a Service with an address")?.to_owned();
    let spec = json!({
        "type": "ClusterIP", "clusterIP": address, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
    });
    merge(&mut service["spec"], spec);
    let mut slice = serde_json::to_value(objects::slice(number, endpoints, 0))?;
    // As the allocator writes it; without one, the API server's repair would make it, and an Event, later on.
    let mut allocation = json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": address, "labels": {
            "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": NAMESPACE, "name": name}},
    });
    let created = serde_json::to_value(Time(Timestamp::now()))?;
    for (kind, object) in [(1, &mut service), (2, &mut slice), (3, &mut allocation)] {
        let uid = format!("00000000-0000-4000-800{kind}-{number:012x}");
        merge(&mut object["metadata"], json!({"uid": uid, "creationTimestamp": created}));
    }
    Ok([
        (format!("/registry/ipaddresses/{address}"), allocation),
        (format!("/registry/services/specs/{NAMESPACE}/{name}"), service),
        (format!("/registry/endpointslices/{NAMESPACE}/{name}"), slice),
    ])
}

/// Adds the fields of one object to another.
fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
