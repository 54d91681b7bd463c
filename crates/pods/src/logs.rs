//! Container logs: written to files line by line with time stamps, rotated, read back and followed.
//!
//! A line is `2026-11-24T06:35:49.123456789Z stdout F text`, as container runtimes write them for the kubelet; `P`
//! marks a piece of a line that is not finished. A file that has reached [`ROTATE_AT`] becomes `<file>.1`, replacing
//! the one before: a container keeps at most twice that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

mod pump;
mod reader;

pub(crate) use pump::pump;
pub(crate) use reader::{Options, Reader};

/// Size at which a log file is rotated, bytes.
const ROTATE_AT: u64 = 10 * 1024 * 1024;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What followers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Rotations so far: a reader's open file is complete when this has moved on.
    pub(crate) generation: u64,
    /// Bytes written in all.
    pub(crate) written: u64,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

/// The log of one run of a container.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    rotate_at: u64,
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    size: u64,
}

impl LogFile {
    /// Creates (or empties) the file.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        Self::with_limit(path, ROTATE_AT)
    }

    fn with_limit(path: PathBuf, rotate_at: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let inner = Mutex::new(Inner { file: open(&path)?, size: 0 });
        Ok(Self { path, rotate_at, inner, progress: watch::Sender::new(Progress::default()) })
    }

    /// Appends one line (or piece of one) without its newline.
    pub(crate) fn append(&self, stream: Stream, complete: bool, text: &[u8]) -> io::Result<()> {
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        let tag = if complete { "F" } else { "P" };
        let mut line = format!("{} {name} {tag} ", stamp()).into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        let rotated = self.write(&line)?;
        self.progress.send_modify(|progress| {
            progress.generation += u64::from(rotated);
            progress.written += line.len() as u64;
        });
        Ok(())
    }

    fn write(&self, line: &[u8]) -> io::Result<bool> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let rotate = inner.size >= self.rotate_at;
        if rotate {
            fs::rename(&self.path, rotated(&self.path))?;
            *inner = Inner { file: open(&self.path)?, size: 0 };
        }
        inner.file.write_all(line)?;
        inner.size += line.len() as u64;
        Ok(rotate)
    }

    /// Tells followers that the container has ended.
    pub(crate) fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// For following.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The current file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the files; readers that have them open can go on.
    pub(crate) fn remove(&self) {
        fs::remove_file(&self.path).ok();
        fs::remove_file(rotated(&self.path)).ok();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).open(path)
}

/// Where the file before the current one lies.
pub(crate) fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// RFC 3339 with nine digits: all stamps have one length, and text order is time order.
fn stamp() -> String {
    format!("{:.9}", Timestamp::now())
}
