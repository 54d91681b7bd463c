//! ClusterIPs: which addresses of the service subnet are taken, and taking one.
//!
//! Each allocation is an `IPAddress` object whose name is the address, as in Kubernetes since 1.33, so that the store's
//! unique names are the lock. Dynamic addresses come from the upper part of the subnet, so that the lower one stays for
//! addresses that users choose (KEP-3070).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use objects::resource::{Resource, by_kind};
use objects::status::Status;
use rand::RngExt;
use serde_json::{Value, json};

use crate::metadata;
use crate::store::{Key, Transaction};

fn resource() -> &'static Resource {
    by_kind("networking.k8s.io/v1", "IPAddress").expect("invariant: IPAddresses are served")
}

fn key(address: Ipv4Addr) -> Key {
    Key::new(resource(), "", &address.to_string())
}

/// Why an address cannot be had; the texts are `ipallocator`'s, which tools match on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("provided IP is already allocated")]
    Allocated,
    #[error("the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}")]
    OutOfRange { address: Ipv4Addr, range: Ipv4Net },
    #[error("range is full")]
    Full,
}

/// The Service that an address belongs to.
pub(super) struct Owner<'o> {
    pub(super) namespace: &'o str,
    pub(super) name: &'o str,
}

/// Usable addresses: all but the subnet's first and last.
fn usable(range: Ipv4Net) -> (u32, u32) {
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    (first.saturating_add(1), last.saturating_sub(1))
}

/// How many of the lowest addresses are left to users (KEP-3070): `min(max(16, size/16), 256)`, none in tiny subnets.
fn static_band(range: Ipv4Net) -> u32 {
    const SMALLEST: u32 = 16;
    let size = 1u32.checked_shl(u32::from(range.max_prefix_len() - range.prefix_len())).unwrap_or(u32::MAX);
    if size <= SMALLEST { 0 } else { (size / 16).clamp(SMALLEST, 256) }
}

/// Takes the given address.
pub(super) fn take(
    transaction: &mut Transaction<'_>,
    range: Ipv4Net,
    address: Ipv4Addr,
    owner: &Owner<'_>,
) -> Result<(), AddressError> {
    let (first, last) = usable(range);
    if !(first..=last).contains(&u32::from(address)) {
        return Err(AddressError::OutOfRange { address, range });
    }
    if transaction.get(&key(address)).is_some() {
        return Err(AddressError::Allocated);
    }
    put(transaction, address, owner);
    Ok(())
}

/// Takes any free address: from a random start in the upper band upwards and around, then likewise in the lower.
pub(super) fn take_any(
    transaction: &mut Transaction<'_>,
    range: Ipv4Net,
    owner: &Owner<'_>,
) -> Result<Ipv4Addr, AddressError> {
    let (first, last) = usable(range);
    let border = first.saturating_add(static_band(range)).min(last.saturating_add(1));
    let free = |band: std::ops::Range<u32>| {
        let start = if band.is_empty() { band.start } else { rand::rng().random_range(band.clone()) };
        let around = (start..band.end).chain(band.start..start);
        around.map(Ipv4Addr::from).find(|address| transaction.get(&key(*address)).is_none())
    };
    let end = last.saturating_add(1);
    let address = free(border..end).or_else(|| free(first..border)).ok_or(AddressError::Full)?;
    put(transaction, address, owner);
    Ok(address)
}

fn put(transaction: &mut Transaction<'_>, address: Ipv4Addr, owner: &Owner<'_>) {
    let mut object = json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": address.to_string(),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"resource": "services", "namespace": owner.namespace, "name": owner.name}},
    });
    metadata::initialize(resource(), &mut object);
    transaction.put(&key(address), &mut object);
}

/// Gives an address back, if it is this Service's.
pub(super) fn release(transaction: &mut Transaction<'_>, address: Ipv4Addr, owner: &Owner<'_>) {
    let key = key(address);
    let Some(mut object) = transaction.value(&key) else { return };
    let parent = &object["spec"]["parentRef"];
    if same(parent, owner) {
        transaction.delete(&key, &mut object);
    }
}

/// Refuses to take a Service's address away from it: another Service could get it. Upstream lets it happen and repairs it.
pub(super) fn check_deletion(
    transaction: &Transaction<'_>,
    resource: &'static Resource,
    object: &Value,
) -> Result<(), Status> {
    let parent = &object["spec"]["parentRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&parent["namespace"]), text(&parent["name"]));
    let services = by_kind("v1", "Service").expect("invariant: Services are served");
    let service = transaction.value(&Key::new(services, &namespace, &name));
    let address = &object["metadata"]["name"];
    let used = service.is_some_and(|service| {
        service["spec"]["clusterIPs"].as_array().is_some_and(|addresses| addresses.contains(address))
    });
    let why = format!("it is the address of service {namespace}/{name}; delete that instead");
    if used { Err(Status::forbidden(resource, &text(address), &why)) } else { Ok(()) }
}

fn same(parent: &Value, owner: &Owner<'_>) -> bool {
    parent["namespace"] == owner.namespace && parent["name"] == owner.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_of_kep_3070() {
        let cases = [
            ("10.0.0.0/12", 256),
            ("10.0.0.0/16", 256),
            ("10.0.0.0/20", 256),
            ("10.0.0.0/22", 64),
            ("10.0.0.0/24", 16),
            ("10.0.0.0/26", 16),
            ("10.0.0.0/28", 0),
            ("10.0.0.0/30", 0),
        ];
        for (range, band) in cases {
            assert_eq!(static_band(range.parse().unwrap()), band, "{range}");
        }
    }
}
