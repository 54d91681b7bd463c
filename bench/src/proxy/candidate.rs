//! A proxy program under measurement: started in the node's namespace, watched through its metrics and `/proc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::api::NODE;
use super::node::Node;

/// Both programs' port for metrics.
const METRICS_PORT: u16 = 10_249;
/// Longest wait for the first sync; kube-proxy takes minutes for large sizes.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A program and how it is started.
pub(super) struct Program {
    path: PathBuf,
    name: &'static str,
    arguments: &'static [&'static str],
}

impl Program {
    pub(super) fn sluice(path: PathBuf) -> Self {
        Self { path, name: "sluice", arguments: &["proxy"] }
    }

    pub(super) fn kube_proxy(path: PathBuf) -> Self {
        Self { path, name: "kube-proxy", arguments: &["--proxy-mode", "nftables"] }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// A running program; killed with the value.
pub(super) struct Candidate {
    child: Child,
    started: Instant,
}

impl Candidate {
    pub(super) fn start(program: &Program, node: &Node, kubeconfig: &Path) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(program.arguments).args([
            "--hostname-override",
            NODE,
            "--cluster-cidr",
            "10.200.0.0/16",
        ]);
        command.arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null()).stdout(Stdio::null());
        let log =
            std::env::temp_dir().join(format!("bench-proxy-{}-{}.log", program.name, std::process::id()));
        command.stderr(fs::File::create(&log)?);
        let started = Instant::now();
        let child = node.namespace.run(move || command.spawn())?;
        Ok(Self { child: child.with_context(|| format!("starting {}", program.path.display()))?, started })
    }

    /// Start to the end of the first sync.
    pub(super) fn wait_synced(&mut self, node: &Node) -> Result<Duration> {
        while self.started.elapsed() < PATIENCE {
            if node.get(METRICS_PORT, "/metrics").is_some_and(|metrics| synced(&metrics)) {
                return Ok(self.started.elapsed());
            }
            ensure!(self.child.try_wait()?.is_none(), "the proxy ended");
            thread::sleep(Duration::from_millis(5));
        }
        bail!("not synced within {PATIENCE:?}")
    }

    /// Resident memory now, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// Its highest value since the start.
    pub(super) fn highest_resident(&self) -> Result<u64> {
        self.status("VmHWM:")
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
    }
}

/// True once a sync has finished.
fn synced(metrics: &str) -> bool {
    const NAME: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
    let samples = metrics.lines().filter(|line| line.starts_with(NAME));
    let mut values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.any(|value| value > 0.0)
}
