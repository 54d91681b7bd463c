//! What the makers of EndpointSlices share: from wanted endpoints and the slices there are to the fewest
//! writes.
//!
//! Pure. `layout` does the packing; this file names the parts and turns the result into a plan. One set of
//! slices belongs to one Service, address family and maker (label `endpointslice.kubernetes.io/managed-by`);
//! others' slices are never touched.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::action::{Plan, Verb};
use super::cluster::{Cluster, SERVICE_NAME_LABEL};
use super::object::{Key, Kind, Object, Target};

mod layout;

/// Label that names the maker of a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label of the slices of a headless Service.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
/// Annotation with the time of the change that a write follows from.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// An address family, as slices name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The name in `ipFamilies` and `addressType`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A resolved port, ordered so that sets of ports can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: Option<i32>,
    pub(crate) app_protocol: Option<String>,
}

impl Port {
    pub(crate) fn of(port: &EndpointPort) -> Self {
        Self {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            number: port.port,
            app_protocol: port.app_protocol.clone(),
        }
    }

    fn endpoint_port(&self) -> EndpointPort {
        EndpointPort {
            name: Some(self.name.clone()),
            protocol: Some(self.protocol.clone()),
            port: self.number,
            app_protocol: self.app_protocol.clone(),
        }
    }
}

/// Endpoints of one family, by the set of ports they have.
pub(crate) type Wanted = BTreeMap<Vec<Port>, Vec<Endpoint>>;

/// Whose slices they are, and what all of them carry.
pub(crate) struct SliceSet<'a> {
    /// The Service.
    pub(crate) service: &'a Key,
    /// The object that the slices live and die with.
    pub(crate) owner: OwnerReference,
    /// The maker.
    pub(crate) managed_by: &'static str,
    /// Labels, without those that are set here.
    pub(crate) labels: BTreeMap<String, String>,
    /// Most endpoints of one slice.
    pub(crate) capacity: usize,
    /// When what is wanted last changed.
    pub(crate) changed: Option<jiff::Timestamp>,
    /// Keep one empty slice for each family when there are no endpoints, so that the Service is known to have
    /// none.
    pub(crate) placeholder: bool,
}

impl SliceSet<'_> {
    /// Plans the writes that bring the slices of all families to what is `wanted`; a family that is not there
    /// is removed.
    pub(crate) fn plan(&self, plan: &mut Plan, cluster: &Cluster, wanted: BTreeMap<Family, Wanted>) {
        let mut held: HashMap<String, Vec<Arc<EndpointSlice>>> = HashMap::new();
        for slice in self.held(cluster) {
            held.entry(slice.address_type.clone()).or_default().push(slice.clone());
        }
        for (family, wanted) in wanted {
            let held = held.remove(family.name()).unwrap_or_default();
            self.plan_family(plan, family, &held, wanted);
        }
        for slice in held.into_values().flatten() {
            plan.then(delete(&slice));
        }
    }

    /// Plans the removal of all of them.
    pub(crate) fn remove(plan: &mut Plan, cluster: &Cluster, service: &Key, managed_by: &str) {
        for slice in cluster.slices_of(service).filter(|slice| is_managed_by(slice, managed_by)) {
            plan.then(delete(slice));
        }
    }

    fn held<'c>(&self, cluster: &'c Cluster) -> impl Iterator<Item = &'c Arc<EndpointSlice>> {
        let managed_by = self.managed_by;
        cluster.slices_of(self.service).filter(move |slice| {
            is_managed_by(slice, managed_by) && slice.metadata.deletion_timestamp.is_none()
        })
    }

    fn plan_family(&self, plan: &mut Plan, family: Family, held: &[Arc<EndpointSlice>], wanted: Wanted) {
        let blank = |ports: &[Port], endpoints| self.slice(family, ports, endpoints);
        let layout = layout::layout(held, wanted, self.capacity, self.placeholder);
        for (slice, endpoints) in layout.kept {
            let ports: Vec<_> = slice.ports.iter().flatten().map(Port::of).collect();
            self.rewrite(plan, slice, blank(&ports, endpoints));
        }
        let mut spare = layout.emptied.into_iter();
        for (ports, endpoints) in layout.new {
            // A slice that is about to go is used again: one write instead of two.
            match spare.next() {
                Some(slice) => self.rewrite(plan, slice, blank(&ports, endpoints)),
                None => plan.then(Verb::Create(Object::new(self.with_trigger(blank(&ports, endpoints))))),
            }
        }
        spare.for_each(|slice| plan.then(delete(&slice)));
    }

    fn slice(&self, family: Family, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
        let mut slice = EndpointSlice {
            address_type: family.name().to_owned(),
            endpoints: Some(endpoints),
            ports: Some(ports.iter().map(Port::endpoint_port).collect()),
            ..EndpointSlice::default()
        };
        slice.metadata.namespace = Some(self.service.namespace.clone());
        slice.metadata.generate_name = Some(format!("{}-", self.service.name));
        slice.metadata.owner_references = Some(vec![self.owner.clone()]);
        let mut labels = self.labels.clone();
        labels.insert(SERVICE_NAME_LABEL.to_owned(), self.service.name.clone());
        labels.insert(MANAGED_BY.to_owned(), self.managed_by.to_owned());
        slice.metadata.labels = Some(labels);
        slice
    }

    fn with_trigger(&self, mut slice: EndpointSlice) -> EndpointSlice {
        let annotations = slice.metadata.annotations.get_or_insert_default();
        match self.changed {
            Some(time) => annotations.insert(TRIGGER_TIME.to_owned(), time.to_string()),
            None => annotations.remove(TRIGGER_TIME),
        };
        slice
    }

    /// Plans a replacement of `held` by `new` unless they say the same.
    fn rewrite(&self, plan: &mut Plan, held: Arc<EndpointSlice>, new: EndpointSlice) {
        let same = held.metadata.labels == new.metadata.labels
            && held.metadata.owner_references == new.metadata.owner_references
            && held.endpoints.as_deref().unwrap_or_default() == new.endpoints.as_deref().unwrap_or_default()
            && held.ports.iter().flatten().map(Port::of).eq(new.ports.iter().flatten().map(Port::of));
        if same {
            return;
        }
        let mut after = EndpointSlice::clone(&held);
        after.metadata.labels = new.metadata.labels;
        after.metadata.owner_references = new.metadata.owner_references;
        (after.endpoints, after.ports) = (new.endpoints, new.ports);
        plan.then(Verb::Replace(Object::new(self.with_trigger(after))));
    }
}

/// True if the slice was made by `maker`.
pub(crate) fn is_managed_by(slice: &EndpointSlice, maker: &str) -> bool {
    slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == maker)
}

fn delete(slice: &EndpointSlice) -> Verb {
    Verb::Delete {
        target: Target { kind: Kind::EndpointSlice, key: Key::of(&slice.metadata) },
        uid: slice.metadata.uid.clone().unwrap_or_default(),
        grace: None,
        foreground: false,
    }
}

#[cfg(test)]
mod tests;
