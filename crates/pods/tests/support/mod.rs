//! Runs a test program as it is and, when that is root, once more as an ordinary user.
//!
//! Test programs here have no harness: a user namespace can be entered only before the first thread.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::{env, fs};

/// "nobody": a user that exists everywhere and owns nothing.
const ORDINARY_USER: u32 = 65534;

/// Set for the second run.
const SECOND: &str = "SLUICE_TEST_AS_USER";

/// Call first: repeats the program as an ordinary user if this is root, then enters a user namespace if needed.
pub(crate) fn as_root_and_as_user() {
    let root = nix::unistd::geteuid().is_root();
    if root && env::var_os(SECOND).is_none() && env::args().len() == 1 {
        repeat_as_user();
    }
    match pods::userns::enter() {
        Ok(entry) => eprintln!("running as uid {} outside, {entry:?}", if root { 0 } else { ORDINARY_USER }),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            exit(0);
        }
    }
}

/// The program lies where only its owner may read it, so the user gets a copy.
fn repeat_as_user() {
    let folder = env::temp_dir().join(format!("sluice-test-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder for the copy");
    let copy = folder.join("program");
    fs::copy("/proc/self/exe", &copy).expect("copy of the program");
    for path in [&folder, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = Command::new(&copy);
    command.current_dir("/").env(SECOND, "1").env("TMPDIR", "/tmp").uid(ORDINARY_USER).gid(ORDINARY_USER);
    let status = command.status();
    fs::remove_dir_all(&folder).expect("removal of the copy");
    assert!(status.expect("second run").success(), "failed as an ordinary user");
}
