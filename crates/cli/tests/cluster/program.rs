//! The program under test, run as root or as an ordinary user, with a runtime folder of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testnet::harness::{Outcome, Trial};

/// An ordinary user's id that needs no account.
const ORDINARY: &str = "23456";

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    Ordinary,
}

impl Who {
    /// Why this user cannot be had here.
    fn missing(self) -> Option<&'static str> {
        let root = geteuid().is_root();
        match self {
            Self::Root if !root => Some("not root"),
            Self::Ordinary if root && Command::new("setpriv").arg("--version").output().is_err() => {
                Some("there is no setpriv to become an ordinary user with")
            }
            _ => None,
        }
    }
}

/// A trial for each of the two users.
pub(crate) fn as_both(name: &str, run: fn(&Place)) -> Vec<Trial> {
    [(Who::Root, "root"), (Who::Ordinary, "user")]
        .map(|(who, suffix)| trial(format!("{name}_as_{suffix}"), who, run))
        .into()
}

/// A trial as one user. A panic is a failure; what the trial made is removed.
pub(crate) fn trial(name: String, who: Who, run: fn(&Place)) -> Trial {
    Trial::new(name, move || {
        if let Some(reason) = who.missing() {
            return Outcome::Skipped(reason.to_owned());
        }
        run(&Place::new(who));
        Outcome::Passed
    })
}

/// A folder with a copy of the program that the user may run, and everything that the trial writes.
pub(crate) struct Place {
    pub(crate) who: Who,
    pub(crate) folder: PathBuf,
}

impl Place {
    fn new(who: Who) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sluice-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("making the trial's folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("opening the trial's folder");
        fs::create_dir(folder.join("bin")).expect("making the program's folder");
        let program = folder.join("bin/sluice");
        if fs::hard_link(env!("CARGO_BIN_EXE_sluice"), &program).is_err() || who == Who::Ordinary {
            let _ = fs::remove_file(&program);
            fs::copy(env!("CARGO_BIN_EXE_sluice"), &program).expect("copying the program");
        }
        Self { who, folder }
    }

    /// The copy of the program.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join("bin/sluice")
    }

    /// The program with these arguments.
    pub(crate) fn sluice(&self, args: &[&str]) -> Command {
        self.command(&self.program(), args)
    }

    /// Any program as this trial's user.
    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = if self.who == Who::Ordinary && geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups", "--inh-caps=-all"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(args)
            .env("HOME", &self.folder)
            .env_remove("KUBECONFIG")
            .env("XDG_RUNTIME_DIR", &self.folder);
        command.current_dir(&self.folder);
        command
    }

    /// Processes that still run this trial's copy of the program.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let program = self.program();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)).collect()
    }

    /// Fails when a process is left after a grace of two seconds.
    pub(crate) fn nothing_is_left(&self) {
        let began = Instant::now();
        while !self.processes().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(2), "processes are left: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
        let groups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let names: Vec<_> = groups.map(|entry| entry.file_name()).collect();
        assert!(!names.is_empty() || geteuid().is_root(), "no control groups to look at");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A cluster started with `sluice up`, stopped when dropped.
pub(crate) struct Cluster<'a> {
    pub(crate) place: &'a Place,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) child: Child,
}

impl<'a> Cluster<'a> {
    /// Starts one and waits until its nodes are ready.
    pub(crate) fn start(place: &'a Place, name: &str, args: &[&str]) -> Self {
        let kubeconfig = place.folder.join(format!("{name}.kubeconfig"));
        let file = kubeconfig.to_str().expect("a plain path");
        let mut all = vec!["up", "--api-port", "0", "--kubeconfig", file];
        all.extend(args);
        let mut child = place
            .sluice(&all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting sluice up");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut seen = String::new();
        for line in lines.map_while(Result::ok) {
            seen.push_str(&line);
            seen.push('\n');
            if line.contains("nodes ready") {
                return Self { place, kubeconfig, child };
            }
        }
        let output = child.wait_with_output().expect("waiting for sluice up");
        panic!("the cluster did not start:\n{seen}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A verb of our own, as [`Shown`].
    pub(crate) fn sluice(&self, args: &[&str]) -> Shown {
        let mut command = self.place.sluice(args);
        shown(command.env("KUBECONFIG", &self.kubeconfig).output())
    }

    /// Sends a signal to the main process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("signalling the cluster");
    }

    /// Waits for its end; the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().expect("waiting for the cluster").code()
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Shown {
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Reads a finished command.
pub(crate) fn shown(output: std::io::Result<Output>) -> Shown {
    let output = output.expect("running the command");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Shown { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
}

/// Calls `done` until it is true, for at most `seconds`.
#[track_caller]
pub(crate) fn eventually(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
