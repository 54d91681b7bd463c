//! The processor time of those who take part in an answer.

use std::fs;
use std::path::Path;

use super::system;
use crate::dns::servers::{GENERATOR_CORE, SERVER_CORE};

/// Name of the threads that serve here.
pub(super) const SERVER: &str = "beyond";
/// How the names of all threads begin that serve: those, and the DNS server's.
const THREADS: [&str; 2] = [SERVER, "dns-udp"];

/// The threads whose time counts, besides the calling one.
pub(super) struct Clocks {
    servers: Vec<i32>,
    kernel: Vec<String>,
}

/// Nanoseconds that have been run so far.
#[derive(Clone, Copy)]
pub(super) struct Ran {
    pub(super) server: f64,
    /// Server, the calling thread, and the kernel's threads for what those leave over.
    pub(super) whole: f64,
}

impl Clocks {
    /// Of what runs now.
    pub(super) fn new() -> Self {
        Self { servers: servers(), kernel: kernel_threads() }
    }

    /// Read on the client's thread.
    pub(super) fn ran(&self) -> Ran {
        let server = self.servers.iter().map(|thread| system::thread_ns(*thread)).sum();
        let client = system::thread_ns(nix::unistd::gettid().as_raw());
        let kernel: f64 = self.kernel.iter().map(|path| schedstat_ns(path)).sum();
        Ran { server, whole: server + client + kernel }
    }
}

/// The threads of this process that serve.
fn servers() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let serves = |path: &Path| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        THREADS.iter().any(|begin| name.starts_with(begin))
    };
    tasks
        .filter(|task| serves(&task.path()))
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// The kernel's threads that take over where interrupts leave too much work, of both cores.
fn kernel_threads() -> Vec<String> {
    let wanted = [SERVER_CORE, GENERATOR_CORE].map(|core| format!("ksoftirqd/{core}\n"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let paths = processes.map(|process| process.path());
    paths
        .filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| wanted.contains(&name)))
        .map(|path| path.join("schedstat").display().to_string())
        .collect()
}

fn schedstat_ns(path: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}
