//! The objects on disk: one redb file, every commit durable before it is answered.
//!
//! Read once, at the start; after that it is only written. A commit that fails (a full disk) changes nothing, and the file
//! is opened anew for the next one, because redb refuses all work after an I/O error.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Change, Event, Key, Stored};
use crate::Error;

/// Key to JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const LAYOUT: &str = "layout";
const REVISION: &str = "revision";
/// Version of the tables above; a file with another one is not touched.
const LAYOUT_VERSION: u64 = 1;
/// The objects are in memory already, so the file needs next to no cache.
const CACHE_BYTES: usize = 1 << 20;

/// Opens the file; called again after a commit has failed.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The open file.
pub(crate) struct Disk {
    path: PathBuf,
    opener: Opener,
    /// None after a failed commit, until it can be opened again.
    database: Option<Database>,
}

/// What the file held.
pub(super) struct Loaded {
    pub(super) objects: BTreeMap<Key, Arc<Stored>>,
    pub(super) revision: u64,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded), Error> {
        let file = path.to_owned();
        let open_file = move || {
            let mut builder = Database::builder();
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&file)?;
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            builder.create_with_backend(FileBackend::new(file)?)
        };
        Self::open_with(path, Box::new(open_file))
    }

    /// `path` only names the file in errors.
    pub(super) fn open_with(path: &Path, opener: Opener) -> Result<(Self, Loaded), Error> {
        let database = opener().map_err(|error| not_opened(path, error))?;
        initialize(&database).map_err(|error| unusable(path, error))?;
        let loaded = load(&database).map_err(|error| unusable(path, error))?;
        let loaded = loaded.ok_or_else(|| foreign(path))?;
        Ok((Self { path: path.to_owned(), opener, database: Some(database) }, loaded))
    }

    /// Writes the changes of one transaction, all or none.
    pub(super) fn commit(&mut self, events: &[Arc<Event>]) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.opener)().map_err(|error| not_opened(&self.path, error))?,
        };
        write(&database, events).map_err(|error| Error::Commit { what: error.to_string() })?;
        self.database = Some(database);
        Ok(())
    }
}

fn not_opened(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse { path: path.to_owned() },
        other => unusable(path, other.into()),
    }
}

/// Tells a disk that fails from a file that is wrong; redb reports the latter as invalid data.
fn unusable(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            Error::DataDir { path: path.to_owned(), source }
        }
        other => damaged(path, &other),
    }
}

/// Makes the tables of a new file; leaves any other alone.
fn initialize(database: &Database) -> Result<(), redb::Error> {
    if database.begin_read()?.list_tables()?.next().is_some() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(LAYOUT, LAYOUT_VERSION)?;
        meta.insert(REVISION, 1)?;
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Everything in the file, or None if it is a database of something else.
fn load(database: &Database) -> Result<Option<Loaded>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok(None),
        other => other?,
    };
    if meta.get(LAYOUT)?.map(|v| v.value()) != Some(LAYOUT_VERSION) {
        return Ok(None);
    }
    let revision = meta.get(REVISION)?.map_or(1, |v| v.value());
    let mut objects = BTreeMap::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        let stored = from_disk(value.value())
            .ok_or_else(|| redb::Error::Corrupted(format!("the entry {} is not an object", key.value())))?;
        objects.insert(Key::from_disk(key.value()), Arc::new(stored));
    }
    Ok(Some(Loaded { objects, revision }))
}

fn from_disk(json: &[u8]) -> Option<Stored> {
    serde_json::from_slice::<serde::de::IgnoredAny>(json).ok()?;
    Some(Stored { json: Bytes::copy_from_slice(json) })
}

fn write(database: &Database, events: &[Arc<Event>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut meta = transaction.open_table(META)?;
        for event in events {
            if event.change == Change::Deleted {
                objects.remove(event.key.as_str())?;
            } else {
                objects.insert(event.key.as_str(), event.object.json.as_ref())?;
            }
            meta.insert(REVISION, event.revision)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn damaged(path: &Path, error: &redb::Error) -> Error {
    Error::Damaged { path: path.to_owned(), what: error.to_string() }
}

fn foreign(path: &Path) -> Error {
    let what = "it is the database of another program or of another version of this one".to_owned();
    Error::Damaged { path: path.to_owned(), what }
}
