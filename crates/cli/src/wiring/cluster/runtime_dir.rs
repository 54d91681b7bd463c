//! Where a running cluster leaves its traces for other commands: kubeconfig, logs, and which process is which node.
//! One folder for each cluster, named by its process; a folder whose process is gone is what a `kill -9` left behind,
//! and the next start or `sluice cleanup` removes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// What `cluster.json` tells of a running cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The cluster's main process.
    pub(crate) process: Process,
    /// The kubeconfig that it wrote.
    pub(crate) kubeconfig: PathBuf,
    /// The process of each node.
    pub(crate) nodes: BTreeMap<String, Process>,
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id as seen from the host.
    pub(crate) pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub(crate) started_ticks: u64,
}

impl Process {
    /// The process with this number, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses and may hold anything: count from its end.
        let started_ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started_ticks })
    }

    /// True while it runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// `/run/sluice` for root, else `$XDG_RUNTIME_DIR/sluice`, else `/tmp/sluice-UID`. To be asked before the program
/// enters a user namespace: inside, everybody is root.
pub(crate) fn root() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return "/run/sluice".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_dir() => Path::new(&dir).join("sluice"),
        _ => format!("/tmp/sluice-{uid}").into(),
    }
}

/// The folder of one running cluster, removed when dropped.
pub(crate) struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// Makes this process's folder below `root`, readable by its owner only.
    pub(crate) fn create(root: &Path) -> anyhow::Result<Self> {
        own_directory(root)?;
        let path = root.join(std::process::id().to_string());
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("removing what an earlier cluster left in {}", path.display()))?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `cluster.json`, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> anyhow::Result<()> {
        let (new, file) = (self.path.join("cluster.json.new"), self.path.join("cluster.json"));
        fs::write(&new, serde_json::to_vec_pretty(record)?)
            .with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &file).with_context(|| format!("writing {}", file.display()))
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // What stays is removed by the next start.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(root) = self.path.parent() {
            let _ = fs::remove_dir(root);
        }
    }
}

/// Makes `root`, or checks that the one that is there is ours: below a sticky `/tmp` somebody else may have made it.
fn own_directory(root: &Path) -> anyhow::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("making {}", root.display())),
    }
    let metadata = fs::symlink_metadata(root).with_context(|| format!("looking at {}", root.display()))?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        bail!("{} is not a folder of this user; move it away", root.display());
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {} to others", root.display()))
}

/// Records of the clusters below `root` that run, newest first.
pub(crate) fn running(root: &Path) -> Vec<Record> {
    let mut records: Vec<Record> =
        folders(root).filter_map(|folder| read(&folder)).filter(|record| record.process.is_alive()).collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.process.started_ticks));
    records
}

/// Removes the folders of clusters that no longer run; returns what it removed.
pub(crate) fn remove_dead(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for folder in folders(root).filter(|folder| !is_alive(folder)) {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        removed.push(folder);
    }
    Ok(removed)
}

fn folders(root: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let numbered = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    numbered.map(|entry| entry.path())
}

/// The record in a cluster's folder.
pub(crate) fn read(folder: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(folder.join("cluster.json")).ok()?).ok()
}

/// A folder without a record belongs to a cluster that is just starting, as long as its process exists.
fn is_alive(folder: &Path) -> bool {
    if let Some(record) = read(folder) {
        return record.process.is_alive();
    }
    let pid = folder.file_name().and_then(|name| name.to_string_lossy().parse().ok());
    pid.is_some_and(|pid| Process::of(pid).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_cluster_is_removed_and_a_living_one_is_found() {
        let root = std::env::temp_dir().join(format!("sluice-runtime-dir-{}", std::process::id()));
        let dir = RuntimeDir::create(&root).unwrap();
        let own = Process::of(std::process::id()).unwrap();
        dir.write(&Record { process: own, kubeconfig: "k".into(), nodes: BTreeMap::new() }).unwrap();
        let dead = root.join("1");
        fs::create_dir(&dead).unwrap();
        let reused = Process { pid: 1, started_ticks: u64::MAX };
        let record = Record { process: reused, ..Record::default() };
        fs::write(dead.join("cluster.json"), serde_json::to_vec(&record).unwrap()).unwrap();

        assert_eq!(running(&root).len(), 1);
        assert_eq!(remove_dead(&root).unwrap(), [dead]);
        drop(dir);
        assert!(!root.exists());
    }
}
