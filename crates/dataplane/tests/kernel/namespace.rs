//! Network namespaces for tests: the test's own, and more as threads.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use testnet::harness::skip;

/// Tells the test binary that it runs inside.
const INSIDE: &str = "SLUICE_TEST_INSIDE";

/// Runs the body of a test in a new network namespace: the test binary runs itself again for this one test, so that
/// the namespace ends with the process, and is skipped if it was skipped in there. `name` is the test's full path.
pub(crate) fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let enter =
        if nix::unistd::geteuid().is_root() { vec!["--net"] } else { vec!["--map-root-user", "--net"] };
    let possible = Command::new("unshare").args(&enter).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("no network namespace can be made here");
    }
    let output = Command::new("unshare")
        .args(&enter)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (results, figures) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{results}{figures}");
    eprint!("{figures}");
    let skipped = format!("test {name} ... ignored, SKIPPED: ");
    if let Some(reason) = results.lines().find_map(|line| line.strip_prefix(&skipped)) {
        skip(reason);
    }
    assert!(results.contains("1 passed"), "{name} is not the test's name:\n{results}");
}

type Job = Box<dyn FnOnce() + Send>;

/// A further network namespace: a thread that lives in it and runs what it is given.
pub(crate) struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pid: i32,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, inbox): (Sender<Job>, Receiver<Job>) = channel();
        let (ready, started) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid().as_raw()).unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        let pid = started.recv().unwrap();
        Self { jobs: Some(jobs), thread: Some(thread), pid }
    }

    /// Number by which `ip link set … netns` knows the namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs a closure on a new thread in the namespace.
    pub(crate) fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.run(|| std::thread::spawn(job))
    }

    /// Runs a closure in the namespace and waits for its result. A panic in it is a panic here.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, answer) = channel();
        let job = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            result.send(outcome).unwrap();
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        answer.recv().unwrap().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub(crate) fn ip(&self, command: &str) {
        let command = command.to_owned();
        self.run(move || ip(&command));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(command: &str) {
    let output = Command::new("ip").args(command.split_whitespace()).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a program prints, run in the calling thread's namespace; `None` when it is not installed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    Some(text)
}
