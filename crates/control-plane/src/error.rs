//! What can go wrong before requests are answered: opening the data directory, the store and the certificates. Refusals
//! of single requests are [`objects::status::Status`].

use std::path::PathBuf;

/// A control plane that cannot start, or a store that cannot write.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory or a file in it cannot be made, read or written.
    #[error("cannot read or write {}: check its owner, its permissions and the free space", path.display())]
    DataDir {
        /// The directory or file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the data directory.
    #[error("the data directory {} is in use by another sluice: stop that one or choose another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("the directory {} holds files that are not a cluster's data: choose an empty or a new directory", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A file of ours cannot be understood.
    #[error("{} is damaged ({what}): restore it from a copy, or remove the data directory to start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The store refused to commit; nothing was changed.
    #[error("cannot write to the store, nothing was changed: {what}")]
    Commit {
        /// The store's words.
        what: String,
    },
    /// A certificate or key cannot be made.
    #[error("cannot make the certificate for {name}")]
    Certificate {
        /// Its common name.
        name: String,
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for the API")]
    Tls(#[source] rustls::Error),
    /// The listener cannot be used.
    #[error("cannot listen for API requests")]
    Listen(#[source] std::io::Error),
}
