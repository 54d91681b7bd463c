//! The container's `/proc`: of its own PID namespace, with the host's switches read-only and its secrets covered.
//!
//! Root of the host without capabilities still owns the files below `/proc/sys`; that they are read-only here is
//! what keeps it from changing them.

use std::path::Path;

use nix::mount::MsFlags;

use super::super::step::{self, Failure};
use super::{mount_step, tree};

const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Files are covered by /dev/null, folders by an empty read-only tmpfs.
const COVERED: [&str; 9] =
    ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list"];

pub(super) fn mount() -> Result<(), Failure> {
    step::io("make /proc", super::make_folder("proc", 0o555))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_step("mount proc", Some("proc"), "proc", Some("proc"), flags, None)?;
    for name in READ_ONLY {
        let path = format!("proc/{name}");
        if Path::new(&path).exists() {
            tree::attach(&tree::clone(Path::new(&path))?, &path, tree::READ_ONLY)?;
        }
    }
    for name in COVERED {
        cover(&format!("proc/{name}"))?;
    }
    Ok(())
}

fn cover(path: &str) -> Result<(), Failure> {
    let path_on_disk = Path::new(path);
    if path_on_disk.is_dir() {
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        return mount_step("cover", Some("tmpfs"), path, Some("tmpfs"), flags, Some("size=0"));
    }
    if path_on_disk.exists() {
        tree::attach(&tree::clone(Path::new("dev/null"))?, path, tree::DEVICE)?;
    }
    Ok(())
}
