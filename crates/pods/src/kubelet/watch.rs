//! Watches the pods of this node and hands each to a worker of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Node;
use super::worker::{self, Sight};

/// Follows the API until dropped; the workers, and with them all containers, end with it.
pub(crate) async fn run(node: Arc<Node>) {
    let selector = format!("spec.nodeName={}", node.config.name);
    let configuration = watcher::Config::default().fields(&selector);
    let stream = watch_objects(Api::<Pod>::all(node.client.clone()), configuration);
    let mut stream = stream.default_backoff().boxed();
    let mut workers = Workers { node, known: HashMap::new(), listed: HashSet::new(), tasks: JoinSet::new() };
    loop {
        tokio::select! {
            event = stream.try_next() => match event {
                Ok(Some(event)) => workers.apply(event),
                Ok(None) => return,
                Err(error) => tracing::debug!(%error, "watch of pods interrupted"),
            },
            Some(ended) = workers.tasks.join_next() => match ended {
                Ok(uid) => drop(workers.known.remove(&uid)),
                Err(error) => tracing::error!(%error, "a pod's worker ended unexpectedly"),
            },
        }
    }
}

struct Workers {
    node: Arc<Node>,
    known: HashMap<String, watch::Sender<Sight>>,
    listed: HashSet<String>,
    tasks: JoinSet<String>,
}

impl Workers {
    fn apply(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.see(pod, false);
            }
            Event::InitDone => self.forget_unlisted(),
            Event::Apply(pod) => self.see(pod, false),
            Event::Delete(pod) => self.see(pod, true),
        }
    }

    fn see(&mut self, pod: Pod, gone: bool) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        let sight = Sight { pod: Arc::new(pod), gone };
        match self.known.get(&uid) {
            Some(worker) => drop(worker.send_replace(sight)),
            None if gone => {}
            None => {
                let (sender, sights) = watch::channel(sight);
                self.known.insert(uid.clone(), sender);
                let node = Arc::clone(&self.node);
                self.tasks.spawn(async move {
                    worker::run(node, sights).await;
                    uid
                });
            }
        }
    }

    /// What a new list does not have any more was deleted while the watch was interrupted.
    fn forget_unlisted(&mut self) {
        for (uid, worker) in &self.known {
            if !self.listed.contains(uid) {
                worker.send_modify(|sight| sight.gone = true);
            }
        }
    }
}
