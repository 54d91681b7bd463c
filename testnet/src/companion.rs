//! Programs that run beside a test or a measurement, and their folders: none outlives the process that wanted it, and what
//! a killed one left behind is removed by the next.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many folders were made, for their names.
static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder that goes with the value. Its name tells whose it is: `sluice-KIND-PROCESS-STARTED-NUMBER`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one, in memory where there is a `/dev/shm`, and removes those of this kind whose process is gone.
    pub(crate) fn create(kind: &str) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self::create_in(&parent, kind)
    }

    fn create_in(parent: &Path, kind: &str) -> io::Result<Self> {
        let prefix = format!("sluice-{kind}-");
        remove_abandoned(parent, &prefix)?;
        let (own, number) = (std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let started = started(own).ok_or_else(|| io::Error::other("/proc does not tell of this process"))?;
        let path = parent.join(format!("{prefix}{own}-{started}-{number}"));
        fs::create_dir(&path)?;
        // Tokens and keys may lie in it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Another user's folder stays, and so does what another process is removing just now.
fn remove_abandoned(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.strip_prefix(prefix).is_some_and(is_abandoned) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Whether the process that a folder's name tells of is gone. Another of the same number has started at another time.
fn is_abandoned(name: &str) -> bool {
    let mut parts = name.split('-').map(str::parse::<u64>);
    let (Some(Ok(process)), Some(Ok(start)), Some(Ok(_)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    u32::try_from(process).is_ok_and(|process| started(process) != Some(start))
}

/// When a process was started, in clock ticks since boot: field 22 of `/proc/PID/stat`, counted from the end of the second,
/// which is in parentheses and may hold anything. `None` too when it has ended and nobody has asked how.
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// The kernel ends the program when the thread that starts it ends, and so with our process.
#[allow(unsafe_code, reason = "a hook between fork and exec")]
pub(crate) fn end_with_us(command: &mut Command) {
    // SAFETY: the hook makes one system call and touches no memory of the parent's.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_are_removed_and_no_others() {
        let parent = Folder::create("companion-test").unwrap();
        let (own, started) = (std::process::id(), started(std::process::id()).unwrap());
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        // One that was killed and that nobody has waited for, under its true name.
        let mut killed = Command::new("sleep").arg("60").spawn().unwrap();
        let killed_started = super::started(killed.id()).unwrap();
        killed.kill().unwrap();
        while super::started(killed.id()).is_some() {
            std::thread::yield_now();
        }
        let abandoned = [
            format!("sluice-a-{}-7-0", ended.id()),
            format!("sluice-a-{own}-{}-0", started - 1),
            format!("sluice-a-{}-{killed_started}-0", killed.id()),
        ];
        let kept = [
            format!("sluice-a-{own}-{started}-77"),
            format!("sluice-b-{}-7-0", ended.id()),
            format!("sluice-a-b-{}-7-0", ended.id()),
            "sluice-a-notes".to_owned(),
        ];
        let path = |name: &String| parent.path().join(name);
        for name in abandoned.iter().chain(&kept) {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "").unwrap();
        }
        let made = Folder::create_in(parent.path(), "a").unwrap();
        assert!(abandoned.iter().all(|name| !path(name).exists()));
        assert!(kept.iter().all(|name| path(name).exists()));
        let path = made.path().to_owned();
        assert!(path.is_dir());
        drop(made);
        assert!(!path.exists());
        killed.wait().unwrap();
    }
}
