//! What surrounds a node, followed: the cluster's ServiceCIDR objects and the addresses of the node's interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use tracing::warn;

use super::node_facts::Surroundings;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// By object; an object that is being deleted counts until it is gone, as its addresses are in use until then.
    objects: BTreeMap<String, Vec<IpNet>>,
    /// Names that a list has shown so far.
    listed: BTreeSet<String>,
    cidrs_known: bool,
    interfaces: Option<BTreeSet<IpAddr>>,
    changed: bool,
}

impl Around {
    /// Waits for what is followed; the rest counts as known.
    pub(super) fn new(follows_cidrs: bool, follows_interfaces: bool) -> Self {
        let interfaces = (!follows_interfaces).then(BTreeSet::new);
        Self { cidrs_known: !follows_cidrs, interfaces, changed: true, ..Self::default() }
    }

    /// Whether each has been seen once.
    pub(super) fn is_known(&self) -> bool {
        self.cidrs_known && self.interfaces.is_some()
    }

    pub(super) fn apply_cidr(&mut self, event: Event<ServiceCIDR>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(object.name_any());
                self.put(&object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let before = self.objects.len();
                self.objects.retain(|name, _| listed.contains(name));
                self.changed |= before != self.objects.len() || !self.cidrs_known;
                if self.objects.is_empty() && !self.cidrs_known {
                    warn_without_cidrs("it tells no ServiceCIDR");
                }
                self.cidrs_known = true;
            }
            Event::Apply(object) => self.put(&object),
            Event::Delete(object) => self.changed |= self.objects.remove(&object.name_any()).is_some(),
        }
    }

    /// The API will not tell ServiceCIDRs: it is older than Kubernetes 1.33, or we may not read them.
    pub(super) fn no_cidrs(&mut self, why: &str) {
        if !self.cidrs_known {
            warn_without_cidrs(why);
            self.cidrs_known = true;
        }
    }

    pub(super) fn set_interfaces(&mut self, addresses: BTreeSet<IpAddr>) {
        self.changed |= self.interfaces.as_ref() != Some(&addresses);
        self.interfaces = Some(addresses);
    }

    /// All of it, if it changed since the last call.
    pub(super) fn take_changed(&mut self) -> Option<Arc<Surroundings>> {
        std::mem::take(&mut self.changed).then(|| {
            Arc::new(Surroundings {
                service_cidrs: self.objects.values().flatten().copied().collect(),
                interfaces: self.interfaces.clone().unwrap_or_default(),
            })
        })
    }

    /// Whether something is to be taken.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    fn put(&mut self, object: &ServiceCIDR) {
        let texts = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
        let cidrs: Vec<IpNet> = texts.filter_map(|text| text.parse().ok()).collect();
        let before = self.objects.insert(object.name_any(), cidrs.clone());
        self.changed |= before != Some(cidrs);
    }
}

/// Nothing else depends on them.
fn warn_without_cidrs(why: &str) {
    warn!("the API: {why}; without --service-cidr, stray service traffic is not dropped");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, cidr: &str) -> ServiceCIDR {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}}))
            .unwrap()
    }

    fn cidrs(around: &mut Around) -> Option<String> {
        let taken = around.take_changed()?;
        let texts: Vec<String> = taken.service_cidrs.iter().map(ToString::to_string).collect();
        Some(texts.join(" "))
    }

    #[test]
    fn subnets_come_and_go_with_their_objects() {
        let mut around = Around::new(true, false);
        assert!(!around.is_known());
        around.apply_cidr(Event::Init);
        around.apply_cidr(Event::InitApply(object("kubernetes", "10.96.0.0/16")));
        around.apply_cidr(Event::InitDone);
        assert!(around.is_known());
        assert_eq!(cidrs(&mut around).as_deref(), Some("10.96.0.0/16"));
        around.apply_cidr(Event::Apply(object("kubernetes", "10.96.0.0/16")));
        assert_eq!(cidrs(&mut around), None, "nothing changed");
        around.apply_cidr(Event::Apply(object("more", "10.97.0.0/16")));
        assert_eq!(cidrs(&mut around).as_deref(), Some("10.96.0.0/16 10.97.0.0/16"));
        around.apply_cidr(Event::Init);
        around.apply_cidr(Event::InitApply(object("more", "10.97.0.0/16")));
        around.apply_cidr(Event::InitDone);
        assert_eq!(cidrs(&mut around).as_deref(), Some("10.97.0.0/16"), "one was deleted unseen");
        around.apply_cidr(Event::Delete(object("more", "10.97.0.0/16")));
        assert_eq!(cidrs(&mut around).as_deref(), Some(""));
    }

    #[test]
    fn an_api_without_them_is_not_waited_for() {
        let mut around = Around::new(true, true);
        around.no_cidrs("not found");
        assert!(!around.is_known());
        around.set_interfaces(["10.0.0.1".parse().unwrap()].into());
        assert!(around.is_known() && around.is_changed());
    }
}
