//! The container's `/dev`: the host's harmless devices (bound, since a user may not make any), an own devpts and
//! an own `/dev/shm`.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::MsFlags;

use super::super::step::{self, Failure};
use super::{make_folder, make_mount_point, mount_step, tree};

const BOUND: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Mode 755: on a sticky folder that all may write, the kernel refuses `>> /dev/null` (fs.protected_regular).
pub(super) fn populate() -> Result<(), Failure> {
    step::io("make /dev", make_folder("dev", 0o755))?;
    for name in BOUND {
        let source = Path::new("/dev").join(name);
        if !source.exists() {
            continue;
        }
        let target = format!("dev/{name}");
        step::io(format!("make /{target}"), make_mount_point(&target, false))?;
        tree::attach(&tree::clone(&source)?, &target, tree::DEVICE)?;
    }
    for (name, target) in LINKS {
        step::io(format!("link /dev/{name}"), symlink(target, format!("dev/{name}")))?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // No `gid=`: the only group of a user namespace is 0, and any other is EINVAL.
    let options = "newinstance,ptmxmode=0666,mode=0620";
    step::io("make /dev/pts", make_folder("dev/pts", 0o755))?;
    mount_step("mount devpts", Some("devpts"), "dev/pts", Some("devpts"), flags, Some(options))?;
    step::io("make /dev/shm", make_folder("dev/shm", 0o1777))?;
    let flags = flags | MsFlags::MS_NODEV;
    mount_step("mount /dev/shm", Some("shm"), "dev/shm", Some("tmpfs"), flags, Some("mode=1777,size=16m"))
}
