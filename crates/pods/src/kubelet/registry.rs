//! The pods that have containers here, by name: where the node's server finds what to exec into and to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::record::{Record, Records};

type Key = (String, String);

/// Shared by the workers and the server.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pods: Mutex<BTreeMap<Key, (String, Arc<Records>)>>,
}

fn key(pod: &Pod) -> Key {
    let metadata = &pod.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Registry {
    pub(crate) fn insert(&self, pod: &Pod, records: Arc<Records>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).insert(key(pod), (uid, records));
    }

    /// A pod of the same name may have taken the place meanwhile; it stays.
    pub(crate) fn remove(&self, pod: &Pod) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(pod);
        if pods.get(&key).is_some_and(|(uid, _)| Some(uid) == pod.metadata.uid.as_ref()) {
            pods.remove(&key);
        }
    }

    /// A container's record.
    pub(crate) fn find(&self, namespace: &str, pod: &str, container: &str) -> Option<Record> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, records) = pods.get(&(namespace.to_owned(), pod.to_owned()))?;
        records.find(container)
    }
}
