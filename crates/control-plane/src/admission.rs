//! What the server itself decides about an object before it is stored: rules of its kind and values that depend on the
//! rest of the cluster, such as a Service's addresses.
//!
//! Called inside the store's [`Transaction`], after decoding: nothing changes meanwhile, what is put there is
//! committed with the object or not at all, and a dry run drops all of it. So an address is allocated by putting its
//! IPAddress object and needs no other bookkeeping. The order is kube-apiserver's: namespace, defaults, allocation,
//! validation; so errors of allocation win over those of validation.

mod addresses;
mod families;
mod namespace;
mod node_ports;
mod pod;
mod service;
mod strategy;

use ipnet::Ipv4Net;
use objects::decode::canonicalize;
use objects::resource::Resource;
use objects::status::{FieldError, Status};
use objects::{defaults, schema, validate};
use serde_json::Value;

use crate::store::Transaction;

/// Texts for the client's `Warning` headers.
pub(crate) type Warnings = Vec<String>;

/// The rules, with what they need to know about the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    service_cidr: Ipv4Net,
}

impl Admission {
    pub(crate) fn new(service_cidr: Ipv4Net) -> Self {
        Self { service_cidr }
    }

    /// Completes and judges a new object.
    pub(crate) fn create(
        &self,
        transaction: &mut Transaction<'_>,
        resource: &'static Resource,
        object: &mut Value,
    ) -> Result<Warnings, Status> {
        namespace::check(transaction, resource, object)?;
        defaults::apply(resource.group, resource.kind, object);
        strategy::before_create(resource, object);
        match resource.kind {
            "Service" => service::create(transaction, self.service_cidr, resource, object)?,
            "Pod" => pod::create(object),
            _ => {}
        }
        write_out(resource, object);
        refuse(resource, object, &validate::create(resource, object))?;
        Ok(Warnings::new())
    }

    /// Completes and judges a change from `old` to `new`. `subresource` is `status` or None; the part that it may not
    /// change is already the old one's.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        resource: &'static Resource,
        old: &Value,
        new: &mut Value,
        subresource: Option<&str>,
    ) -> Result<Warnings, Status> {
        defaults::apply(resource.group, resource.kind, new);
        match (resource.kind, subresource) {
            ("Service", None) => service::update(transaction, self.service_cidr, resource, old, new)?,
            ("Pod", None) => pod::update(new),
            _ => {}
        }
        write_out(resource, new);
        let errors = match subresource {
            Some("status") => validate::update_status(resource, old, new),
            _ => validate::update(resource, old, new),
        };
        refuse(resource, new, &errors)?;
        Ok(Warnings::new())
    }

    /// Judges a deletion, and releases what the object holds when it is really gone (`last`: after finalizers and
    /// graceful termination).
    pub(crate) fn delete(
        &self,
        transaction: &mut Transaction<'_>,
        resource: &'static Resource,
        object: &Value,
        last: bool,
    ) -> Result<(), Status> {
        namespace::check_deletion(resource, object)?;
        if resource.kind == "IPAddress" {
            addresses::check_deletion(transaction, resource, object)?;
        }
        if last && resource.kind == "Service" {
            service::release(transaction, object);
        }
        Ok(())
    }
}

/// Brings what defaults and admission added into the order and form in which objects are written. The object says itself
/// what it is: events of `events.k8s.io` are stored as core events.
fn write_out(resource: &Resource, object: &mut Value) {
    let group = match object["apiVersion"].as_str() {
        Some(version) => version.split_once('/').map_or("", |(group, _)| group).to_owned(),
        None => resource.group.to_owned(),
    };
    if let Some(message) = schema::of_kind(&group, resource.kind) {
        canonicalize(message, object);
    }
}

fn refuse(resource: &Resource, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(resource, name, errors)) }
}

#[cfg(test)]
mod tests;
