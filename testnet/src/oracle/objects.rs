//! Sets of Services and EndpointSlices from a seed, as an API server would hold them: valid, defaulted, and in every
//! combination that a proxy has to know.
//!
//! Left out is what kube-proxy itself leaves to chance: two Services that claim one address and port, one endpoint in two
//! slices with different conditions of which neither is terminating.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use services::{Model, ServiceName};

use super::random::Random;

mod service;
mod slice;

/// One set.
#[derive(Clone, Debug)]
pub struct ObjectSet {
    /// What it was made from.
    pub seed: u64,
    /// The objects as JSON, Services and slices.
    pub objects: Vec<Value>,
    /// The Services.
    pub services: Vec<core::Service>,
    /// The slices.
    pub slices: Vec<discovery::EndpointSlice>,
}

impl ObjectSet {
    /// The set of a seed.
    ///
    /// # Panics
    /// When the generator writes what is no Kubernetes object.
    #[must_use]
    pub fn generate(seed: u64) -> Self {
        Self::variant(seed, 0)
    }

    /// The same Services with other endpoints, for each variant but 0.
    ///
    /// # Panics
    /// As [`ObjectSet::generate`].
    #[must_use]
    pub fn variant(seed: u64, variant: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x0123_4567_89AB_CDEF));
        let services = service::services(&mut random);
        if variant > 0 {
            random = Random::new(seed.wrapping_mul(0x0FED_CBA9_8765_4321) ^ variant);
        }
        let slices = slice::slices(&mut random, &services);
        let typed = |list: &[Value]| list.to_vec();
        Self {
            seed,
            services: read(typed(&services)),
            slices: read(typed(&slices)),
            objects: [services, slices].concat(),
        }
    }

    /// The objects in a service model.
    #[must_use]
    pub fn model(&self) -> Model {
        let mut model = Model::new();
        self.replace(None, &mut model);
        model
    }

    /// Puts the objects in the place of another set's: those of the same names change, the others go.
    pub fn replace(&self, before: Option<&Self>, model: &mut Model) {
        // What cannot be understood is left out here as it is in an agent; answers will differ if that is wrong.
        for service in &self.services {
            let _ = model.apply_service(service);
        }
        for slice in &self.slices {
            let _ = model.apply_slice(slice);
        }
        let names = |set: &Self| {
            let services = set.services.iter().map(|service| name(&service.metadata));
            services.chain(set.slices.iter().map(|slice| name(&slice.metadata))).collect::<BTreeSet<_>>()
        };
        let (old, new) = (before.map(names).unwrap_or_default(), names(self));
        for gone in old.difference(&new) {
            model.delete_service(gone);
            model.delete_slice(gone);
        }
    }

    /// Of the objects' text: equal only if the same generator made them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(&self.objects.iter().map(Value::to_string).collect::<String>())
    }

    /// The nodes on which endpoints of this address say that they run.
    #[must_use]
    pub fn nodes_of(&self, address: IpAddr) -> BTreeSet<Option<String>> {
        let endpoints = self.slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let same = endpoints
            .filter(|endpoint| endpoint.addresses.first().and_then(|ip| ip.parse().ok()) == Some(address));
        same.map(|endpoint| endpoint.node_name.clone()).collect()
    }

    /// Addresses of pods that are endpoints of a Service, ready or not.
    #[must_use]
    pub fn pods_of(&self, service: &str) -> Vec<IpAddr> {
        let of = |slice: &&discovery::EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get("kubernetes.io/service-name"))
                .is_some_and(|name| name == service)
        };
        let endpoints = self.slices.iter().filter(of).flat_map(|slice| slice.endpoints.iter().flatten());
        let first = endpoints.filter_map(|endpoint| endpoint.addresses.first());
        let pods = first.filter(|ip| ip.starts_with("10.244.") || ip.starts_with("fd00:10:244:"));
        pods.filter_map(|ip| ip.parse().ok()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// FNV-1a.
pub(super) fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn name(metadata: &ObjectMeta) -> ServiceName {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ServiceName::new(text(&metadata.namespace), text(&metadata.name))
}

fn read<T: for<'a> serde::Deserialize<'a>>(objects: Vec<Value>) -> Vec<T> {
    let read =
        |object| serde_json::from_value(object).unwrap_or_else(|error| panic!("a generated object: {error}"));
    objects.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_always() {
        assert_eq!(ObjectSet::generate(7).digest(), ObjectSet::generate(7).digest());
        assert_ne!(ObjectSet::generate(7).digest(), ObjectSet::generate(8).digest());
    }
}
