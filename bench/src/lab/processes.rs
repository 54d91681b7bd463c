//! Processes as `/proc` shows them: who started whom, memory and processor time.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
}

impl Process {
    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }

    /// Proportional set size in bytes: pages shared by n processes count for an n-th (proc_pid_smaps(5)).
    pub(super) fn memory(self) -> Result<u64> {
        let text = self.read("smaps_rollup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        Ok(kilobytes.with_context(|| format!("process {} has no Pss", self.pid))? * 1024)
    }

    /// Processor time of its living threads since their start, in user and kernel mode (/proc/PID/task/TID/schedstat; the
    /// ticks of `stat`, 10 ms long, are too coarse for an idle process).
    pub(super) fn running(self) -> Result<Duration> {
        let path = format!("/proc/{}/task", self.pid);
        let threads = fs::read_dir(&path).with_context(|| format!("listing {path}"))?.flatten();
        let mut nanoseconds = 0;
        for thread in threads {
            let text =
                fs::read_to_string(thread.path().join("schedstat")).context("reading a thread's time")?;
            let running = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            nanoseconds += running.context("a thread without its time")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The fields of `stat` behind the command, which is in parentheses and may hold anything.
    fn stat(self) -> Result<Vec<String>> {
        let text = self.read("stat")?;
        let (_, rest) =
            text.rsplit_once(')').with_context(|| format!("process {} has no state", self.pid))?;
        Ok(rest.split_whitespace().map(str::to_owned).collect())
    }

    fn parent(self) -> Option<u32> {
        self.stat().ok()?.get(1)?.parse().ok()
    }

    /// True if `address` belongs to its network namespace.
    pub(super) fn has_address(self, address: Ipv4Addr) -> bool {
        let text = self.read("net/fib_trie").unwrap_or_default();
        let leaf = format!("|-- {address}");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == leaf && lines.next().is_some_and(|kind| kind.contains("host LOCAL")) {
                return true;
            }
        }
        false
    }
}

/// All that `of` started, and what they started, with their distance from it.
pub(super) fn descendants(of: Process) -> Result<Vec<(Process, usize)>> {
    let entries = fs::read_dir("/proc").context("listing processes")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        // One that ended meanwhile has no parent any more.
        if let Some(parent) = (Process { pid }).parent() {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut at) = (vec![(of, 0)], 0);
    while at < found.len() {
        let (parent, depth) = found[at];
        let below = children.get(&parent.pid).into_iter().flatten();
        found.extend(below.map(|&pid| (Process { pid }, depth + 1)));
        at += 1;
    }
    found.remove(0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_measured() {
        let own = Process { pid: std::process::id() };
        let parent = Process { pid: own.parent().unwrap() };
        assert!(descendants(parent).unwrap().contains(&(own, 1)));
        assert!(own.memory().unwrap() > 100_000);
        assert!(own.has_address(Ipv4Addr::LOCALHOST));
        assert!(!own.has_address("192.0.2.1".parse().unwrap()));
        own.running().unwrap();
    }
}
