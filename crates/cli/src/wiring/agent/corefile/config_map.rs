//! The ConfigMap kube-system/coredns: read, followed, and told of by an Event when it is of no use.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context;
use dns::corefile::{self, Sources, System};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::runtime::WatchStreamExt;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event as Change, watcher};
use kube::{Api, Client};
use tracing::{debug, warn};

/// kubeadm's name for it.
const NAME: &str = "coredns";
const NAMESPACE: &str = "kube-system";
/// The key of the Corefile.
const KEY: &str = "Corefile";
/// Longest note that the API takes in an Event.
const NOTE_BYTES_MAX: usize = 1024;

/// The ConfigMap's text with its name in errors, and where its imports are.
pub(super) fn text(map: &ConfigMap) -> anyhow::Result<(String, String, Keys)> {
    let keys = map.data.clone().unwrap_or_default();
    let text = keys.get(KEY).with_context(|| format!("{NAMESPACE}/{NAME} has no key {KEY}"))?.clone();
    Ok((text, format!("{NAMESPACE}/{NAME}/{KEY}"), Keys(keys)))
}

/// The ConfigMap; `None` when there is none, or it may not be read.
pub(super) async fn read(client: Option<&Client>) -> Option<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(client?.clone(), NAMESPACE);
    match api.get_opt(NAME).await {
        Ok(map) => map.filter(|map| map.data.as_ref().is_some_and(|keys| keys.contains_key(KEY))),
        Err(error) => {
            warn!("the ConfigMap {NAMESPACE}/{NAME} is not read, kubeadm's Corefile serves: {error}");
            None
        }
    }
}

/// The watch of the ConfigMap.
pub(super) struct Watch {
    changes: BoxStream<'static, watcher::Result<Change<ConfigMap>>>,
    listed: Option<ConfigMap>,
    /// The version that was returned last: a list that is begun anew shows it again.
    seen: Option<String>,
}

impl Watch {
    pub(super) fn start(client: &Client) -> Self {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        Self { changes: watcher(api, only).default_backoff().boxed(), listed: None, seen: None }
    }

    /// The ConfigMap whenever it may have changed, `Some(None)` when it has gone; nothing more when the watch ends.
    pub(super) async fn next(&mut self) -> Option<Option<ConfigMap>> {
        loop {
            let map = match self.changes.next().await? {
                Ok(Change::Init) => {
                    self.listed = None;
                    continue;
                }
                Ok(Change::InitApply(map)) => {
                    self.listed = Some(map);
                    continue;
                }
                Ok(Change::InitDone) => self.listed.take(),
                Ok(Change::Apply(map)) => Some(map),
                Ok(Change::Delete(_)) => None,
                Err(error) => {
                    debug!("the watch of {NAMESPACE}/{NAME} failed and is retried: {error}");
                    continue;
                }
            };
            let version = map.as_ref().and_then(|map| map.metadata.resource_version.clone());
            if version.is_none() || version != self.seen {
                self.seen = version;
                return Some(map);
            }
        }
    }
}

/// Makes Events on the ConfigMap.
pub(super) struct Herald {
    client: Client,
    reporter: Reporter,
}

impl Herald {
    pub(super) fn new(client: &Client, node: &str) -> Self {
        let instance = Some(node.to_owned()).filter(|node| !node.is_empty());
        Self { client: client.clone(), reporter: Reporter { controller: "sluice-dns".to_owned(), instance } }
    }

    /// Tells that the Corefile is of no use, and why.
    pub(super) async fn refused(&self, map: &ConfigMap, error: &anyhow::Error) {
        let mut note = format!("{error:#}; the old Corefile stays");
        while note.len() > NOTE_BYTES_MAX {
            note.pop();
        }
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            name: Some(NAME.to_owned()),
            uid: map.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: "CorefileRefused".to_owned(),
            note: Some(note),
            action: "Reload".to_owned(),
            secondary: None,
        };
        // A recorder that has published before would count the new mistake as one more of the old, whose note it keeps.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, &regarding).await {
            debug!("an Event on {NAMESPACE}/{NAME} was refused: {error}");
        }
    }
}

/// The keys of a ConfigMap, which are files in the folder where CoreDNS has it mounted.
pub(super) struct Keys(BTreeMap<String, String>);

impl Sources for Keys {
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }

    fn files(&self, pattern: &str, importer: &str) -> io::Result<Vec<(String, String)>> {
        let name = pattern.rsplit('/').next().unwrap_or_default();
        let keys = self.0.iter().filter(|(key, _)| corefile::matches(name, key));
        let files: Vec<_> = keys.map(|(key, text)| (key.clone(), text.clone())).collect();
        // A ConfigMap of its own that is mounted beside it is no part of this one.
        if files.is_empty() { System.files(pattern, importer) } else { Ok(files) }
    }
}
