//! A node's process: started in a network namespace of its own, watched, and started again when it dies.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, setpgid};
use pods::NodeConfig;
use tokio::sync::oneshot;

use super::job_thread::JobThread;
use super::wire::Wire;

/// How long a node may take to stop its pods before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A running node process.
pub(crate) struct NodeProcess {
    pub(crate) pid: u32,
    exit: oneshot::Receiver<std::io::Result<ExitStatus>>,
}

impl NodeProcess {
    /// Starts the process on `spawner`, joins it to the wire and hands it its configuration.
    pub(crate) async fn start(
        spawner: &JobThread,
        wire: &Wire,
        config: &NodeConfig,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context("opening the node's log")?;
        let spawned = spawner.call(move || spawn(log)).await?;
        let mut child = spawned.with_context(|| format!("starting the process of node {}", config.name))?;
        let pid = child.id();
        let handed = hand_over(&mut child, wire, config);
        let (sender, exit) = oneshot::channel();
        let reap = move || {
            // Nobody waits any more when the cluster has stopped.
            let _ = sender.send(child.wait());
        };
        std::thread::Builder::new()
            .name(format!("wait-{}", config.name))
            .stack_size(64 * 1024)
            .spawn(reap)?;
        let process = Self { pid, exit };
        if let Err(error) = handed {
            process.kill(Signal::SIGKILL);
            return Err(error);
        }
        Ok(process)
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> Option<ExitStatus> {
        (&mut self.exit).await.ok()?.ok()
    }

    /// Asks it to stop its pods and end; kills it when it does not.
    pub(crate) async fn stop(mut self) {
        self.kill(Signal::SIGTERM);
        if tokio::time::timeout(STOP_PATIENCE, self.wait()).await.is_err() {
            self.kill(Signal::SIGKILL);
            self.wait().await;
        }
    }

    fn kill(&self, signal: Signal) {
        // It may have ended meanwhile; the waiting thread has not reaped it before `exit` is sent.
        let _ = kill(pid_of(self.pid), signal);
    }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

fn hand_over(child: &mut Child, wire: &Wire, config: &NodeConfig) -> anyhow::Result<()> {
    wire.attach(config, child.id())?;
    let mut input = child.stdin.take().context("the node's standard input is not a pipe")?;
    input.write_all(&serde_json::to_vec(config)?).context("handing the node its configuration")
}

/// Runs on the spawner's thread.
fn spawn(log: std::fs::File) -> std::io::Result<Child> {
    let parent = Pid::this();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sluice").args(["node", "run"]).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    #[allow(unsafe_code, reason = "code between fork and exec must be marked")]
    // SAFETY: only system calls that are async-signal-safe, no allocation, no lock.
    unsafe {
        command.pre_exec(move || prepare(parent));
    }
    command.spawn()
}

/// Between fork and exec: a process group of its own, so that Ctrl-C reaches only the parent; death with the parent;
/// a network namespace of its own.
fn prepare(parent: Pid) -> std::io::Result<()> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        // The parent died before the signal was set.
        return Err(std::io::Error::from(nix::errno::Errno::ESRCH));
    }
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok(())
}
