//! Watches: what changed since a revision, and what changes from now on, as a stream of JSON lines.
//!
//! A watch has no queue: it wakes when its kind changes and reads the store's window at the pace at which its client takes
//! the bytes. A client that falls behind the window gets 410 and lists anew. Nothing runs while nothing changes, but for
//! a bookmark a minute where there is news to tell.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use objects::status::Status;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::body::{self, ResponseBody};
use super::query::Query;
use super::read::{Matcher, revision};
use super::respond::Style;
use super::route::Target;
use super::{Api, write};
use crate::store::{Change, Event, Store, decode};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends at a random time in this range, so that watches do not all start over at once.
const DEFAULT_TIMEOUT: std::ops::Range<u64> = 1800..3600;

/// A running watch.
struct Watch {
    store: std::sync::Arc<Store>,
    prefix: String,
    matcher: Matcher,
    style: Style,
    /// Everything up to this revision has been sent.
    cursor: u64,
    /// The revision of the last bookmark.
    told: u64,
    changed: Receiver<u64>,
    /// Becomes true when the server stops.
    stopping: Option<Receiver<bool>>,
    ends: Instant,
    bookmarks: bool,
    next_bookmark: Instant,
    columns_sent: bool,
    ready: Vec<u8>,
    finished: bool,
}

/// Answers a watch.
pub(super) fn watch(
    api: &Api,
    stopping: Option<Receiver<bool>>,
    target: &Target,
    query: &Query,
    style: Style,
) -> Result<Response<ResponseBody>, Status> {
    let matcher = Matcher::new(target, query)?;
    check(query)?;
    let seconds = query.timeout_seconds.filter(|s| *s > 0);
    let seconds = seconds.unwrap_or_else(|| rand::rng().random_range(DEFAULT_TIMEOUT));
    let now = Instant::now();
    let mut watch = Watch {
        store: api.store.clone(),
        prefix: write::collection_prefix(target),
        matcher,
        style,
        cursor: 0,
        told: 0,
        changed: api.store.subscribe(target.resource),
        stopping,
        ends: now + Duration::from_secs(seconds),
        bookmarks: query.allow_watch_bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        columns_sent: false,
        ready: Vec::new(),
        finished: false,
    };
    watch.start(query)?;
    let lines = stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) });
    Ok(body::streamed(body::JSON, lines))
}

fn check(query: &Query) -> Result<(), Status> {
    let matching = query.resource_version_match.as_str();
    match (query.send_initial_events, matching) {
        (Some(_), "NotOlderThan") | (None, "") => Ok(()),
        (Some(_), _) => Err(Status::forbidden_option(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )),
        (None, _) => Err(Status::forbidden_option(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )),
    }
}

impl Watch {
    /// Finds where to begin, and collects the initial events.
    fn start(&mut self, query: &Query) -> Result<(), Status> {
        let current = self.store.revision();
        let asked = match query.resource_version.as_str() {
            "" => 0,
            text => revision(text)?,
        };
        if asked > current {
            return Err(Status::too_large_revision(asked, current));
        }
        match (query.send_initial_events, asked) {
            (Some(true), _) => {
                self.send_all();
                if self.bookmarks {
                    self.push_bookmark(true);
                }
            }
            (None, 0) => self.send_all(),
            (Some(false), 0) => self.cursor = current,
            (_, asked) => self.cursor = asked,
        }
        Ok(())
    }

    fn send_all(&mut self) {
        let (objects, revision) = self.store.list(&self.prefix);
        self.cursor = revision;
        for stored in objects {
            if self.matcher.is_everything() && self.style.is_stored() {
                self.push_stored("ADDED", &stored.json);
            } else if let Some(object) = self.matcher.decode_matching(&stored) {
                self.push_object("ADDED", object);
            }
        }
    }

    /// The next bytes, or None when the watch ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready).into());
            }
            if self.finished {
                return None;
            }
            self.changed.mark_unchanged();
            self.collect();
            if self.ready.is_empty() && !self.finished {
                self.wait().await;
            }
        }
    }

    /// Takes what changed since the cursor.
    fn collect(&mut self) {
        match self.store.changes(self.cursor, &self.prefix) {
            Ok((events, upto)) => {
                for event in events {
                    self.push_event(&event);
                }
                self.cursor = upto;
            }
            Err(too_old) => {
                let status = Status::expired(self.cursor, too_old.oldest).to_json();
                self.push_line(&json!({"type": "ERROR", "object": status}));
                self.finished = true;
            }
        }
    }

    /// Waits for a change, the end, or the time for a bookmark.
    async fn wait(&mut self) {
        let bookmark = if self.bookmarks { self.next_bookmark } else { self.ends };
        tokio::select! {
            changed = self.changed.changed() => self.finished = changed.is_err(),
            () = stopped(self.stopping.as_mut()) => self.finished = true,
            () = sleep_until(bookmark.min(self.ends)) => self.tick(),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let ends = now >= self.ends;
        // Whatever has changed until now is in the window still; send it before saying that it was all.
        self.collect();
        if self.bookmarks && self.cursor > self.told && !self.finished {
            self.push_bookmark(false);
        }
        self.next_bookmark = now + BOOKMARK_EVERY;
        self.finished |= ends;
    }

    fn push_event(&mut self, event: &Event) {
        if self.matcher.is_everything() && self.style.is_stored() {
            let kind = match event.change {
                Change::Added => "ADDED",
                Change::Modified => "MODIFIED",
                Change::Deleted => "DELETED",
            };
            return self.push_stored(kind, &event.object.json);
        }
        let before = event.previous.as_deref().and_then(|stored| self.matcher.decode_matching(stored));
        let object = decode(&event.object);
        let matches = event.change != Change::Deleted && self.matcher.matches(&object);
        match (before, matches) {
            (None, true) => self.push_object("ADDED", object),
            (Some(_), true) => self.push_object("MODIFIED", object),
            (Some(_), false) if event.change == Change::Deleted => self.push_object("DELETED", object),
            // The last state that matched, at the revision at which it stopped to.
            (Some(mut last), false) => {
                last["metadata"]["resourceVersion"] = json!(event.revision.to_string());
                self.push_object("DELETED", last);
            }
            (None, false) => {}
        }
    }

    fn push_stored(&mut self, kind: &str, json: &[u8]) {
        self.ready.extend_from_slice(br#"{"type":""#);
        self.ready.extend_from_slice(kind.as_bytes());
        self.ready.extend_from_slice(br#"","object":"#);
        self.ready.extend_from_slice(json);
        self.ready.extend_from_slice(b"}\n");
    }

    fn push_object(&mut self, kind: &str, object: Value) {
        let object = self.style.value(object, !self.columns_sent);
        self.columns_sent = true;
        self.push_line(&json!({"type": kind, "object": object}));
    }

    fn push_bookmark(&mut self, end_of_initial_events: bool) {
        let object = self.style.bookmark(self.cursor, end_of_initial_events);
        self.push_line(&json!({"type": "BOOKMARK", "object": object}));
        self.told = self.cursor;
    }

    fn push_line(&mut self, line: &Value) {
        self.ready.extend_from_slice(line.to_string().as_bytes());
        self.ready.push(b'\n');
    }
}

async fn stopped(stopping: Option<&mut Receiver<bool>>) {
    match stopping {
        Some(stopping) => drop(stopping.wait_for(|stop| *stop).await),
        None => std::future::pending().await,
    }
}
