//! Limits of containers by control groups, version 2 or 1, where this process may write them.
//!
//! Groups lie below one folder `sluice` of each hierarchy, named after the node process and the container, so that
//! what a killed node left is recognised by the process that no longer lives, and removed ([`remove_stale`]). An
//! ordinary user usually may write none: limits are then by rlimits, which the caller says in an event.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
const FOLDER: &str = "sluice";

/// Length of a scheduling period, microseconds (the kernel's default).
const PERIOD: u64 = 100_000;

/// What is writable here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Nothing: rlimits only.
    None,
    /// Version 1, by controller.
    V1 {
        /// Our folder of the memory controller.
        memory: Option<PathBuf>,
        /// Our folder of the cpu controller.
        cpu: Option<PathBuf>,
    },
    /// Version 2, with memory and cpu.
    V2(PathBuf),
}

impl Hierarchy {
    /// Finds out; makes nothing.
    pub fn detect() -> Self {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let has = |name| controllers.split_whitespace().any(|controller| controller == name);
            let usable = has("memory") && has("cpu") && writable(&root.join("cgroup.subtree_control"));
            return if usable { Self::V2(root.join(FOLDER)) } else { Self::None };
        }
        let folder = |controller: &str| {
            let root = root.join(controller);
            (root.join("cgroup.procs").exists() && writable(&root)).then(|| root.join(FOLDER))
        };
        match (folder("memory"), folder("cpu")) {
            (None, None) => Self::None,
            (memory, cpu) => Self::V1 { memory, cpu },
        }
    }

    /// For people: what limits containers here.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::None => "rlimits: memory for each process, cpu not at all (no cgroup is writable)",
            Self::V1 { memory: Some(_), cpu: Some(_) } => "cgroup version 1: memory and cpu",
            Self::V1 { memory: Some(_), .. } => "cgroup version 1: memory; cpu not at all",
            Self::V1 { .. } => "cgroup version 1: cpu; memory for each process by rlimit",
            Self::V2(_) => "cgroup version 2: memory and cpu",
        }
    }

    /// Whether a memory limit holds for a container as a whole.
    pub fn limits_memory(&self) -> bool {
        matches!(self, Self::V1 { memory: Some(_), .. } | Self::V2(_))
    }

    /// Whether a cpu limit holds.
    pub fn limits_cpu(&self) -> bool {
        matches!(self, Self::V1 { cpu: Some(_), .. } | Self::V2(_))
    }

    /// Makes the groups of one container. `name` is unique in this process; `cpu` in processors.
    pub(crate) fn create(&self, name: &str, memory: Option<u64>, cpu: Option<f64>) -> io::Result<Group> {
        let name = format!("{}-{name}", std::process::id());
        let quota = cpu.map(|cpu| ((cpu * PERIOD as f64) as u64).max(1000));
        let mut group = Group { folders: Vec::new() };
        match self {
            Self::None => {}
            Self::V1 { memory: memory_folder, cpu: cpu_folder } => {
                if let (Some(folder), Some(bytes)) = (memory_folder, memory) {
                    group.add(folder.join(&name), &[("memory.limit_in_bytes", bytes.to_string())])?;
                }
                if let (Some(folder), Some(quota)) = (cpu_folder, quota) {
                    group.add(folder.join(&name), &[("cpu.cfs_quota_us", quota.to_string())])?;
                }
            }
            Self::V2(folder) => {
                let memory = memory.map(|bytes| ("memory.max", bytes.to_string()));
                let cpu = quota.map(|quota| ("cpu.max", format!("{quota} {PERIOD}")));
                let settings: Vec<_> = memory.into_iter().chain(cpu).collect();
                if !settings.is_empty() {
                    hand_down_controllers(folder)?;
                    group.add(folder.join(&name), &settings)?;
                }
            }
        }
        Ok(group)
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        let (first, second) = match self {
            Self::None => (None, None),
            Self::V1 { memory, cpu } => (memory.as_ref(), cpu.as_ref()),
            Self::V2(folder) => (Some(folder), None),
        };
        first.into_iter().chain(second)
    }
}

fn writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Version 2: a group has the controllers that its parents give to their children.
fn hand_down_controllers(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let parents = folder.parent().into_iter().chain([folder]);
    parents
        .into_iter()
        .try_for_each(|parent| fs::write(parent.join("cgroup.subtree_control"), "+memory +cpu"))
}

/// The groups of one container; removed with this value, once they are empty.
#[derive(Debug, Default)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    fn add(&mut self, folder: PathBuf, settings: &[(&str, String)]) -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        self.folders.push(folder.clone());
        settings.iter().try_for_each(|(file, value)| fs::write(folder.join(file), value))
    }

    /// The files by which a process joins.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Whether the kernel has killed a process of the container for want of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        let files = self.folders.iter().flat_map(|folder| {
            ["memory.events", "memory.oom_control"].map(|file| fs::read_to_string(folder.join(file)))
        });
        let mut lines = files.flatten().flat_map(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("oom_kill "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        lines.any(|count| count.trim() != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // A group that is still busy is left for the next start, and the folder above while others use it.
            fs::remove_dir(folder).ok();
            folder.parent().map(fs::remove_dir);
        }
    }
}

/// Removes the groups of processes that do not live any more, and our folder if nothing is left; how many went.
pub fn remove_stale(hierarchy: &Hierarchy) -> usize {
    let mut removed = 0;
    for folder in hierarchy.folders() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.split_once('-')).map(|(pid, _)| pid);
            let dead =
                pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists());
            if dead && fs::remove_dir(entry.path()).is_ok() {
                removed += 1;
            }
        }
        fs::remove_dir(folder).ok();
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_dead_processes_are_removed() {
        let root = std::env::temp_dir().join(format!("sluice-cgroup-test-{}", std::process::id()));
        let own = format!("{}-a", std::process::id());
        // Numbers of processes end at 4194304 (PID_MAX_LIMIT).
        for name in ["9999999-a", "9999999-b", &own, "other"] {
            fs::create_dir_all(root.join(name)).expect("folder");
        }
        assert_eq!(remove_stale(&Hierarchy::V2(root.clone())), 2);
        assert!(root.join(own).exists() && root.join("other").exists());
        fs::remove_dir_all(root).expect("removal");
    }

    #[test]
    fn limits_in_the_kernels_words() {
        let root = std::env::temp_dir().join(format!("sluice-cgroup-test-2-{}", std::process::id()));
        let group = Hierarchy::V2(root.join("sluice")).create("c", Some(1 << 20), Some(0.5)).expect("group");
        let folder = &group.folders[0];
        assert_eq!(fs::read_to_string(folder.join("memory.max")).expect("file"), "1048576");
        assert_eq!(fs::read_to_string(folder.join("cpu.max")).expect("file"), "50000 100000");
        assert_eq!(group.entrances(), [folder.join("cgroup.procs")]);
        fs::write(folder.join("memory.events"), "low 0\noom 1\noom_kill 1\n").expect("file");
        assert!(group.out_of_memory());
        fs::remove_dir_all(root).expect("removal");
    }
}
