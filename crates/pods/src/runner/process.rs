//! Forking and executing in a process that has a single thread.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::Pid;

use super::protocol::{Program, READY_VARIABLE};
use super::step::{self, Failure};

/// Which side of a fork this is.
pub(super) enum Side {
    Child,
    Parent(Pid),
}

/// `fork(2)`; with `sibling` the child becomes a child of this process's own parent (CLONE_PARENT).
#[allow(unsafe_code, reason = "fork has no safe form, and CLONE_PARENT no library function")]
pub(super) fn fork(sibling: bool) -> nix::Result<Side> {
    let flags = libc::SIGCHLD | if sibling { libc::CLONE_PARENT } else { 0 };
    // SAFETY: without CLONE_VM this is a plain fork, and the helper has one thread, so no lock can be held by
    // another in the child. The null stack means: keep a copy of this one.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(pid)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(pid as i32))),
    }
}

/// Ends the process at once, without handlers and buffers that belong to the process it was forked from.
#[allow(unsafe_code, reason = "no safe form in std")]
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Replaces this process by the program. Returns only on failure.
///
/// `ready` is left open for a built-in program that announces when it is listening.
pub(super) fn exec(program: &Program, ready: Option<BorrowedFd<'_>>) -> Failure {
    match prepare_and_exec(program, ready) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn prepare_and_exec(
    program: &Program,
    ready: Option<BorrowedFd<'_>>,
) -> Result<std::convert::Infallible, Failure> {
    let directory = program.working_dir.as_deref().unwrap_or("/");
    step::errno(format!("change to working directory {directory:?}"), nix::unistd::chdir(directory))?;
    let mut env: Vec<String> = program.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let Some(ready) = ready {
        step::errno("keep the control socket", fcntl(ready, FcntlArg::F_SETFD(FdFlag::empty())))?;
        env.push(format!("{READY_VARIABLE}={}", ready.as_raw_fd()));
    }
    let name = program.args.first().map_or("", String::as_str);
    let args = c_strings(&program.args)?;
    let env = c_strings(&env)?;
    reset_signals()?;
    let step = format!("exec {name:?}");
    let mut found = Errno::ENOENT;
    for path in candidates(name, &program.env) {
        let path = CString::new(path).map_err(|error| Failure::new(&step, error.into()))?;
        match nix::unistd::execve(&path, &args, &env) {
            Ok(never) => match never {},
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => found = errno,
        }
    }
    if found == Errno::ENOENT && !name.contains('/') {
        let missing = io::Error::new(io::ErrorKind::NotFound, "executable file not found in $PATH");
        return Err(Failure::new(step, missing));
    }
    Err(Failure::new(step, found.into()))
}

/// The files to try for a command, as execvp(3) does it, but with the container's `PATH`.
fn candidates(name: &str, env: &[(String, String)]) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().rev().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value);
    path.split(':').filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/{name}")).collect()
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, Failure> {
    texts
        .iter()
        .map(|text| CString::new(text.as_str()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new("pass arguments and environment", error.into()))
}

/// A blocked or ignored signal would survive exec. Rust ignores SIGPIPE at start; programs expect its default.
#[allow(unsafe_code, reason = "signal() is unsafe for handlers; this only restores the default")]
fn reset_signals() -> Result<(), Failure> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: SIG_DFL installs no handler.
    step::errno("reset SIGPIPE", unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) })?;
    step::errno("unblock signals", sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None))
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn commands_are_found_as_execvp_finds_them() {
        let env =
            |path: &str| vec![("PATH".to_owned(), "/old".to_owned()), ("PATH".to_owned(), path.to_owned())];
        let cases: [(&str, &str, &[&str]); 5] = [
            ("sh", "/usr/bin:/bin", &["/usr/bin/sh", "/bin/sh"]),
            ("sh", "/bin::/x", &["/bin/sh", "/x/sh"]),
            ("/bin/sh", "/usr/bin", &["/bin/sh"]),
            ("./a", "/usr/bin", &["./a"]),
            ("", "/usr/bin", &[]),
        ];
        for (name, path, expected) in cases {
            assert_eq!(candidates(name, &env(path)), expected, "{name} in {path}");
        }
    }
}
