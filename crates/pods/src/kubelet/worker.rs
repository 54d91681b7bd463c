//! One task for each pod of this node: runs its lifecycle, writes its status, and removes it from the API at its end.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Node;
use super::events::Kind;
use super::lifecycle::Lifecycle;
use super::pod::{records, spec};
use super::record::Records;
use super::status::{self, Facts};

/// What the watch has last said of the pod.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) pod: Arc<Pod>,
    /// The object is gone.
    pub(crate) gone: bool,
}

/// Between tries to reach the API; doubles to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Least time between two corrections of a status that somebody else has changed. The first is at once; one who
/// keeps changing it gets one answer a second.
const BETWEEN_CORRECTIONS: Duration = Duration::from_secs(1);

/// A pod whose object vanished without a grace period has this long to end, as with the kubelet.
const GRACE_OF_THE_GONE: Duration = Duration::from_secs(1);

/// The task's state.
pub(crate) struct Worker {
    node: Arc<Node>,
    sights: watch::Receiver<Sight>,
    /// The newest object, with its newest status: the answer to our last write, or what the watch showed after it.
    pod: Pod,
    gone: bool,
    /// Somebody else has changed what we had written.
    contested: bool,
    corrected: Option<Instant>,
    records: Arc<Records>,
    started: Timestamp,
    folder: PathBuf,
    stop: watch::Sender<Option<Duration>>,
    address: watch::Receiver<Option<Ipv4Addr>>,
    lifecycle: JoinHandle<()>,
    /// Why this node does not run the pod at all.
    refused: Option<&'static str>,
}

