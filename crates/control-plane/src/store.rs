//! The objects and their history: one monotonic revision, optimistic concurrency, a bounded window of changes.
//!
//! The current objects are held in memory as the JSON that is served, and every change is committed to disk ([`disk`])
//! before anybody sees it; without a data directory they are only in memory. Changes are decided one at a time in a
//! [`Transaction`], so a decision never sees a half of another. The store knows keys and bytes: what an object means is
//! the caller's business.

pub(crate) mod data_dir;
mod disk;
mod transaction;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use objects::resource::{RESOURCES, Resource};
use objects::status::Status;
use tokio::sync::watch;

use crate::Error;
use disk::{Disk, Loaded};
pub(crate) use transaction::{Transaction, decode};
use window::Window;
pub(crate) use window::{Change, Event, TooOld};

/// An object at one revision, as the JSON that is served (with its `metadata.resourceVersion`).
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) json: Bytes,
}

/// `storage/namespace/name`; the namespace is empty for what has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Arc<str>);

impl Key {
    pub(crate) fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        Self(format!("{}/{namespace}/{name}", resource.storage).into())
    }

    /// A key of the server's own bookkeeping, which no resource serves.
    pub(crate) fn internal(storage: &str, name: &str) -> Self {
        Self(format!("{storage}//{name}").into())
    }

    fn from_disk(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// All keys of a resource, or of one namespace of it.
pub(crate) fn prefix(resource: &Resource, namespace: Option<&str>) -> String {
    match namespace.filter(|_| resource.namespaced) {
        Some(namespace) => format!("{}/{namespace}/", resource.storage),
        None => format!("{}/", resource.storage),
    }
}

#[derive(Debug)]
struct State {
    revision: u64,
    objects: BTreeMap<Key, Arc<Stored>>,
    window: Window,
}

/// Objects, revisions and recent changes.
pub(crate) struct Store {
    state: RwLock<State>,
    /// Held while a change is decided and committed. None: nothing is kept on disk.
    writer: Mutex<Option<Disk>>,
    durable: bool,
    /// The latest revision of each storage name, to wake its watchers only.
    latest: HashMap<&'static str, watch::Sender<u64>>,
}

impl Store {
    /// A store that forgets everything with the process.
    pub(crate) fn in_memory() -> Self {
        Self::with(None, BTreeMap::new(), 1)
    }

    /// The store kept in `path`, which is made if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Disk::open(path).map(Self::on)
    }

    fn on((disk, loaded): (Disk, Loaded)) -> Self {
        Self::with(Some(disk), loaded.objects, loaded.revision)
    }

    fn with(disk: Option<Disk>, objects: BTreeMap<Key, Arc<Stored>>, revision: u64) -> Self {
        let latest = RESOURCES.iter().map(|r| (r.storage, watch::channel(revision).0)).collect();
        let durable = disk.is_some();
        let state = State { revision, objects, window: Window::starting_at(revision) };
        Self { state: RwLock::new(state), writer: Mutex::new(disk), durable, latest }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // State is replaced in one step after a commit, so a panic elsewhere cannot leave half of a change in it.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> MutexGuard<'_, Option<Disk>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision of the last change to anything.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.read().objects.get(key).cloned()
    }

    /// All objects whose key starts with `prefix`, and the revision at which they are all of them.
    pub(crate) fn list(&self, prefix: &str) -> (Vec<Arc<Stored>>, u64) {
        let state = self.read();
        (under(&state.objects, prefix).map(|(_, stored)| Arc::clone(stored)).collect(), state.revision)
    }

    /// The changes after `revision` to keys that start with `prefix`, and the revision up to which they are all of them.
    pub(crate) fn changes(&self, revision: u64, prefix: &str) -> Result<(Vec<Arc<Event>>, u64), TooOld> {
        let state = self.read();
        Ok((state.window.after(revision, prefix)?, state.revision))
    }

    /// Wakes when an object of `resource` changes.
    pub(crate) fn subscribe(&self, resource: &Resource) -> watch::Receiver<u64> {
        self.latest[resource.storage].subscribe()
    }

    /// Decides and commits a change: `decide` sees the current objects, nothing changes while it runs, and what it puts
    /// is visible to others only once it is on disk. If it refuses, nothing happens. Runs to its end even if the caller
    /// goes away.
    pub(crate) async fn write<T, F>(self: &Arc<Self>, decide: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Status> + Send + 'static,
    {
        if !self.durable {
            return self.write_blocking(decide);
        }
        let store = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || store.write_blocking(decide));
        task.await.unwrap_or_else(|error| Err(Status::internal(error)))
    }

    /// As [`Store::write`], on this thread (which waits for the disk).
    pub(crate) fn write_blocking<T>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut disk = self.lock_writer();
        let mut transaction = Transaction::new(self);
        let outcome = decide(&mut transaction)?;
        let events = transaction.into_events();
        if let (Some(disk), false) = (disk.as_mut(), events.is_empty()) {
            disk.commit(&events).map_err(Status::internal)?;
        }
        self.publish(events);
        Ok(outcome)
    }

    fn publish(&self, events: Vec<Arc<Event>>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for event in &events {
            match event.change {
                Change::Deleted => state.objects.remove(&event.key),
                Change::Added | Change::Modified => {
                    state.objects.insert(event.key.clone(), Arc::clone(&event.object))
                }
            };
            state.revision = event.revision;
            state.window.push(Arc::clone(event));
        }
        drop(state);
        for event in &events {
            let storage = event.key.as_str().split('/').next().unwrap_or_default();
            if let Some(latest) = self.latest.get(storage) {
                latest.send_replace(event.revision);
            }
        }
    }
}

fn under<'a>(
    objects: &'a BTreeMap<Key, Arc<Stored>>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Stored>)> {
    objects.range(Key(prefix.into())..).take_while(move |(key, _)| key.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests;
