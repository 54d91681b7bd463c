//! The watches: one for each kind, all into one channel, shared by all controllers.
//!
//! Only what controllers read is kept of an object: managed fields are dropped, and so are the contents of
//! Secrets and ConfigMaps. A broken watch is taken up again with back-off by kube's watcher, which lists anew
//! when it must.

use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::object::{Kind, Object, Watched, for_each_kind};

/// Observations that wait for the controllers; a watch that is faster waits.
const MOST_PENDING: usize = 1024;

/// What a watch has seen.
#[derive(Debug)]
pub(super) enum Observation {
    /// All objects of the kind, after a list.
    Listed(Kind, Vec<Object>),
    Applied(Object),
    Deleted(Object),
}

macro_rules! start_all {
    ($($name:ident => $field:ident),* $(,)?) => {
        /// Starts all watches as tasks of `tasks`.
        pub(super) fn start(client: &kube::Client, tasks: &mut JoinSet<()>) -> mpsc::Receiver<Observation> {
            use k8s_openapi::api::{apps::v1::*, coordination::v1::*, core::v1::*, discovery::v1::EndpointSlice};
            let (sender, receiver) = mpsc::channel(MOST_PENDING);
            $(tasks.spawn(observe::<$name>(client.clone(), sender.clone()));)*
            receiver
        }
    };
}

for_each_kind!(start_all);

async fn observe<K>(client: kube::Client, observations: mpsc::Sender<Observation>)
where
    K: Watched + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let observation = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.push(slim(object));
                continue;
            }
            Ok(Event::InitDone) => Observation::Listed(K::KIND, std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => Observation::Applied(slim(object)),
            Ok(Event::Delete(object)) => Observation::Deleted(slim(object)),
            Err(error) => {
                tracing::debug!(kind = ?K::KIND, %error, "watch interrupted");
                continue;
            }
        };
        if observations.send(observation).await.is_err() {
            return;
        }
    }
}

fn slim<K: Watched>(mut object: K) -> Object {
    object.meta_mut().managed_fields = None;
    without_contents(Object::new(object))
}

/// The object without what no controller reads.
pub(super) fn without_contents(mut object: Object) -> Object {
    match &mut object {
        Object::Secret(secret) => Arc::make_mut(secret).data = None,
        Object::ConfigMap(map) if map.metadata.name.as_deref() != Some(super::service_account::ROOT_CA) => {
            let map = Arc::make_mut(map);
            (map.data, map.binary_data) = (None, None);
        }
        _ => {}
    }
    object
}
