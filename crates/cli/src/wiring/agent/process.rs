//! What Prometheus' own clients tell of their process (`process_…`), from proc.

use nix::sys::resource::{Resource, getrlimit};
use prometheus::{Counter, Gauge, Registry};

/// The metrics, brought up to date when somebody asks.
pub(super) struct Process {
    cpu: Counter,
    received: Counter,
    sent: Counter,
    resident: Gauge,
    virtual_size: Gauge,
    descriptors: Gauge,
}

/// Fields of `/proc/self/stat`, from 0, behind the name in parentheses.
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;
const VSIZE: usize = 20;
const RSS: usize = 21;

impl Process {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, Gauge::new(name, help));
        let counter = |name, help| register(registry, Counter::new(name, help));
        let process = Self {
            cpu: counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            received: counter(
                "process_network_receive_bytes_total",
                "Number of bytes received by the process over the network.",
            ),
            sent: counter(
                "process_network_transmit_bytes_total",
                "Number of bytes sent by the process over the network.",
            ),
            resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
            virtual_size: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            descriptors: gauge("process_open_fds", "Number of open file descriptors."),
        };
        gauge("process_max_fds", "Maximum number of open file descriptors.")
            .set(limit(Resource::RLIMIT_NOFILE));
        gauge("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.")
            .set(limit(Resource::RLIMIT_AS));
        gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
            .set(start_seconds().unwrap_or_default());
        process
    }

    pub(super) fn take_over(&mut self) {
        if let Some(stat) = stat() {
            let cpu = (number(&stat, UTIME) + number(&stat, STIME)) / ticks();
            raise(&self.cpu, cpu);
            self.virtual_size.set(number(&stat, VSIZE));
            self.resident.set(number(&stat, RSS) * page_size());
        }
        // Of the whole network namespace, as Prometheus' Go client has it too.
        if let Some((received, sent)) = octets() {
            raise(&self.received, received);
            raise(&self.sent, sent);
        }
        // One of them is the folder itself.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
        self.descriptors.set(open as f64);
    }
}

fn register<T: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<T>,
) -> T {
    let made = made.expect("the names of metrics are well-formed");
    registry.register(Box::new(made.clone())).expect("every metric has a name of its own");
    made
}

/// A counter to what it is now.
fn raise(counter: &Counter, total: f64) {
    counter.inc_by((total - counter.get()).max(0.0));
}

fn limit(of: Resource) -> f64 {
    getrlimit(of).map_or(0.0, |(soft, _)| soft as f64)
}

/// `InOctets` and `OutOctets`: each line of names is followed by one of numbers.
fn octets() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let of = |name: &str| {
        let index = names.split(' ').position(|other| other == name)?;
        numbers.split(' ').nth(index)?.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

fn stat() -> Option<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], index: usize) -> f64 {
    fields.get(index).and_then(|field| field.parse().ok()).unwrap_or_default()
}

fn start_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + number(&stat()?, STARTTIME) / ticks())
}

/// Of proc's times in a second.
fn ticks() -> f64 {
    sysconf(nix::unistd::SysconfVar::CLK_TCK, 100)
}

fn page_size() -> f64 {
    sysconf(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

fn sysconf(variable: nix::unistd::SysconfVar, default: i64) -> f64 {
    nix::unistd::sysconf(variable).ok().flatten().unwrap_or(default) as f64
}
