//! One change being decided: reads see what is stored and what the transaction itself has put, writes are collected.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Change, Event, Key, Store, Stored};

/// Access to the store for the decision of one change.
pub(crate) struct Transaction<'a> {
    store: &'a Store,
    revision: u64,
    events: Vec<Arc<Event>>,
}

impl<'a> Transaction<'a> {
    /// The caller holds the store's writer lock, so the revision cannot move.
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, revision: store.revision(), events: Vec::new() }
    }

    /// The object as this transaction would leave it.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        match self.events.iter().rev().find(|event| event.key == *key) {
            Some(event) if event.change == Change::Deleted => None,
            Some(event) => Some(Arc::clone(&event.object)),
            None => self.store.get(key),
        }
    }

    /// Like [`Transaction::get`], decoded.
    pub(crate) fn value(&self, key: &Key) -> Option<Value> {
        self.get(key).map(|stored| decode(&stored))
    }

    /// Stores `object` under `key` at a new revision, which is written into it.
    pub(crate) fn put(&mut self, key: &Key, object: &mut Value) {
        let previous = self.get(key);
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.record(key, change, object, previous);
    }

    /// Removes the object. `last` is what watchers see; it carries the revision of the removal.
    pub(crate) fn delete(&mut self, key: &Key, last: &mut Value) {
        let previous = self.get(key);
        self.record(key, Change::Deleted, last, previous);
    }

    fn record(&mut self, key: &Key, change: Change, object: &mut Value, previous: Option<Arc<Stored>>) {
        self.revision += 1;
        let revision = self.revision;
        set_revision(object, revision);
        let object = Arc::new(Stored { json: Bytes::from(object.to_string()) });
        self.events.push(Arc::new(Event { revision, key: key.clone(), change, object, previous }));
    }

    /// Forgets what was put and deleted: a dry run ends here.
    pub(crate) fn discard(&mut self) {
        self.events.clear();
    }

    pub(super) fn into_events(self) -> Vec<Arc<Event>> {
        self.events
    }
}

/// The object behind the bytes, which are always JSON of our own making.
pub(crate) fn decode(stored: &Stored) -> Value {
    serde_json::from_slice(&stored.json).unwrap_or_else(|_| Value::Object(Map::new()))
}

fn set_revision(object: &mut Value, revision: u64) {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata["resourceVersion"] = json!(revision.to_string());
}