/// Runs a pod to its end. Pods that have ended already only wait for their deletion.
pub(crate) async fn run(node: Arc<Node>, mut sights: watch::Receiver<Sight>) {
    let pod = Arc::clone(&sights.borrow_and_update().pod);
    let ended = matches!(phase(&pod), Some("Succeeded" | "Failed"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        let leaving = |sight: &Sight| sight.gone || sight.pod.metadata.deletion_timestamp.is_some();
        if sights.wait_for(leaving).await.is_ok_and(|sight| !sight.gone) {
            delete(&node, &pod).await;
        }
        return;
    }
    let records = Arc::new(Records::new(records(&pod)));
    node.registry.insert(&pod, Arc::clone(&records));
    Worker::start(Arc::clone(&node), sights, &pod, records).run().await;
    node.registry.remove(&pod);
}

/// Versions of one object are ordered numbers (KEP-5504). What is none counts as older than any.
fn version(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok())
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

impl Worker {
    fn start(node: Arc<Node>, sights: watch::Receiver<Sight>, pod: &Arc<Pod>, records: Arc<Records>) -> Self {
        let (stop, order) = watch::channel(None);
        let (address_sender, address) = watch::channel(None);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let folder = node.config.state_dir.join("pods").join(uid);
        let refused = refusal(pod);
        if let Some(reason) = refused {
            node.recorder.record(pod, None, Kind::Warning, "UnsupportedPod", reason);
        }
        let lifecycle = Lifecycle {
            node: Arc::clone(&node),
            pod: Arc::clone(pod),
            records: Arc::clone(&records),
            folder: folder.clone(),
            stop: order,
            address: address_sender,
        };
        let lifecycle = match refused {
            None => tokio::spawn(lifecycle.run()),
            Some(_) => tokio::spawn(async {}),
        };
        let pod = Pod::clone(pod);
        let started = Timestamp::now();
        Self {
            node,
            sights,
            pod,
            gone: false,
            contested: false,
            corrected: None,
            records,
            started,
            folder,
            stop,
            address,
            lifecycle,
            refused,
        }
    }

    async fn run(mut self) {
        let mut written = PodStatus::default();
        let mut retry = RETRY_FIRST;
        let mut again = None;
        loop {
            let ended = tokio::select! {
                _ = &mut self.lifecycle => true,
                () = self.records.changed() => false,
                changed = self.sights.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.see();
                    false
                }
                () = sleep_maybe(again) => false,
            };
            again = self.correction_due_in();
            if again.is_none() {
                match self.write_status(&mut written).await {
                    Ok(()) => retry = RETRY_FIRST,
                    Err(error) => {
                        tracing::debug!(pod = self.name(), %error, "status not written");
                        again = Some(retry);
                        retry = (retry * 2).min(RETRY_MOST);
                    }
                }
            }
            if ended {
                break;
            }
        }
        self.finish(&mut written).await;
    }

    fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// How long a correction still has to wait; none when nothing waits.
    fn correction_due_in(&self) -> Option<Duration> {
        let since = self.corrected.filter(|_| self.contested)?.elapsed();
        BETWEEN_CORRECTIONS.checked_sub(since).filter(|rest| !rest.is_zero())
    }

    /// Takes up what the watch says: the deletion, and a status that somebody else has written.
    fn see(&mut self) {
        let sight = self.sights.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.pod, Pod::clone(&sight.pod));
        if version(&before) >= version(&self.pod) {
            // The watch has not come to our own last write yet.
            self.pod.status = before.status;
            self.pod.metadata.resource_version = before.metadata.resource_version;
        } else {
            self.contested |= status::contested(before.status.as_ref(), self.pod.status.as_ref());
        }
        self.gone |= sight.gone;
        let grace = if self.gone {
            Some(GRACE_OF_THE_GONE)
        } else if self.pod.metadata.deletion_timestamp.is_some() {
            let seconds = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            Some(Duration::from_secs(seconds.max(1).unsigned_abs()))
        } else {
            None
        };
        if grace.is_some() && *self.stop.borrow() != grace {
            self.stop.send_replace(grace);
        }
    }

    async fn write_status(&mut self, written: &mut PodStatus) -> kube::Result<()> {
        if self.gone {
            return Ok(());
        }
        let status = status::compute(&Facts {
            pod: &self.pod,
            records: &self.records.snapshot(),
            started: self.started,
            node: self.node.config.address.addr(),
            address: *self.address.borrow(),
            now: Timestamp::now(),
            failed: self.refused.map(|reason| ("UnsupportedPod", reason.to_owned())),
        });
        if status == *written && !self.contested {
            return Ok(());
        }
        if self.contested {
            self.corrected = Some(Instant::now());
        }
        let mut patch = json!({"metadata": {"uid": self.pod.metadata.uid}, "status": status});
        // The patch merges, and conditions by type: a reason that no longer holds goes only if it is named.
        for field in ["reason", "message"] {
            patch["status"][field] = patch["status"][field].take();
            for condition in patch["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition[field] = condition[field].take();
            }
        }
        let api = self.api();
        let result = api.patch_status(self.name(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        match result {
            Ok(pod) => {
                self.pod.status = pod.status;
                self.pod.metadata.resource_version = pod.metadata.resource_version;
                self.contested = false;
                *written = status;
                Ok(())
            }
            // Deleted, or replaced by another of its name: the watch will say so.
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self) -> Api<Pod> {
        api(&self.node, &self.pod)
    }

    /// All containers have ended. The status is written until the API has it, the deletion awaited and completed.
    async fn finish(mut self, written: &mut PodStatus) {
        let mut retry = RETRY_FIRST;
        while !self.gone {
            match self.write_status(written).await {
                Ok(()) => break,
                Err(_) => tokio::time::sleep(retry).await,
            }
            retry = (retry * 2).min(RETRY_MOST);
        }
        while !self.gone && self.pod.metadata.deletion_timestamp.is_none() {
            if self.sights.changed().await.is_err() {
                return;
            }
            self.see();
        }
        if !self.gone {
            delete(&self.node, &self.pod).await;
        }
        let folder = self.folder;
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
        if let Ok(Err(error)) = removed.map(|removed| removed.or_else(absent_is_fine)) {
            tracing::debug!(%error, "a pod's folder is left for the next start");
        }
    }
}

/// A pod in the host's namespaces would be outside of everything that this node can keep it in.
fn refusal(pod: &Pod) -> Option<&'static str> {
    let spec = spec(pod);
    let host = spec.host_network == Some(true) || spec.host_pid == Some(true) || spec.host_ipc == Some(true);
    host.then_some("hostNetwork, hostPID and hostIPC are not supported by this node")
}

/// A pod that never started a container has no folder.
fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

async fn sleep_maybe(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn api(node: &Node, pod: &Pod) -> Api<Pod> {
    Api::namespaced(node.client.clone(), pod.metadata.namespace.as_deref().unwrap_or("default"))
}

/// Removes the object, now that nothing of it runs any more. Tried until the API has done it.
async fn delete(node: &Node, pod: &Pod) {
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut retry = RETRY_FIRST;
    loop {
        match api(node, pod).delete(name, &parameters).await {
            Ok(_) => return,
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
            Err(error) => tracing::debug!(pod = name, %error, "pod not deleted yet"),
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MOST);
    }
}
