//! Starting a container, and the init (PID 1) that stays in it: forwards signals, reaps, ends with its program.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname, setsid};

use super::process::{self, Side};
use super::protocol::{Container, Report};
use super::step::{self, Failure};
use super::{adopt, privileges, report, rootfs, seccomp};

/// The helper's part: namespaces, then a child that becomes init, as a sibling of this process.
pub(super) fn start(container: Container, control: &mut UnixStream) -> Result<ExitCode, Failure> {
    join_cgroups(&container.cgroups)?;
    let network = adopt(container.network);
    step::errno("join the pod's network namespace", setns(&network, CloneFlags::CLONE_NEWNET))?;
    drop(network);
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    step::errno("create mount, UTS, IPC, PID and cgroup namespaces", unshare(namespaces))?;
    match step::errno("fork init", process::fork(true))? {
        Side::Parent(pid) => {
            report(control, &Report::Started { pid: pid.as_raw() });
            Ok(ExitCode::SUCCESS)
        }
        Side::Child => match init(&container, control) {
            Ok(code) => process::exit_now(code),
            Err(failure) => {
                report(control, &failure.into_report());
                process::exit_now(EXIT_NOT_STARTED)
            }
        },
    }
}

/// Docker's and the kubelet's exit code of a container that could not be started.
const EXIT_NOT_STARTED: i32 = 128;

/// Puts this process, and thereby all that it will fork, into the container's cgroups.
pub(super) fn join_cgroups(files: &[std::path::PathBuf]) -> Result<(), Failure> {
    for file in files {
        step::io(format!("join cgroup {}", file.display()), std::fs::write(file, "0"))?;
    }
    Ok(())
}

fn init(container: &Container, control: &UnixStream) -> Result<i32, Failure> {
    step::errno("tie init to the node process", prctl::set_pdeathsig(Signal::SIGKILL))?;
    if parent_is_gone(control) {
        process::exit_now(EXIT_NOT_STARTED);
    }
    step::errno("start a session", setsid())?;
    step::errno(format!("set hostname {:?}", container.hostname), sethostname(&container.hostname))?;
    rootfs::enter(container)?;
    // Blocked, not ignored: signals wait for the loop, those that came before the fork included.
    step::errno("block signals", SigSet::all().thread_block())?;
    let program = match step::errno("fork the program", process::fork(false))? {
        Side::Parent(pid) => pid,
        Side::Child => become_program(container, control),
    };
    step::errno("drop init's own privileges", privileges::drop_to_container_default())?;
    close_control(control)?;
    Ok(wait_for(program))
}

/// The death signal was set after the fork, so a parent that died in between did not trigger it. Seen from a new
/// PID namespace the parent is always 0; the socket tells.
fn parent_is_gone(control: &UnixStream) -> bool {
    let mut fds = [PollFd::new(control.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

/// The socket's end is the sign of success, so init must not keep it open. The clone in `control` stays valid as
/// an object: it is replaced by the null device.
pub(super) fn close_control(control: &UnixStream) -> Result<(), Failure> {
    let null = step::io("open /dev/null", std::fs::File::open("/dev/null"))?;
    replace(control, &OwnedFd::from(null))
}

#[allow(unsafe_code, reason = "dup2 onto a borrowed descriptor")]
fn replace(target: &UnixStream, with: &OwnedFd) -> Result<(), Failure> {
    use std::os::fd::AsRawFd;
    // SAFETY: both descriptors are open and owned here; dup2 replaces the target atomically.
    let result = unsafe { libc::dup3(with.as_raw_fd(), target.as_raw_fd(), libc::O_CLOEXEC) };
    step::errno("close the control socket", nix::errno::Errno::result(result).map(drop))
}

/// The container's program, after the fork: last restrictions, then exec.
fn become_program(container: &Container, control: &UnixStream) -> ! {
    let failure = match restrict(container) {
        Ok(()) => {
            let ready = container.announces_ready.then(|| control.as_fd());
            process::exec(&container.program, ready)
        }
        Err(failure) => failure,
    };
    if let Ok(mut control) = control.try_clone() {
        report(&mut control, &failure.into_report());
    }
    process::exit_now(EXIT_NOT_STARTED)
}

fn restrict(container: &Container) -> Result<(), Failure> {
    step::errno("start the program's session", setsid())?;
    if let Some(bytes) = container.limits.data {
        step::errno("limit memory (RLIMIT_DATA)", setrlimit(Resource::RLIMIT_DATA, bytes, bytes))?;
    }
    restrict_privileges()
}

/// What the container's program and every process started in it later share.
pub(super) fn restrict_privileges() -> Result<(), Failure> {
    step::errno("drop capabilities", privileges::drop_to_container_default())?;
    step::errno("set no_new_privs", prctl::set_no_new_privs())?;
    step::errno("install the system call filter", seccomp::install())
}

/// Forwards what arrives and reaps whatever ends, until the program does; its exit code is init's. The kernel
/// then kills the rest of the PID namespace.
fn wait_for(program: Pid) -> i32 {
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(program) {
                    return code;
                }
            }
            Ok(signal) => {
                kill(program, signal).ok();
            }
            Err(_) => {}
        }
    }
}

/// Reaps all that have ended; `Some` with the exit code once the program is among them.
fn reap(program: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == program => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}
