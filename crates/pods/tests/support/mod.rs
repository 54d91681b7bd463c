//! Runs a test program's test twice, each time in a process of its own: as root, and as an ordinary user.
//!
//! A user namespace can be entered only before the first thread, so the harness stays in a process that has none; its
//! trials are the two runs. A run that cannot be made here is skipped.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use nix::sys::{prctl, signal::Signal};
use testnet::harness::{self, Outcome, Trial};

/// "nobody": a user that exists everywhere and owns nothing.
const ORDINARY_USER: u32 = 65534;

/// Set in the process of a run.
const RUN: &str = "SLUICE_TEST_RUN";

/// Exit code of a run that is skipped; why is its standard output. The one that automake uses.
const SKIPPED: u8 = 77;

/// One run after the other: they measure times.
static TURN: Mutex<()> = Mutex::new(());

/// What `main` does after it has dispatched the roles of child processes.
pub(crate) fn as_root_and_as_user(test: fn()) -> ExitCode {
    if env::var_os(RUN).is_some() {
        return run(test);
    }
    harness::run(vec![Trial::new("as_root", as_root), Trial::new("as_user", as_user)])
}

/// The run itself: enters a user namespace if needed.
fn run(test: fn()) -> ExitCode {
    let root = nix::unistd::geteuid().is_root();
    match pods::userns::enter() {
        Ok(entry) => eprintln!("running as uid {} outside, {entry:?}", if root { 0 } else { ORDINARY_USER }),
        Err(error) => {
            println!("{error}");
            return ExitCode::from(SKIPPED);
        }
    }
    prctl::set_pdeathsig(Signal::SIGKILL).expect("ends with the harness");
    test();
    ExitCode::SUCCESS
}

fn as_root() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Outcome::Skipped("this is not root".to_owned());
    }
    outcome(&mut Command::new(env::current_exe().expect("this program")))
}

fn as_user() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return outcome(&mut Command::new(env::current_exe().expect("this program")));
    }
    // The program lies where only its owner may read it, so the user gets a copy.
    let folder = env::temp_dir().join(format!("sluice-test-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder for the copy");
    let copy = folder.join("program");
    fs::copy("/proc/self/exe", &copy).expect("copy of the program");
    for path in [&folder, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = Command::new(&copy);
    command.current_dir("/").env("TMPDIR", "/tmp").uid(ORDINARY_USER).gid(ORDINARY_USER);
    let outcome = outcome(&mut command);
    fs::remove_dir_all(&folder).expect("removal of the copy");
    outcome
}

fn outcome(run: &mut Command) -> Outcome {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = run.env(RUN, "1").stderr(Stdio::inherit()).output().expect("a second process");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(0) => Outcome::Passed,
        Some(code) if code == i32::from(SKIPPED) => Outcome::Skipped(text),
        _ => Outcome::Failed(format!("{}, its panic is above; {text}", output.status)),
    }
}
