//! Namespace lifecycle: a namespace that is being deleted is emptied, then let go.
//!
//! The emptying itself is I/O from end to end and in `empty_namespace`; this decides when: at once, whenever
//! something in the namespace is gone, and every few seconds while anything is left.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target};

/// How often a namespace that does not get empty is looked at.
const RECHECK: Duration = Duration::from_secs(5);

/// The controller.
pub(super) struct Namespaces;

impl Controller for Namespaces {
    fn component(&self) -> &'static str {
        "namespace-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        if let Some(Object::Namespace(_)) = &change.new {
            wake.extend(change.new.as_ref().map(Object::target));
        }
        let Some(old) = change.old.as_ref().filter(|_| change.new.is_none()) else { return };
        let Some(namespace) = &old.meta().namespace else { return };
        let key = Key::new("", namespace);
        if is_terminating(cluster, &key) {
            wake.push(Target { kind: Kind::Namespace, key });
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        if is_terminating(cluster, &target.key) {
            plan.then(Verb::EmptyNamespace { name: target.key.name.clone() });
            plan.again_in(RECHECK);
        }
        plan
    }
}

fn is_terminating(cluster: &Cluster, key: &Key) -> bool {
    let namespace = cluster.get::<Namespace>(key);
    namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
}
