use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use objects::resource::{Resource, by_kind};
use serde_json::{Value, json};

use super::data_dir::DataDir;
use super::{Change, Key, Store, TooOld, prefix};
use crate::Error;

/// A directory of this test alone, removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("store-{name}-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pods() -> &'static Resource {
    by_kind("v1", "Pod").unwrap()
}

fn put(store: &Store, name: &str) -> u64 {
    let key = Key::new(pods(), "default", name);
    let mut object = json!({"metadata": {"name": name}});
    store
        .write_blocking(|t| {
            t.put(&key, &mut object);
            Ok(())
        })
        .unwrap();
    store.revision()
}

fn delete(store: &Store, name: &str) -> u64 {
    let key = Key::new(pods(), "default", name);
    store
        .write_blocking(|t| {
            let mut last = t.value(&key).unwrap();
            t.delete(&key, &mut last);
            Ok(())
        })
        .unwrap();
    store.revision()
}

fn names(store: &Store) -> Vec<String> {
    let (objects, _) = store.list(&prefix(pods(), None));
    objects
        .iter()
        .map(|o| super::transaction::decode(o)["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_change_has_its_own_revision_and_is_seen_by_watches() {
    let store = Store::in_memory();
    let start = store.revision();
    assert_eq!(put(&store, "a"), start + 1);
    assert_eq!(put(&store, "a"), start + 2);
    assert_eq!(delete(&store, "a"), start + 3);
    let (events, upto) = store.changes(start, &prefix(pods(), Some("default"))).unwrap();
    let changes: Vec<_> = events.iter().map(|e| (e.revision - start, e.change)).collect();
    assert_eq!(changes, [(1, Change::Added), (2, Change::Modified), (3, Change::Deleted)]);
    assert_eq!(upto, start + 3);
    let last: Value = serde_json::from_slice(&events[2].object.json).unwrap();
    assert_eq!(last["metadata"]["resourceVersion"], (start + 3).to_string());
    assert!(store.changes(start, &prefix(pods(), Some("other"))).unwrap().0.is_empty());
}

#[test]
fn a_refused_decision_changes_nothing() {
    let store = Store::in_memory();
    let before = store.revision();
    let refused = store.write_blocking(|t| {
        t.put(&Key::new(pods(), "default", "a"), &mut json!({}));
        Err::<(), _>(objects::status::Status::bad_request("no"))
    });
    assert!(refused.is_err());
    assert_eq!(store.revision(), before);
    assert!(names(&store).is_empty());
}

#[test]
fn a_watch_from_before_the_window_is_told_so() {
    let store = Store::in_memory();
    let start = store.revision();
    let key = Key::new(pods(), "default", "big");
    for _ in 0..9 {
        let mut object = json!({"data": "x".repeat(1 << 20)});
        store
            .write_blocking(|t| {
                t.put(&key, &mut object);
                Ok(())
            })
            .unwrap();
    }
    let TooOld { oldest } = store.changes(start, "pods/").unwrap_err();
    assert!(oldest > start);
    assert!(store.changes(oldest, "pods/").is_ok());
}

#[test]
fn objects_and_revisions_survive_a_restart() {
    let scratch = Scratch::new("restart");
    let path = scratch.0.join("store.redb");
    let store = Store::open(&path).unwrap();
    put(&store, "a");
    put(&store, "b");
    let last = delete(&store, "a");
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.revision(), last);
    assert_eq!(names(&store), ["b"]);
    assert_eq!(store.changes(last - 1, "pods/").unwrap_err(), TooOld { oldest: last });
    assert_eq!(put(&store, "c"), last + 1);
}

#[tokio::test]
async fn concurrent_writers_never_share_a_revision() {
    let scratch = Scratch::new("concurrent");
    let store = Arc::new(Store::open(&scratch.0.join("store.redb")).unwrap());
    let start = store.revision();
    let writes = (0..20).map(|i| {
        let store = Arc::clone(&store);
        async move {
            let key = Key::new(pods(), "default", &format!("p{i}"));
            let put = move |t: &mut super::Transaction<'_>| {
                t.put(&key, &mut json!({"metadata": {}}));
                Ok(())
            };
            store.write(put).await.unwrap();
        }
    });
    futures::future::join_all(writes).await;
    let (events, _) = store.changes(start, "pods/").unwrap();
    let revisions: Vec<_> = events.iter().map(|e| e.revision - start).collect();
    assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_not_a_store_is_named_and_left_alone() {
    let scratch = Scratch::new("damaged");
    let path = scratch.0.join("store.redb");
    let garbage = vec![7_u8; 8192];
    std::fs::write(&path, &garbage).unwrap();
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("store.redb is damaged"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[test]
fn a_flipped_byte_in_an_object_is_found_at_the_start() {
    let scratch = Scratch::new("flipped");
    let path = scratch.0.join("store.redb");
    let store = Store::open(&path).unwrap();
    put(&store, "needle");
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|w| w == b"needle").unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Store::open(&path).err(), Some(Error::Damaged { .. })));
}

#[test]
fn a_directory_is_used_by_one_process_and_only_if_it_is_ours() {
    let scratch = Scratch::new("dir");
    let ours = DataDir::open(&scratch.0.join("data")).unwrap();
    assert!(matches!(DataDir::open(&scratch.0.join("data")).err(), Some(Error::InUse { .. })));
    drop(ours);
    DataDir::open(&scratch.0.join("data")).unwrap();

    std::fs::create_dir(scratch.0.join("home")).unwrap();
    std::fs::write(scratch.0.join("home/letter.txt"), "dear").unwrap();
    let error = DataDir::open(&scratch.0.join("home")).err().unwrap();
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
    assert_eq!(std::fs::read_dir(scratch.0.join("home")).unwrap().count(), 1);
}

/// A file in memory on a disk that can be full.
#[derive(Clone, Debug, Default)]
struct FullDisk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl redb::StorageBackend for FullDisk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes.lock().unwrap()[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        let at = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn a_full_disk_refuses_the_write_keeps_the_rest_and_recovers() {
    let disk = FullDisk::default();
    let (backend, path) = (disk.clone(), PathBuf::from("store.redb"));
    let opener = move || redb::Database::builder().create_with_backend(backend.clone());
    let store = Store::on(super::Disk::open_with(&path, Box::new(opener)).unwrap());
    let before = put(&store, "a");

    disk.full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let key = Key::new(pods(), "default", "b");
        let refused = store.write_blocking(|t| {
            t.put(&key, &mut json!({}));
            Ok(())
        });
        let status = refused.unwrap_err();
        assert_eq!(status.code, 500, "{status}");
        assert_eq!((names(&store), store.revision()), (vec!["a".to_owned()], before));
    }

    let empty = FullDisk { full: Arc::new(AtomicBool::new(true)), ..FullDisk::default() };
    let opener = move || redb::Database::builder().create_with_backend(empty.clone());
    let refused = super::Disk::open_with(&path, Box::new(opener)).err().unwrap();
    assert!(matches!(refused, Error::DataDir { .. }), "{refused}");

    disk.full.store(false, Ordering::Relaxed);
    assert_eq!(put(&store, "b"), before + 1);
    assert_eq!(names(&store), ["a", "b"]);
}
