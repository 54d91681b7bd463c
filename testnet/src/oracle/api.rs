//! As much of a Kubernetes API as a kube-proxy or a CoreDNS reads: lists and watches of a few kinds, over HTTP on loopback.
//!
//! A set of objects replaces another at once, and each watch is told the difference between what it has seen and what
//! it should see: an object that no longer passes a watch's selectors is deleted there. Nothing is allocated, defaulted or
//! validated. A thread serves each connection, and each connection one request.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::socket::{Shutdown, shutdown};
use serde_json::{Value, json};

mod request;

use request::Request;

/// What the API holds.
#[derive(Debug, Default)]
struct Store {
    /// By path of the kind, then namespace and name.
    objects: BTreeMap<(&'static str, String), Value>,
    revision: u64,
    closed: bool,
}

/// Shared between threads.
#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
}

/// A running API. Dropping it ends its threads.
#[derive(Debug)]
pub(super) struct Api {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
}

/// Kinds by their path.
const KINDS: [(&str, &str, &str); 6] = [
    ("Namespace", "v1", "/api/v1/namespaces"),
    ("Pod", "v1", "/api/v1/pods"),
    ("Service", "v1", "/api/v1/services"),
    ("Node", "v1", "/api/v1/nodes"),
    ("EndpointSlice", "discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("ServiceCIDR", "networking.k8s.io/v1", "/apis/networking.k8s.io/v1/servicecidrs"),
];

impl Api {
    /// Serves on a listener.
    pub(super) fn serve(listener: TcpListener) -> io::Result<Self> {
        let (shared, listener) = (Arc::<Shared>::default(), Arc::new(listener));
        let (inner, accepting) = (Arc::clone(&shared), Arc::clone(&listener));
        thread::Builder::new().name("api".to_owned()).spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let inner = Arc::clone(&inner);
                thread::spawn(move || answer(&inner, &stream));
            }
        })?;
        Ok(Self { shared, listener })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Replaces all objects. Those that are as they were keep their version.
    pub(super) fn replace(&self, objects: impl IntoIterator<Item = Value>) {
        let mut store = self.shared.lock();
        store.revision += 1;
        let revision = json!(store.revision.to_string());
        let mut old = std::mem::take(&mut store.objects);
        for mut object in objects {
            let Some((_, _, path)) = KINDS.iter().find(|(kind, ..)| object["kind"] == *kind) else {
                continue;
            };
            let key = (*path, name(&object));
            object["metadata"]["uid"] = json!(key.1);
            if let Some(known) = old.remove(&key) {
                object["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
                if object == known {
                    store.objects.insert(key, known);
                    continue;
                }
            }
            object["metadata"]["resourceVersion"] = revision.clone();
            store.objects.insert(key, object);
        }
        drop(store);
        self.shared.changed.notify_all();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store when it is newer than `revision`; nothing when the API ends.
    fn newer(&self, revision: Option<u64>) -> Option<MutexGuard<'_, Store>> {
        let old = |store: &mut Store| !store.closed && Some(store.revision) == revision;
        let store = self.changed.wait_while(self.lock(), old).unwrap_or_else(PoisonError::into_inner);
        if store.closed { None } else { Some(store) }
    }
}

impl Store {
    fn select(&self, path: &str, request: &Request) -> BTreeMap<String, Value> {
        let chosen =
            self.objects.iter().filter(|((kind, _), object)| *kind == path && request.selects(object));
        chosen.map(|((_, name), object)| (name.clone(), object.clone())).collect()
    }
}

fn name(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

/// One connection. Whoever hangs up is not missed.
fn answer(shared: &Shared, mut stream: &TcpStream) {
    let Ok(Some(request)) = read(stream) else { return };
    let Some((kind, version, path)) = KINDS.iter().find(|(.., path)| *path == request.path).copied() else {
        let _ = head(stream, "404 Not Found").and_then(|()| {
            writeln!(
                stream,
                "{}",
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
            )
        });
        return;
    };
    let _ = if request.watch {
        watch(shared, stream, path, (kind, version), &request)
    } else {
        list(shared, stream, path, (kind, version), &request)
    };
}

fn read(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?;
    // The headers say nothing that matters here.
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.as_deref().and_then(Request::parse))
}

fn head(mut stream: &TcpStream, status: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
}

fn list(
    shared: &Shared,
    mut stream: &TcpStream,
    path: &str,
    (kind, version): (&str, &str),
    request: &Request,
) -> io::Result<()> {
    let store = shared.lock();
    let items: Vec<Value> = store.select(path, request).into_values().collect();
    let revision = store.revision.to_string();
    drop(store);
    head(stream, "200 OK")?;
    let list = json!({
        "kind": format!("{kind}List"), "apiVersion": version, "metadata": {"resourceVersion": revision}, "items": items,
    });
    writeln!(stream, "{list}")
}

/// Tells what changed until one of both ends it. A watch that asks for what there is gets it with a bookmark behind it
/// (KEP-3157).
fn watch(
    shared: &Shared,
    mut stream: &TcpStream,
    path: &str,
    (kind, version): (&str, &str),
    request: &Request,
) -> io::Result<()> {
    head(stream, "200 OK")?;
    let mut seen = if request.initial { BTreeMap::new() } else { shared.lock().select(path, request) };
    let (mut revision, mut bookmark) = (None, request.initial);
    while let Some(store) = shared.newer(revision) {
        let now = store.select(path, request);
        revision = Some(store.revision);
        let text = store.revision.to_string();
        drop(store);
        let mut events: Vec<Value> = Vec::new();
        for (_, gone) in seen.iter().filter(|(name, _)| !now.contains_key(*name)) {
            let mut gone = gone.clone();
            gone["metadata"]["resourceVersion"] = json!(text);
            events.push(json!({"type": "DELETED", "object": gone}));
        }
        for (name, object) in &now {
            match seen.get(name) {
                None => events.push(json!({"type": "ADDED", "object": object})),
                Some(old) if old != object => events.push(json!({"type": "MODIFIED", "object": object})),
                Some(_) => {}
            }
        }
        if std::mem::take(&mut bookmark) {
            let metadata =
                json!({"resourceVersion": text, "annotations": {"k8s.io/initial-events-end": "true"}});
            let object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
            events.push(json!({"type": "BOOKMARK", "object": object}));
        }
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        stream.write_all(lines.as_bytes())?;
        seen = now;
    }
    Ok(())
}
