//! The node process's side of the helper: start it from one lasting thread, hear its report, watch what it made.
//!
//! The kernel sends the parent-death signal when the parent *thread* ends. So all helpers are spawned by one
//! thread that ends only with the process, and a killed node takes its containers along. Needs a tokio runtime
//! with I/O; the queue to the thread holds at most 64 starts.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::sync::oneshot;

use super::NAME;
use super::protocol::{Report, Request};

/// Starts that may wait for the launching thread before senders block.
const QUEUE: usize = 64;

/// A start that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The helper could not be started or its report not be read.
    #[error("cannot run the container helper")]
    Helper(#[source] io::Error),
    /// A step inside of the helper failed; the text is for the pod's status.
    #[error("{step}: {reason}")]
    Step {
        /// What was being done, to what.
        step: String,
        /// The kernel's errno, 0 where it was not the kernel.
        errno: i32,
        /// The reason in words.
        reason: String,
    },
    /// The helper ended without a word.
    #[error("the container helper ended without a report")]
    Silent,
}

/// Standard input, output and error of a started program.
#[derive(Debug)]
pub struct Stdio3 {
    /// Standard input; `/dev/null` where absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

struct Job {
    request: Vec<u8>,
    keep_open: Vec<OwnedFd>,
    stdio: Stdio3,
    reply: oneshot::Sender<io::Result<(Child, UnixStream)>>,
}

/// The thread that starts helpers. Clones share it.
#[derive(Clone, Debug)]
pub struct Launcher {
    jobs: SyncSender<Job>,
}

impl Launcher {
    /// Starts the thread; it ends with the last clone of the handle, and everything that it started dies then.
    ///
    /// # Errors
    /// No thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        thread::Builder::new().name("launcher".to_owned()).spawn(move || {
            for job in queue {
                // A receiver that is gone gave up waiting; its helper then finds the socket closed and ends.
                job.reply.send(spawn(&job.request, &job.keep_open, job.stdio)).ok();
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts a container; returns its init once the program is executing (and listening, if it announces that).
    ///
    /// `keep_open` are the descriptors whose numbers stand in the request.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn start_container(
        &self,
        request: &Request,
        keep_open: Vec<OwnedFd>,
        stdio: Stdio3,
    ) -> Result<Process, Error> {
        let (helper, control) = self.launch(request, keep_open, stdio).await?;
        let reports = read_reports(control).await;
        helper.wait().await.map_err(Error::Helper)?;
        let (init, failure) = reports?;
        match (init, failure) {
            (Some(init), None) => Ok(init),
            (Some(init), Some(failure)) => {
                init.wait().await.map_err(Error::Helper)?;
                Err(failure)
            }
            (None, failure) => Err(failure.unwrap_or(Error::Silent)),
        }
    }

    /// Runs a process in a container; returns the helper, which ends with the process's exit code.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn exec(
        &self,
        request: &Request,
        keep_open: Vec<OwnedFd>,
        stdio: Stdio3,
    ) -> Result<Process, Error> {
        let (helper, control) = self.launch(request, keep_open, stdio).await?;
        match read_reports(control).await? {
            (_, None) => Ok(helper),
            (_, Some(failure)) => {
                helper.wait().await.map_err(Error::Helper)?;
                Err(failure)
            }
        }
    }

    async fn launch(
        &self,
        request: &Request,
        keep_open: Vec<OwnedFd>,
        stdio: Stdio3,
    ) -> Result<(Process, UnixStream), Error> {
        let request = serde_json::to_vec(request).map_err(|error| Error::Helper(error.into()))?;
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Helper(io::Error::other("the launching thread is gone"));
        self.jobs.send(Job { request, keep_open, stdio, reply }).map_err(|_| gone())?;
        let (child, control) = answer.await.map_err(|_| gone())?.map_err(Error::Helper)?;
        Ok((Process::watch(child).map_err(Error::Helper)?, control))
    }
}

