//! The data directory: made if it is not there, ours or empty, and used by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

const LOCK: &str = "lock";
const STORE: &str = "store.redb";

/// A data directory that this process alone uses, until the value is dropped.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::DataDir { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        if !is_ours_or_empty(path).map_err(failed)? {
            return Err(Error::NotOurs { path: path.to_owned() });
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The store's file.
    ///
    /// # Errors
    /// If it is empty though the cluster has a certificate authority, which is made after it: it was cut.
    pub(crate) fn store_path(&self) -> Result<PathBuf, Error> {
        let path = self.path.join(STORE);
        let cut = fs::metadata(&path).is_ok_and(|m| m.len() == 0);
        if cut && self.path.join("ca.crt").exists() {
            return Err(Error::Damaged { path, what: "it is empty".to_owned() });
        }
        Ok(path)
    }
}

/// A lock file alone is left by a start that failed early.
fn is_ours_or_empty(path: &Path) -> io::Result<bool> {
    let mut foreign = false;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name == STORE {
            return Ok(true);
        }
        foreign |= name != LOCK;
    }
    Ok(!foreign)
}
