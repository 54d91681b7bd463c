//! The single-threaded helper that starts containers, and processes inside of them.
//!
//! The program re-executes itself as this helper ([`main`], dispatched before anything else), because a process
//! with threads cannot safely fork into namespaces. A [`protocol::Request`] arrives on a socket; what happened
//! goes back on it, each failure with its step and errno. For a container: join the pod's network namespace, new
//! mount, PID, UTS, IPC and cgroup namespaces, a root of few read-only folders (`rootfs`), fewer privileges
//! (`privileges`), then an init that forwards signals and reaps (`init`). The helper itself is gone after
//! about two milliseconds. It decides nothing: what to run, and with which limits, is in the request.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::sys::prctl;
use nix::sys::signal::Signal;

pub mod launch;
pub mod protocol;

mod exec;
mod init;
mod privileges;
mod process;
mod rootfs;
mod seccomp;
mod step;

pub(crate) use rootfs::PROGRAMS;

use protocol::{Report, Request};
use step::Failure;

/// `argv[0]` of the helper.
pub const NAME: &str = "sluice-runner";

/// Whether this process was started as the helper: to be asked first of all in `main`.
pub fn is_helper() -> bool {
    std::env::args_os().next().as_deref() == Some(OsStr::new(NAME))
}

/// The helper's whole life. Never call it in a process that has threads.
pub fn main() -> ExitCode {
    let Some(mut control) = control_socket() else {
        return ExitCode::from(2);
    };
    match run(&mut control) {
        Ok(code) => code,
        Err(failure) => {
            report(&mut control, &failure.into_report());
            ExitCode::FAILURE
        }
    }
}

fn run(control: &mut UnixStream) -> Result<ExitCode, Failure> {
    step::errno("tie the helper to its parent", prctl::set_pdeathsig(Signal::SIGKILL))?;
    let mut text = Vec::new();
    step::io("read the request", control.read_to_end(&mut text))?;
    let request: Request =
        serde_json::from_slice(&text).map_err(|error| Failure::new("decode the request", error.into()))?;
    close_others(&[control.as_raw_fd(), request.descriptor()])?;
    match request {
        Request::Start(container) => init::start(*container, control),
        Request::Exec(exec) => exec::run(&exec, control),
    }
}

/// The socket's number is the only argument.
fn control_socket() -> Option<UnixStream> {
    let number: RawFd = std::env::args().nth(1)?.parse().ok()?;
    let socket = adopt(number);
    nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).ok()?;
    Some(UnixStream::from(socket))
}

/// Closes what else was inherited: a container's init must hold no descriptor of the world outside.
#[allow(unsafe_code, reason = "close_range has no safe form")]
fn close_others(kept: &[RawFd]) -> Result<(), Failure> {
    let mut kept: Vec<u32> = kept.iter().map(|number| number.unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().map(Some).chain([None]) {
        let last = end.map_or(u32::MAX, |end| end.saturating_sub(1));
        if first <= last {
            // SAFETY: nothing in this process owns a descriptor in the range: it has made none but the kept.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            step::errno("close inherited descriptors", nix::errno::Errno::result(result))?;
        }
        first = end.map_or(first, |end| first.max(end + 1));
    }
    Ok(())
}

/// A file descriptor that the parent left open for this process on purpose.
#[allow(unsafe_code, reason = "file descriptors arrive by number")]
fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the launcher passes each number once, of a descriptor that it kept open over exec for us.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Best effort: with the socket gone there is nobody left to tell.
fn report(control: &mut UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        control.write_all(&line).ok();
    }
}
