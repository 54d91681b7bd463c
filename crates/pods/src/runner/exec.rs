//! A process in a running container: the helper joins its namespaces, forks, waits, and ends with its code.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::process::{self, Side};
use super::protocol::Exec;
use super::step::{self, Failure};
use super::{adopt, init, report};

/// Runs the program and returns its exit code (128 + signal when one ended it). A program that could not be
/// started is reported, and gives 126 or 127 as a shell would.
pub(super) fn run(exec: &Exec, control: &mut UnixStream) -> Result<ExitCode, Failure> {
    init::join_cgroups(&exec.cgroups)?;
    let container = adopt(exec.container);
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    step::errno("join the container's namespaces", setns(&container, namespaces))?;
    drop(container);
    match step::errno("fork the program", process::fork(false))? {
        Side::Parent(pid) => {
            init::close_control(control)?;
            Ok(ExitCode::from(wait(pid)))
        }
        Side::Child => {
            let failure = match become_program(exec) {
                Ok(()) => process::exec(&exec.program, None),
                Err(failure) => failure,
            };
            report(control, &failure.into_report());
            process::exit_now(127)
        }
    }
}

fn become_program(exec: &Exec) -> Result<(), Failure> {
    step::errno("tie the program to the helper", prctl::set_pdeathsig(Signal::SIGKILL))?;
    step::errno("start a session", setsid())?;
    if exec.tty {
        step::io("make the terminal the controlling one", take_terminal())?;
    }
    init::restrict_privileges()
}

#[allow(unsafe_code, reason = "an ioctl without a safe form")]
fn take_terminal() -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer, no memory.
    Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    Ok(())
}

fn wait(pid: Pid) -> u8 {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, status)) => return status as u8,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as u8,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 255,
        }
    }
}
