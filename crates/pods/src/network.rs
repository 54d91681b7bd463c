//! Interfaces, addresses and routes of the embedded cluster, as synchronous primitives.
//!
//! Each function acts on the network namespace in which the *calling thread* stands: [`wire`] in the namespace
//! that joins the nodes, [`node`] in a node's, [`pod`] in a node's too (it makes the pod's namespace itself).
//! Everything goes over rtnetlink and `/proc/sys/net`; no external program, no async. Nothing here decides
//! addresses, and nothing touches a namespace that the caller has not entered. Never call these on a thread of
//! an async runtime: [`crate::namespace`] has the threads.

pub mod node;
pub mod pod;
pub mod wire;

mod link;
mod netlink;
mod route;
mod sysctl;

use std::io;

pub(crate) use netlink::Rtnetlink;

/// A step of the network set-up that the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No rtnetlink socket, or a broken conversation on it.
    #[error("rtnetlink failed while {operation}")]
    Netlink {
        /// What was being done, with its object.
        operation: String,
        /// The socket's error.
        #[source]
        source: io::Error,
    },
    /// The kernel answered a request with an error.
    #[error("kernel refused {operation}")]
    Refused {
        /// What was being done, with its object.
        operation: String,
        /// The kernel's errno.
        #[source]
        source: io::Error,
    },
    /// A kernel parameter of this network namespace could not be set.
    #[error("cannot set {path} to {value} in this network namespace (is /proc/sys mounted read-only?)")]
    Sysctl {
        /// The file below `/proc/sys`.
        path: String,
        /// The value that was to be written.
        value: &'static str,
        /// The write's error.
        #[source]
        source: io::Error,
    },
    /// A namespace could not be made or entered.
    #[error("cannot set up the network namespace of {owner}")]
    Namespace {
        /// Whose namespace.
        owner: String,
        /// Why.
        #[source]
        source: crate::namespace::Error,
    },
}

impl Error {
    /// The errno of the kernel's answer, if it gave one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Error::Netlink { source, .. } | Error::Refused { source, .. } | Error::Sysctl { source, .. } => {
                source.raw_os_error()
            }
            Error::Namespace { .. } => None,
        }
    }
}
