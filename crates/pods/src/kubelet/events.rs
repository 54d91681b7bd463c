//! Events on pods: a bounded queue and one task that writes them; repeated ones are counted up, not written anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

/// Events that may wait for the API; more are dropped, as they are only for people to read.
const QUEUE: usize = 256;

/// Remembered events, for counting; all are forgotten when there are more.
const REMEMBERED: usize = 1024;

/// An event that the API does not take within this time is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

const COMPONENT: &str = "kubelet";

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Occurrence {
    kind: Kind,
    reason: &'static str,
    message: String,
    namespace: String,
    pod: String,
    uid: String,
    container: Option<String>,
}

/// The sending half. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// Notes an event on a pod or on one of its containers.
    pub(crate) fn record(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let metadata = &pod.metadata;
        let occurrence = Occurrence {
            kind,
            reason,
            message: message.into(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            pod: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            container: container.map(str::to_owned),
        };
        if let Err(error @ mpsc::error::TrySendError::Full(_)) = self.queue.try_send(occurrence) {
            tracing::warn!(%error, "an event is lost: the API is too slow for them");
        }
    }
}

/// Writes what the recorder is given.
pub(crate) struct Writer {
    queue: mpsc::Receiver<Occurrence>,
    client: kube::Client,
    node: String,
    known: HashMap<Occurrence, (String, i32)>,
    serial: u64,
}

/// Both halves.
pub(crate) fn recorder(client: kube::Client, node: String) -> (Recorder, Writer) {
    let (sender, queue) = mpsc::channel(QUEUE);
    (Recorder { queue: sender }, Writer { queue, client, node, known: HashMap::new(), serial: 0 })
}

impl Writer {
    /// Until the last recorder is gone.
    pub(crate) async fn run(mut self) {
        while let Some(occurrence) = self.queue.recv().await {
            match tokio::time::timeout(TIMEOUT, self.write(&occurrence)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.known.remove(&occurrence);
                    tracing::debug!(pod = occurrence.pod, reason = occurrence.reason, %error, "event not written");
                }
                Err(_) => {
                    tracing::debug!(pod = occurrence.pod, reason = occurrence.reason, "event timed out")
                }
            }
        }
    }

    async fn write(&mut self, occurrence: &Occurrence) -> kube::Result<()> {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let api = Api::<Event>::namespaced(self.client.clone(), &occurrence.namespace);
        let now = Time(Timestamp::now());
        match self.known.entry(occurrence.clone()) {
            Entry::Occupied(mut known) => {
                let (name, count) = known.get_mut();
                *count += 1;
                let patch = serde_json::json!({"count": count, "lastTimestamp": now});
                api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
            Entry::Vacant(unknown) => {
                self.serial += 1;
                let stamp = now.0.as_nanosecond() as u64;
                let name = format!("{}.{stamp:x}{:x}", occurrence.pod, self.serial & 0xff);
                let event = event(occurrence, name.clone(), &self.node, now);
                api.create(&PostParams::default(), &event).await?;
                unknown.insert((name, 1));
                Ok(())
            }
        }
    }
}

fn event(occurrence: &Occurrence, name: String, node: &str, now: Time) -> Event {
    let kind = if occurrence.kind == Kind::Normal { "Normal" } else { "Warning" };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(occurrence.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(occurrence.pod.clone()),
            namespace: Some(occurrence.namespace.clone()),
            uid: Some(occurrence.uid.clone()),
            field_path: occurrence.container.as_ref().map(|name| format!("spec.containers{{{name}}}")),
            ..ObjectReference::default()
        },
        type_: Some(kind.to_owned()),
        reason: Some(occurrence.reason.to_owned()),
        message: Some(occurrence.message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
