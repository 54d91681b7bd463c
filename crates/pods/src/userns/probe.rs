//! Probing by doing: each kernel facility of the embedded cluster is used once, in a forked child.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::enter;
use crate::kubelet::chain;
use crate::network::{Rtnetlink, wire};

/// One facility, and whether it works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was tried: `user namespace`, `network namespace`, `bridge`, `mount of proc`.
    pub name: String,
    /// `Ok` with a remark, or `Err` with the failure and its remedy.
    pub outcome: Result<String, String>,
}

/// The first argument by which the program, re-executed, runs the probe: see [`run_child`].
pub const CHILD: &str = "sluice-probe";

/// Tries what the embedded cluster needs of the kernel. Re-executes the program with [`CHILD`] as its only
/// argument (`main` must then call [`run_child`]), because the steps cannot be undone in this process.
///
/// # Errors
/// The child could not be started or spoke nonsense.
pub fn probe() -> io::Result<Vec<Check>> {
    let mut child = Command::new("/proc/self/exe").arg(CHILD).stdout(Stdio::piped()).spawn()?;
    let mut report = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut report)?;
    }
    child.wait()?;
    report.lines().map(parse).collect::<Option<_>>().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The child's side of [`probe`]: must be called before the process has a second thread. Writes one line for
/// each step to standard output and stops at the first failure.
///
/// # Errors
/// Standard output is closed.
pub fn run_child() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for (name, step) in STEPS {
        let outcome = step();
        let (sign, text) = match &outcome {
            Ok(text) => ('+', text),
            Err(text) => ('-', text),
        };
        writeln!(output, "{sign}\t{name}\t{}", text.replace('\n', " "))?;
        if outcome.is_err() {
            break;
        }
    }
    output.flush()
}

fn parse(line: &str) -> Option<Check> {
    let mut fields = line.splitn(3, '\t');
    let (sign, name, text) = (fields.next()?, fields.next()?, fields.next()?.to_owned());
    let outcome = if sign == "+" { Ok(text) } else { Err(text) };
    Some(Check { name: name.to_owned(), outcome })
}

type Step = fn() -> Result<String, String>;

const STEPS: [(&str, Step); 4] = [
    ("user namespace", user_namespace),
    ("network namespace", network_namespace),
    ("bridge and veth", bridge),
    ("mount of proc", mount_of_proc),
];

fn user_namespace() -> Result<String, String> {
    match enter() {
        Ok(super::Entry::Privileged) => Ok("not needed: this process has the capabilities".to_owned()),
        Ok(super::Entry::UserNamespace) => Ok("entered as an ordinary user".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

fn network_namespace() -> Result<String, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        format!("cannot create a network namespace: {}; {CONTAINER_REMEDY}", io::Error::from(errno))
    })?;
    Rtnetlink::open().map_err(|error| chain(&error))?;
    Ok("created".to_owned())
}

fn bridge() -> Result<String, String> {
    let gateway = ipnet::Ipv4Net::new([172, 18, 0, 1].into(), 24).map_err(|error| error.to_string())?;
    wire::create(gateway).map_err(|error| format!("{}; load the kernel module bridge", chain(&error)))?;
    let here = crate::namespace::own_network().map_err(|error| chain(&error))?;
    let port = wire::Port { name: "probe".to_owned(), node: [172, 18, 0, 2].into(), pods: POD_SUBNET.into() };
    wire::attach(&port, here.as_fd())
        .map_err(|error| format!("{}; load the kernel module veth", chain(&error)))?;
    Ok("created".to_owned())
}

/// A new proc needs a new PID namespace, which only a child enters.
fn mount_of_proc() -> Result<String, String> {
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    unshare(flags | CloneFlags::CLONE_NEWUTS)
        .map_err(|errno| format!("cannot create mount and PID namespaces: {}", io::Error::from(errno)))?;
    match fork_child(|| mount_proc_here().map_or_else(|errno| errno as i32, |()| 0)) {
        Ok(0) => Ok("mounted".to_owned()),
        Ok(errno) => Err(format!(
            "cannot mount a new proc: {}; the /proc of this system is covered in part (as in an unprivileged \
             container): {CONTAINER_REMEDY}",
            io::Error::from_raw_os_error(errno)
        )),
        Err(error) => Err(format!("cannot fork: {error}")),
    }
}

fn mount_proc_here() -> nix::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
}

#[allow(unsafe_code, reason = "fork has no safe form")]
fn fork_child(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the probe's process has one thread, so the child may do all that the parent may.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let status = work();
            // SAFETY: _exit runs no handlers; the child has nothing to flush.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            _ => Ok(libc::EINTR),
        },
    }
}

/// Any subnet: the probe's namespace ends with it.
const POD_SUBNET: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 244, 1, 0), 24);

const CONTAINER_REMEDY: &str = "run it outside of the container, or with --privileged, or as root";
