//! What is measured: our server, a bare echo with the same system calls, and other servers with the same names.
//!
//! Every server's threads stay on the first core; the generator is on the second.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dns::corefile::{self, NoSources};
use dns::datagrams::Batch;
use dns::instance::{Instance, Options};
use dns::metrics::Metrics;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::names::Cluster;

/// Core of the servers.
pub(crate) const SERVER_CORE: usize = 0;
/// Core of the generator.
pub(crate) const GENERATOR_CORE: usize = 1;
/// How long another server may take to load its zones.
const START_MAX: Duration = Duration::from_secs(60);

/// A server under load.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Process and, if not all of its threads count, how the names of those that do begin.
    process: u32,
    threads: Option<&'static str>,
    keep: Keep,
}

/// What ends with the target.
enum Keep {
    Ours(#[allow(dead_code, reason = "dropping it stops the server")] Box<Instance>),
    Child(Child, PathBuf),
    Elsewhere,
}

impl Target {
    /// One UDP thread of ours with kubeadm's Corefile, everything counted, answering for `cluster`.
    pub(crate) fn ours(cluster: Cluster) -> Result<Self> {
        let text = corefile::kubeadm("cluster.local", "127.0.0.1:9").replace(".:53", ".:0");
        let mut target = Self::ours_with(&text)?;
        target.update(cluster)?;
        Ok(target)
    }

    /// One UDP thread of ours with this Corefile, which listens on port 0 for any.
    pub(crate) fn ours_with(text: &str) -> Result<Self> {
        Ok(Self::of_instance(on_core(SERVER_CORE, || instance(text))?))
    }

    /// Gives our own server the objects of this cluster.
    pub(crate) fn update(&mut self, cluster: Cluster) -> Result<()> {
        let Keep::Ours(instance) = &mut self.keep else { bail!("not our server") };
        let mut model = cluster.model()?;
        instance.update(&model.snapshot(), &model.take_changes(), 1);
        Ok(())
    }

    fn of_instance(instance: Instance) -> Self {
        let address = instance.addresses()[0];
        Self::here("sluice", address, Some("dns-"), Keep::Ours(Box::new(instance)))
    }

    /// `sluice dns` or CoreDNS, whose flags are the same, with this Corefile, in which `PORT` stands for the port.
    pub(crate) fn program(name: &str, program: &Path, text: &str) -> Result<Self> {
        let (port, folder) = (5393, temporary("program")?);
        let text = text.replace("PORT", &port.to_string());
        let arguments = if name == "sluice" { &["dns", "-conf"][..] } else { &["-conf"] };
        Self::child(name, port, folder, &text, program, arguments)
    }