fn spawn(request: &[u8], keep_open: &[OwnedFd], stdio: Stdio3) -> io::Result<(Child, UnixStream)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut inherited: Vec<RawFd> = keep_open.iter().map(AsRawFd::as_raw_fd).collect();
    inherited.push(theirs.as_raw_fd());
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(NAME)
        .arg(theirs.as_raw_fd().to_string())
        // The helper's environment is that of the container's init, which the container can read.
        .env_clear()
        .process_group(0)
        .stdin(stdio.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(stdio.stdout)
        .stderr(stdio.stderr);
    leave_open(&mut command, inherited);
    let child = command.spawn()?;
    drop(theirs);
    let child = Child::open(child.id())?;
    ours.write_all(request)?;
    ours.shutdown(Shutdown::Write)?;
    ours.set_nonblocking(true)?;
    Ok((child, ours))
}

/// Descriptors keep their number, so that none can collide with one that the standard library opens meanwhile.
#[allow(unsafe_code, reason = "pre_exec runs between fork and exec")]
fn leave_open(command: &mut Command, descriptors: Vec<RawFd>) {
    // SAFETY: fcntl is async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            for &descriptor in &descriptors {
                if libc::fcntl(descriptor, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

async fn read_reports(control: UnixStream) -> Result<(Option<Process>, Option<Error>), Error> {
    let control = tokio::net::UnixStream::from_std(control).map_err(Error::Helper)?;
    let mut lines = BufReader::new(control).lines();
    let (mut init, mut failure) = (None, None);
    while let Some(line) = lines.next_line().await.map_err(Error::Helper)? {
        match serde_json::from_str(&line).map_err(|error| Error::Helper(error.into()))? {
            Report::Started { pid } => {
                init = Some(Child::open(pid.unsigned_abs()).and_then(Process::watch).map_err(Error::Helper)?);
            }
            Report::Failed { step, errno, reason } => failure = Some(Error::Step { step, errno, reason }),
        }
    }
    Ok((init, failure))
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code a shell would show: 128 + signal for a signal.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// A child that no runtime watches yet: the launching thread belongs to none.
struct Child {
    pid: u32,
    handle: OwnedFd,
}

impl Child {
    /// `pid` must be a child of this process that has not been waited for.
    #[allow(unsafe_code, reason = "pidfd_open has no safe form")]
    fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: no memory is passed; the new descriptor is owned by nobody else. pidfds are close-on-exec.
        let handle = unsafe {
            OwnedFd::from_raw_fd(Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as RawFd)
        };
        Ok(Self { pid, handle })
    }
}

/// A child process of this one, held by a pidfd: its number cannot come to mean another process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    handle: AsyncFd<OwnedFd>,
}

impl Process {
    #[allow(unsafe_code, reason = "tokio wants the promise that the descriptor stays the same")]
    fn watch(child: Child) -> io::Result<Self> {
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for its whole life.
        let handle = unsafe { AsyncFd::register_with_interest(child.handle, Interest::READABLE) }?;
        Ok(Self { pid: child.pid, handle })
    }

    /// Its process id in this namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pidfd, by which others enter its namespaces.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.get_ref().as_fd()
    }

    /// Waits until the process has ended, and reaps it. To be called until it returned once.
    ///
    /// # Errors
    /// The process is not a child of this one, or has been reaped.
    pub async fn wait(&self) -> io::Result<Exit> {
        loop {
            let mut ready = self.handle.readable().await?;
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
            match waitid(Id::PIDFd(self.handle()), flags)? {
                WaitStatus::Exited(_, code) => return Ok(Exit::Code(code)),
                WaitStatus::Signaled(_, signal, _) => return Ok(Exit::Signal(signal as i32)),
                _ => ready.clear_ready(),
            }
        }
    }

    /// Sends a signal; a process that has ended already is no error.
    ///
    /// # Errors
    /// The kernel's refusal.
    #[allow(unsafe_code, reason = "pidfd_send_signal has no safe form")]
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let descriptor = self.handle.get_ref().as_raw_fd();
        // SAFETY: the null pointer stands for default signal information.
        let result = unsafe {
            let none = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal as i32, none, 0)
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
