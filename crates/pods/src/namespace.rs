//! Entering and making network namespaces, always on threads made for it.
//!
//! A thread that has moved to another namespace may not be able to return (an ordinary user's `setns` into the
//! host's namespace is refused), so no thread of an async runtime ever moves: work in a namespace runs on a
//! short-lived thread here, or on one that lives there for good.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A namespace operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No new network namespace.
    #[error("cannot create a network namespace (needs CAP_SYS_ADMIN in the current user namespace)")]
    Create(#[source] io::Error),
    /// An existing one could not be entered.
    #[error("cannot enter a network namespace")]
    Enter(#[source] io::Error),
    /// The thread's or process's namespace file could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file below /proc.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread for the work.
    #[error("cannot start a thread for work in another namespace")]
    Thread(#[source] io::Error),
    /// The work panicked.
    #[error("work in another namespace panicked")]
    Panicked,
}

/// Moves the calling thread into a fresh network namespace and returns a handle that keeps it alive.
///
/// # Errors
/// The kernel's refusal.
pub fn enter_new_network() -> Result<OwnedFd, Error> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Create(errno.into()))?;
    own_network()
}

/// A handle on the calling thread's network namespace.
///
/// # Errors
/// `/proc` is not mounted or not readable.
pub fn own_network() -> Result<OwnedFd, Error> {
    open("/proc/thread-self/ns/net".to_owned())
}

/// A handle on the network namespace of a process (its main thread's).
///
/// # Errors
/// The process is gone, or not ours.
pub fn network_of(pid: u32) -> Result<OwnedFd, Error> {
    open(format!("/proc/{pid}/ns/net"))
}

/// Moves the calling thread into an existing network namespace.
///
/// # Errors
/// The kernel's refusal.
pub fn enter_network(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Enter(errno.into()))
}

/// Runs `work` on a thread of its own and waits for it. The thread may change namespaces as it likes.
///
/// # Errors
/// No thread, or the work panicked.
pub fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let thread = thread::Builder::new().name("namespace".to_owned()).spawn(work).map_err(Error::Thread)?;
    thread.join().map_err(|_| Error::Panicked)
}

fn open(path: String) -> Result<OwnedFd, Error> {
    File::open(&path).map(OwnedFd::from).map_err(|source| Error::Open { path, source })
}