    /// A thread that sends every datagram back, until the process ends.
    pub(crate) fn echo() -> Result<Self> {
        let socket = UdpSocket::bind(loopback(0))?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20))?;
        let address = socket.local_addr()?;
        let work = move || {
            let mut batch = Batch::new();
            while batch.receive(socket.as_fd(), true).is_ok() {
                batch.answer_each(|query, room| {
                    room[..query.len()].copy_from_slice(query);
                    query.len()
                });
                batch.send(socket.as_fd());
            }
        };
        on_core(SERVER_CORE, || std::thread::Builder::new().name("echo".into()).spawn(work))?;
        Ok(Self::here("echo", address, Some("echo"), Keep::Elsewhere))
    }

    fn here(name: &str, address: SocketAddr, threads: Option<&'static str>, keep: Keep) -> Self {
        Self { name: name.into(), address, process: std::process::id(), threads, keep }
    }

    /// A server that runs already: `NAME=ADDRESS,PID`. Its threads are put on the servers' core.
    pub(crate) fn elsewhere(text: &str) -> Result<Self> {
        let parse = || {
            let (name, rest) = text.split_once('=')?;
            let (address, process) = rest.split_once(',')?;
            Some((name, address.parse().ok()?, process.parse().ok()?))
        };
        let (name, address, process) = parse().with_context(|| format!("{text} is not NAME=ADDRESS,PID"))?;
        for task in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
            let thread = task.file_name().to_string_lossy().parse().unwrap_or(0);
            sched_setaffinity(Pid::from_raw(thread), &only(SERVER_CORE)?)?;
        }
        Ok(Self { name: name.into(), address, process, threads: None, keep: Keep::Elsewhere })
    }

    /// NSD with one server process, and with what it limits by default let free.
    pub(crate) fn nsd(cluster: Cluster) -> Result<Self> {
        let (port, folder) = (5391, folder("nsd", cluster)?);
        let path = folder.display();
        let mut text = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n server-count: 1\n username: \"\"\n zonesdir: {path}\n \
             database: \"\"\n pidfile: \"\"\n zonelistfile: {path}/zones.list\n xfrdfile: {path}/xfrd.state\n \
             minimal-responses: yes\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"
        );
        for (zone, _) in cluster.zone_files() {
            text += &format!("zone:\n name: {zone}\n zonefile: {zone}.zone\n");
        }
        Self::child("nsd", port, folder, &text, Path::new("nsd"), &["-d", "-c"])
    }

    /// Knot DNS with one UDP thread.
    pub(crate) fn knot(cluster: Cluster) -> Result<Self> {
        let (port, folder) = (5392, folder("knot", cluster)?);
        let path = folder.display();
        let mut text = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {path}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\ndatabase:\n    storage: {path}\ntemplate:\n  - id: default\n    storage: {path}\n    \
             zonefile-sync: -1\n    journal-content: none\nzone:\n"
        );
        for (zone, _) in cluster.zone_files() {
            text += &format!("  - domain: {zone}\n    file: {zone}.zone\n");
        }
        Self::child("knotd", port, folder, &text, Path::new("knotd"), &["-c"])
    }

    fn child(
        name: &str,
        port: u16,
        folder: PathBuf,
        text: &str,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let file = folder.join("conf");
        fs::write(&file, text)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = on_core(SERVER_CORE, || command.spawn())
            .with_context(|| format!("cannot start {}: is it installed?", program.display()))?;
        let (address, process) = (loopback(port), child.id());
        Ok(Self { name: name.into(), address, process, threads: None, keep: Keep::Child(child, folder) })
    }

    /// Waits until `query` is answered as it should be.
    pub(crate) fn wait(&self, query: &[u8], is_answered: impl Fn(&[u8]) -> bool) -> Result<()> {
        let socket = UdpSocket::bind(loopback(0))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let start = std::time::Instant::now();
        while start.elapsed() < START_MAX {
            socket.send_to(query, self.address)?;
            let mut answer = [0; 4096];
            if socket
                .recv(&mut answer)
                .is_ok_and(|length| self.name == "echo" || is_answered(&answer[..length]))
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} does not answer as it should", self.name)
    }

    /// Nanoseconds that its threads have run so far. A child's children count too (NSD serves from one).
    pub(crate) fn running_ns(&self) -> f64 {
        let mut processes = vec![self.process];
        let mut total = 0.0;
        while let Some(process) = processes.pop() {
            for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
                let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
                if self.threads.is_none_or(|name| read("comm").starts_with(name)) {
                    total += read("schedstat")
                        .split(' ')
                        .next()
                        .and_then(|ns| ns.parse::<f64>().ok())
                        .unwrap_or(0.0);
                }
                if self.threads.is_none() {
                    processes
                        .extend(read("children").split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
                }
            }
        }
        total
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Keep::Child(child, folder) = &mut self.keep {
            // In order, so that a server's own children end too.
            let id = i32::try_from(child.id()).unwrap_or_default();
            let _ = nix::sys::signal::kill(Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn instance(text: &str) -> Result<Instance> {
    let config = corefile::read(text, "Corefile", 53, &NoSources).context("our own Corefile")?;
    let options = Options {
        listen: vec![loopback(0).ip()],
        hold: false,
        workers: 1,
        metrics: Arc::new(Metrics::default()),
        sink: Arc::new(|_: &str| {}),
    };
    Ok(Instance::start(config, options)?)
}

fn temporary(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("sluice-bench-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A folder with the zone files.
fn folder(name: &str, cluster: Cluster) -> Result<PathBuf> {
    let folder = temporary(name)?;
    for (zone, text) in cluster.zone_files() {
        fs::write(Path::new(&folder).join(format!("{zone}.zone")), text)?;
    }
    Ok(folder)
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Runs `work` on one core; threads and processes that it starts stay there.
pub(crate) fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> T {
    stay_on(core);
    let result = work();
    stay_on(GENERATOR_CORE);
    result
}

/// Keeps this thread on one core. A machine of one core measures both sides on it.
pub(crate) fn stay_on(core: usize) {
    let _ = only(core).and_then(|set| Ok(sched_setaffinity(Pid::from_raw(0), &set)?));
}

fn only(core: usize) -> Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core % std::thread::available_parallelism()?)?;
    Ok(set)
}
