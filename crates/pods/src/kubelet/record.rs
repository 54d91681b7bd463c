//! What is known of each container of a pod: written by its actor and its probes, read by the status and the server.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::cgroup::Group;
use crate::logs::LogFile;
use crate::runner::launch::{Exit, Process};
use crate::runner::protocol::Program;

/// A container's state, in the API's three kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: Option<String> },
    Running { since: Timestamp },
    Terminated(Terminated),
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terminated {
    pub(crate) exit_code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
    pub(crate) container_id: Option<String>,
}

impl Terminated {
    /// The end of a process that ran.
    pub(crate) fn after_run(exit: Exit, out_of_memory: bool, since: Timestamp, container_id: String) -> Self {
        let exit_code = exit.code();
        let reason = match exit_code {
            0 => "Completed",
            137 if out_of_memory => "OOMKilled",
            _ => "Error",
        };
        let finished = Timestamp::now();
        let container_id = Some(container_id);
        Self { exit_code, reason, message: None, started: Some(since), finished, container_id }
    }
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Runs before the others.
    pub(crate) is_init: bool,
    /// An init container that goes on running beside the others (`restartPolicy: Always`).
    pub(crate) is_sidecar: bool,
    pub(crate) state: State,
    pub(crate) last: Option<Terminated>,
    pub(crate) restarts: i32,
    /// Its startup probe has succeeded, or it has none and runs.
    pub(crate) started: bool,
    /// Its readiness probe says so, or it has none and is started.
    pub(crate) ready: bool,
    pub(crate) id: Option<String>,
    pub(crate) running: Option<Running>,
    pub(crate) log: Option<Arc<LogFile>>,
    pub(crate) previous_log: Option<Arc<LogFile>>,
}

/// What it takes to start a further process in a container.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) process: Arc<Process>,
    pub(crate) program: Program,
    pub(crate) cgroups: Arc<Group>,
}

impl Running {
    /// A handle of its own on the container's init.
    pub(crate) fn handle(&self) -> std::io::Result<OwnedFd> {
        self.process.handle().as_fd().try_clone_to_owned()
    }
}

impl Record {
    /// A container that has not been touched yet.
    pub(crate) fn new(name: String, image: String, is_init: bool, is_sidecar: bool) -> Self {
        Self {
            name,
            image,
            is_init,
            is_sidecar,
            state: State::Waiting { reason: "ContainerCreating", message: None },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
            id: None,
            running: None,
            log: None,
            previous_log: None,
        }
    }

    /// The container was stopped or ended: nothing can be started in it any more.
    pub(crate) fn terminate(&mut self, terminated: Terminated) {
        self.state = State::Terminated(terminated);
        self.running = None;
        self.started = false;
        self.ready = false;
    }
}

/// All containers of a pod, init containers first, and the bell that rings at each change.
#[derive(Debug)]
pub(crate) struct Records {
    records: Mutex<Vec<Record>>,
    changed: Notify,
}

impl Records {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self { records: Mutex::new(records), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one record and rings.
    pub(crate) fn update<T>(&self, index: usize, change: impl FnOnce(&mut Record) -> T) -> T {
        let result = change(&mut self.lock()[index]);
        self.changed.notify_one();
        result
    }

    /// Looks at one record.
    pub(crate) fn read<T>(&self, index: usize, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock()[index])
    }

    /// A copy of all.
    pub(crate) fn snapshot(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// The record of a container by name.
    pub(crate) fn find(&self, name: &str) -> Option<Record> {
        self.lock().iter().find(|record| record.name == name).cloned()
    }

    /// Waits for the next change; one that came since the last wait counts.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
