//! Worker nodes of the embedded cluster: network namespaces, containers, and the part of a kubelet.
//!
//! A node is a process in a network namespace of its own. [`network`] builds the wire between nodes, the node's
//! addresses and each pod's veth pair; [`userns`] makes all that possible for an ordinary user. The crate speaks
//! to the API as any client would and never touches the host's own interfaces, routes or tables.

pub mod cgroup;
pub mod config;
mod exec;
pub mod images;
pub mod kubelet;
mod logs;
pub mod namespace;
pub mod network;
pub mod runner;
mod server;
pub mod userns;

use std::process::ExitCode;

pub use config::NodeConfig;
pub use kubelet::{Error, run};
pub use server::{CLIENT_NAME, Error as ServerError};

/// The other programs that this one is: the container helper, the kernel probe, the built-in images and tools.
/// To be called first of all in `main`, before any thread exists; `Some` is the exit code of what ran.
pub fn dispatch() -> Option<ExitCode> {
    if runner::is_helper() {
        return Some(runner::main());
    }
    if std::env::args().nth(1).as_deref() == Some(userns::CHILD) {
        return Some(userns::run_child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS));
    }
    images::dispatch()
}
