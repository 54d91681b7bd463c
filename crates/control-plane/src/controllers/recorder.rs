//! Records Events, off the path of the work: one task writes them one after the other, after a pause
//! ([`PAUSE`]) that lets the work they tell of go first (on disk every write waits for the one before it).
//!
//! Equal Events about one object within an hour are counted in one object, as client-go does. Events are best
//! effort: of more than [`MOST_PENDING`] pending ones the newest is dropped, and a failed write is only
//! logged.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

use super::action::{Note, Severity};

/// Events that wait to be written.
const MOST_PENDING: usize = 1024;
/// Between the first Event after a rest and its writing.
const PAUSE: Duration = Duration::from_millis(100);
/// Events that are remembered to be counted; all are forgotten when there are more.
const MOST_REMEMBERED: usize = 512;
/// An older Event is not counted up any more (the API keeps Events for an hour).
const COUNTED_FOR: Duration = Duration::from_secs(3600);

/// Takes Events. Cloning shares the queue.
#[derive(Clone)]
pub(super) struct Recorder(mpsc::Sender<(&'static str, Note, Timestamp)>);

/// Writes what the recorder takes.
pub(super) struct Writer {
    client: kube::Client,
    pending: mpsc::Receiver<(&'static str, Note, Timestamp)>,
    remembered: HashMap<String, Remembered>,
}

struct Remembered {
    name: String,
    count: i32,
    last: Timestamp,
}

/// Both halves.
pub(super) fn recorder(client: kube::Client) -> (Recorder, Writer) {
    let (sender, pending) = mpsc::channel(MOST_PENDING);
    (Recorder(sender), Writer { client, pending, remembered: HashMap::new() })
}

impl Recorder {
    /// Takes an Event of `component`.
    pub(super) fn record(&self, component: &'static str, note: Note) {
        if self.0.try_send((component, note, Timestamp::now())).is_err() {
            tracing::debug!(component, "event dropped: too many are pending");
        }
    }
}

impl Writer {
    /// Writes until all recorders are gone.
    pub(super) async fn run(mut self) {
        while let Some((component, note, now)) = self.next().await {
            if let Err(error) = self.write(component, &note, now).await {
                tracing::debug!(component, reason = note.reason, %error, "event not written");
            }
        }
    }

    async fn next(&mut self) -> Option<(&'static str, Note, Timestamp)> {
        if self.pending.is_empty() {
            let first = self.pending.recv().await;
            tokio::time::sleep(PAUSE).await;
            return first;
        }
        self.pending.recv().await
    }

    async fn write(&mut self, component: &'static str, note: &Note, now: Timestamp) -> kube::Result<()> {
        let namespace = note.regarding.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let key = fingerprint(component, note);
        if let Some(known) = self.remembered.get_mut(&key).filter(|known| is_recent(known.last, now)) {
            known.count += 1;
            known.last = now;
            let patch = json!({"count": known.count, "lastTimestamp": Time(now)});
            let written = api.patch(&known.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            if written.is_ok() {
                return Ok(());
            }
        }
        let event = event(component, note, namespace, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.remembered.len() >= MOST_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(key, Remembered { name, count: 1, last: now });
        Ok(())
    }
}

fn is_recent(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last).unsigned_abs() < COUNTED_FOR
}

fn fingerprint(component: &str, note: &Note) -> String {
    let uid = note.regarding.uid.as_deref().unwrap_or_default();
    format!("{component}\0{uid}\0{}\0{}", note.reason, note.message)
}

fn event(component: &'static str, note: &Note, namespace: &str, now: Timestamp) -> Event {
    let mut event = Event::default();
    let subject = note.regarding.name.as_deref().unwrap_or_default();
    event.metadata.name = Some(format!("{subject}.{:x}", now.as_nanosecond()));
    event.metadata.namespace = Some(namespace.to_owned());
    event.involved_object = note.regarding.clone();
    event.reason = Some(note.reason.to_owned());
    event.message = Some(note.message.clone());
    event.type_ = Some(
        match note.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
        .to_owned(),
    );
    event.source = Some(EventSource { component: Some(component.to_owned()), host: None });
    event.reporting_component = Some(component.to_owned());
    event.reporting_instance = Some(String::new());
    event.first_timestamp = Some(Time(now));
    event.last_timestamp = Some(Time(now));
    event.count = Some(1);
    event
}
