//! What the node process tells the helper, and what it hears back: JSON over a socket pair.

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One request; the sender closes its half of the socket after it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start a container.
    Start(Box<Container>),
    /// Run a process in a container.
    Exec(Exec),
}

impl Request {
    /// The open descriptor that it names.
    pub fn descriptor(&self) -> RawFd {
        match self {
            Self::Start(container) => container.network,
            Self::Exec(exec) => exec.container,
        }
    }
}

/// One line of the answer. The end of the stream without [`Report::Failed`] means success.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The container's init exists, as a child of the process that started the helper.
    Started {
        /// Its process id, as the starter sees it.
        pid: i32,
    },
    /// A step failed.
    Failed {
        /// What was being done, to what.
        step: String,
        /// The kernel's errno, 0 where it was not the kernel.
        errno: i32,
        /// The reason in words.
        reason: String,
    },
}

/// A program to run: used for the container's own and for later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The command with its arguments; found in the `PATH` of `env` unless it has a slash.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where to start; `/` by default.
    pub working_dir: Option<String>,
}

/// A container.
#[derive(Debug, Serialize, Deserialize)]
pub struct Container {
    /// Open descriptor of the pod's network namespace.
    pub network: RawFd,
    /// The pod's host name.
    pub hostname: String,
    /// An empty folder on which the root is put together; shared by all, nothing is written to it.
    pub staging: PathBuf,
    /// Files of the container's own `/etc`, by name.
    pub etc: Vec<(String, String)>,
    /// Further mounts, in order.
    pub volumes: Vec<Volume>,
    /// What to run.
    pub program: Program,
    /// The program is one of ours and tells when it is listening (see [`READY_VARIABLE`]).
    pub announces_ready: bool,
    /// Resource limits for systems without a writable cgroup.
    pub limits: Limits,
    /// `cgroup.procs` or `tasks` files into which the helper puts itself first.
    pub cgroups: Vec<PathBuf>,
}

/// A folder or file of the node put into the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// On the node.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: String,
    /// Whether the container may write.
    pub read_only: bool,
}

/// Limits by `setrlimit(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Data segment of each process, bytes (RLIMIT_DATA).
    pub data: Option<u64>,
}

/// A process in a running container.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exec {
    /// Open pidfd of the container's init.
    pub container: RawFd,
    /// What to run.
    pub program: Program,
    /// Standard input is a terminal, to become the controlling one.
    pub tty: bool,
    /// `cgroup.procs` or `tasks` files of the container.
    pub cgroups: Vec<PathBuf>,
}

/// Names the descriptor that a built-in program closes when it listens; the start counts as done only then.
pub const READY_VARIABLE: &str = "SLUICE_READY_FD";
