//! Judges decoded, defaulted objects by kube-apiserver 1.37's rules and reports every broken one, in its order and words.
//!
//! Pure: an object (and its predecessor on update) in, a list of complaints out. Nothing is changed. Rules that need the
//! cluster (is the address free, does the namespace exist) are in `control-plane::admission`.

pub mod names;

mod cluster;
mod endpoints;
mod metadata;
mod pod;
mod service;
mod workload;

use crate::resource::Resource;
use crate::status::FieldError;
use serde_json::Value;

pub use service::{addresses as service_addresses, is_headless};

/// Complaints about an object that is about to be created. Its name has been generated already.
pub fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = metadata::create(resource, object);
    errors.extend(content(resource, object));
    errors
}

/// Complaints about the change from `old` to `new`.
pub fn update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = metadata::update(old, new);
    match (resource.group, resource.kind) {
        ("", "Pod") => {
            errors.extend(pod::change(old, new));
            return errors;
        }
        ("", "Service") => errors.extend(service::change(old, new)),
        _ => {}
    }
    errors.extend(content(resource, new));
    match (resource.group, resource.kind) {
        ("apps", "Deployment" | "ReplicaSet") => errors.extend(workload::change(old, new)),
        ("discovery.k8s.io", "EndpointSlice") => errors.extend(endpoints::change(old, new)),
        ("", "ConfigMap") => errors.extend(cluster::immutable(old, new)),
        ("", "Secret") => errors.extend(cluster::secret_change(old, new)),
        ("", "Node") => errors.extend(cluster::node_change(old, new)),
        _ => {}
    }
    errors
}

/// Complaints about a change of the status subresource.
pub fn update_status(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = metadata::update(old, new);
    if resource.kind == "Service" {
        errors.extend(service::status(new));
    }
    errors
}

fn content(resource: &Resource, object: &Value) -> Vec<FieldError> {
    match (resource.group, resource.kind) {
        ("", "Service") => service::service(object),
        ("", "Pod") => pod::create(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::endpoint_slice(object),
        ("", "Endpoints") => endpoints::endpoints(object),
        ("", "Namespace") => cluster::namespace(object),
        ("", "ConfigMap") => cluster::config_map(object),
        ("", "Secret") => cluster::secret(object),
        ("", "Node") => cluster::node(object),
        ("coordination.k8s.io", "Lease") => cluster::lease(object),
        ("", "Event") => cluster::event(object).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The text of a field; empty if it is not there.
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The items of a list; none if it is not there.
fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Text entries of an object with free keys.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

/// One `Invalid` for each complaint about a value.
fn invalid(field: &str, value: &Value, complaints: Vec<String>) -> Vec<FieldError> {
    complaints.into_iter().map(|detail| FieldError::invalid(field, value.clone(), detail)).collect()
}

/// A complaint if `value` is missing or none of `supported` (sorted).
fn one_of(field: &str, value: &str, supported: &[&str]) -> Option<FieldError> {
    if value.is_empty() {
        return Some(FieldError::required(field, ""));
    }
    (!supported.contains(&value)).then(|| FieldError::not_supported(field, value, supported))
}

#[cfg(test)]
mod tests;
