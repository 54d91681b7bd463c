//! A proxy program under measurement: started in the node's namespace, watched through its metrics and `/proc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::api::NODE;
use super::node::Node;

/// Where the node's pods are.
const CIDR: &str = "--cluster-cidr=10.200.0.0/16";
/// Where DNS alone says that it is ready.
pub(super) const READY_PORT: u16 = 8181;
/// Both proxies' port for metrics.
const METRICS_PORT: u16 = 10_249;
/// A program that uses less of a core than this is at rest.
const REST: f64 = 0.02;
/// Longest wait for that.
const RESTLESS: Duration = Duration::from_secs(120);

/// Where a program says that it has finished its first sync: a port, a path, and whether an answer says so.
type Readiness = (u16, &'static str, fn(&str) -> bool);

/// The metrics that both proxies have.
const PROXIED: Readiness = (METRICS_PORT, "/metrics", synced);

/// A program and how it is started.
pub(super) struct Program {
    path: PathBuf,
    name: &'static str,
    arguments: Vec<String>,
    readiness: Readiness,
}

impl Program {
    pub(super) fn sluice(path: PathBuf) -> Self {
        Self::new(path, "sluice", &["proxy", "--hostname-override", NODE, CIDR], PROXIED)
    }

    pub(super) fn kube_proxy(path: PathBuf) -> Self {
        let arguments = ["--proxy-mode", "nftables", "--hostname-override", NODE, CIDR];
        Self::new(path, "kube-proxy", &arguments, PROXIED)
    }

    /// Proxy and DNS in one process.
    pub(super) fn agent(path: PathBuf) -> Self {
        let arguments = ["agent", "--node-name", NODE, CIDR, "--dns-address=10.96.0.10"];
        Self::new(path, "agent", &arguments, PROXIED)
    }

    /// DNS alone, as a Corefile says that has `ready` on [`READY_PORT`].
    pub(super) fn dns(path: PathBuf, corefile: &str) -> Self {
        Self::new(path, "dns", &["dns", "-conf", corefile], (READY_PORT, "/ready", is_ok))
    }

    fn new(path: PathBuf, name: &'static str, arguments: &[&str], readiness: Readiness) -> Self {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Self { path, name, arguments, readiness }
    }

    /// Its subcommand, where it has one.
    pub(super) fn title(&self) -> &str {
        self.arguments.first().map_or(self.name, String::as_str)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// A running program; killed with the value.
pub(super) struct Candidate {
    child: Child,
    started: Instant,
    log: PathBuf,
    readiness: Readiness,
}

/// Resident memory in bytes.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// Without the pages of files, the program's own file above all.
    pub(super) own: u64,
}

impl Candidate {
    pub(super) fn start(program: &Program, node: &Node, kubeconfig: &Path) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // CoreDNS's flags, which `sluice dns` has, do not name one.
        command.env("KUBECONFIG", kubeconfig);
        if program.name != "dns" {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        let log =
            std::env::temp_dir().join(format!("bench-proxy-{}-{}.log", program.name, std::process::id()));
        command.stderr(fs::File::create(&log)?);
        let child = move || command.spawn();
        let started = Instant::now();
        let child = node.namespace.run(child)?;
        let child = child.with_context(|| format!("starting {}", program.path.display()))?;
        Ok(Self { child, started, log, readiness: program.readiness })
    }

    /// Start to the end of the first sync; nothing when that takes longer than `limit`.
    pub(super) fn wait_synced(&mut self, node: &Node, limit: Duration) -> Result<Option<Duration>> {
        while self.started.elapsed() < limit {
            let (port, path, says_so) = self.readiness;
            if node.get(port, path).is_some_and(|answer| says_so(&answer)) {
                return Ok(Some(self.started.elapsed()));
            }
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "the proxy ended: {}", fs::read_to_string(&self.log)?);
            // Asking costs the one who is asked: at most a hundredth of the time is what this is wrong by.
            thread::sleep((self.started.elapsed() / 100).max(Duration::from_millis(5)));
        }
        Ok(None)
    }

    /// Memory now.
    pub(super) fn memory(&self) -> Result<Memory> {
        Ok(Memory { resident: self.status("VmRSS:")?, own: self.status("RssAnon:")? })
    }

    /// The highest resident memory since the start.
    pub(super) fn highest_resident(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// The most of its own that it had at any of the samples that are taken during `work`.
    pub(super) fn highest_own<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        const STEP: Duration = Duration::from_millis(5);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let mut highest = 0;
                while !done.load(Ordering::Relaxed) {
                    highest = self.memory().map_or(highest, |memory| highest.max(memory.own));
                    thread::sleep(STEP);
                }
                highest
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            (result, sampler.join().unwrap_or_default())
        })
    }

    /// From now on the highest is counted anew.
    pub(super) fn forget_highest(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        // 5 by proc_pid_clear_refs(5).
        fs::write(&path, "5").with_context(|| format!("writing {path}"))
    }

    /// Waits until it has nothing more to do.
    pub(super) fn rest(&self) -> Result<()> {
        const STEP: Duration = Duration::from_secs(2);
        let start = Instant::now();
        while start.elapsed() < RESTLESS {
            let before = self.processor_time()?;
            thread::sleep(STEP);
            let used = self.processor_time()?.saturating_sub(before);
            if used.as_secs_f64() < REST * STEP.as_secs_f64() {
                break;
            }
        }
        Ok(())
    }

    fn status(&self, field: &str) -> Result<u64> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).context(field.to_owned())?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }

    /// Processor time so far, of ended children too: kube-proxy writes through `nft`.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        const TICK: Duration = Duration::from_millis(10);
        let text = self.proc("stat")?;
        let (_, rest) = text.rsplit_once(')').context("a stat line")?;
        // utime, stime, cutime, cstime are fields 14 to 17 of proc_pid_stat(5), 11 to 14 behind the command.
        let ticks: u32 =
            rest.split_whitespace().skip(11).take(4).map(|field| field.parse::<u32>().unwrap_or(0)).sum();
        Ok(TICK * ticks)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

fn is_ok(answer: &str) -> bool {
    answer.lines().next().is_some_and(|line| line.contains(" 200 "))
}

/// True once a sync has finished.
fn synced(metrics: &str) -> bool {
    const NAME: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
    let samples = metrics.lines().filter(|line| line.starts_with(NAME));
    let mut values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.any(|value| value > 0.0)
}
