//! What every namespace has: the ServiceAccount `default` and the ConfigMap with the cluster's certificate
//! authority.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target};

/// Name of the ConfigMap.
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";
/// Key of the certificates in it.
const CA_FILE: &str = "ca.crt";

/// The controller.
pub(super) struct ServiceAccounts {
    /// The certificates, PEM.
    pub(super) root_ca: String,
}

impl Controller for ServiceAccounts {
    fn component(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn wakes(&self, _: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        let state = change.new.as_ref().or(change.old.as_ref());
        let namespace = state.and_then(|state| match state {
            Object::Namespace(namespace) => namespace.metadata.name.clone(),
            Object::ServiceAccount(account) if change.new.is_none() => account.metadata.namespace.clone(),
            Object::ConfigMap(map) if map.metadata.name.as_deref() == Some(ROOT_CA) => {
                map.metadata.namespace.clone()
            }
            _ => None,
        });
        wake.extend(namespace.map(|name| Target { kind: Kind::Namespace, key: Key::new("", &name) }));
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let namespace = cluster.get::<Namespace>(&target.key);
        if namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            return plan;
        }
        let name = &target.key.name;
        if cluster.get::<ServiceAccount>(&Key::new(name, "default")).is_none() {
            let mut account = ServiceAccount::default();
            account.metadata.namespace = Some(name.clone());
            account.metadata.name = Some("default".to_owned());
            plan.then(Verb::Create(Object::new(account)));
        }
        let data = Some(BTreeMap::from([(CA_FILE.to_owned(), self.root_ca.clone())]));
        match cluster.get::<ConfigMap>(&Key::new(name, ROOT_CA)) {
            None => {
                let mut map = ConfigMap { data, ..ConfigMap::default() };
                map.metadata.namespace = Some(name.clone());
                map.metadata.name = Some(ROOT_CA.to_owned());
                let text = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                            endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                            guaranteed across distributions of Kubernetes clusters.";
                map.metadata.annotations =
                    Some(BTreeMap::from([("kubernetes.io/description".to_owned(), text.to_owned())]));
                plan.then(Verb::Create(Object::new(map)));
            }
            Some(map) if map.data != data => {
                plan.then(Verb::Replace(Object::ConfigMap(Arc::new(ConfigMap {
                    data,
                    ..ConfigMap::clone(map)
                }))));
            }
            Some(_) => {}
        }
        plan
    }
}
