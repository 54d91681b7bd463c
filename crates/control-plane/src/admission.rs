//! What the server itself decides about an object before it is stored: rules of its kind and values that depend on the
//! rest of the cluster, such as a Service's addresses.
//!
//! Called inside the store's [`Transaction`], after decoding and defaults: nothing changes meanwhile, what is put there is
//! committed with the object or not at all, and a dry run drops all of it. So an address is allocated by putting its
//! IPAddress object and needs no other bookkeeping.

use ipnet::Ipv4Net;
use objects::resource::Resource;
use objects::status::Status;
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

    /// The addresses that Services get.
    pub(crate) fn service_cidr(&self) -> Ipv4Net {
        self.service_cidr
    }

    /// Completes and judges a new object.
    pub(crate) fn create(
        &self,
        _transaction: &mut Transaction<'_>,
        _resource: &'static Resource,
        _object: &mut Value,
    ) -> Result<Warnings, Status> {
        Ok(Warnings::new())
    }

    /// Completes and judges a change from `old` to `new`. `subresource` is `status` or None; the part that it may not
    /// change is already the old one's.
    pub(crate) fn update(
        &self,
        _transaction: &mut Transaction<'_>,
        _resource: &'static Resource,
        _old: &Value,
        _new: &mut Value,
        _subresource: Option<&str>,
    ) -> Result<Warnings, Status> {
        Ok(Warnings::new())
    }

    /// Judges a deletion, and releases what the object holds when it is really gone (`last`: after finalizers and
    /// graceful termination).
    pub(crate) fn delete(
        &self,
        _transaction: &mut Transaction<'_>,
        _resource: &'static Resource,
        _object: &Value,
        _last: bool,
    ) -> Result<(), Status> {
        Ok(())
    }
}
