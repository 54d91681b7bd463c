//! The limits of the kernel's connection tracking that kube-proxy sets when it starts: how many connections, and how
//! long they are remembered. A limit that cannot be set (only the host's own namespace may raise the number) is told and
//! left as it is: kube-proxy would not start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

/// More are not asked for on machines with many cores (kube-proxy 1.36).
const MAX_CAP: u64 = 1_048_576;
/// Connections for each bucket of the hash table, at most.
const PER_BUCKET: u64 = 4;

/// Zero leaves a limit as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConntrackLimits {
    pub(crate) max_per_core: u32,
    pub(crate) min: u32,
    pub(crate) tcp_established: Duration,
    pub(crate) tcp_close_wait: Duration,
    pub(crate) tcp_be_liberal: bool,
    pub(crate) udp: Duration,
    pub(crate) udp_stream: Duration,
}

/// One value to be written, unless the kernel's own is as good.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    file: PathBuf,
    value: u64,
    /// Whether more is as good.
    at_least: bool,
}

impl ConntrackLimits {
    /// Sets what is asked for, in this thread's network namespace.
    pub(crate) fn apply(&self) {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        for limit in self.limits(cores) {
            limit.set();
        }
    }

    /// The number of connections that a machine of so many cores should track; 0: as it is.
    fn max(&self, cores: u64) -> u64 {
        let scaled = u64::from(self.max_per_core) * cores;
        if scaled > MAX_CAP { MAX_CAP } else { scaled.max(u64::from(self.min)) * u64::from(scaled > 0) }
    }

    fn limits(&self, cores: u64) -> Vec<Limit> {
        let sysctl = |name: &str| Path::new("/proc/sys/net/netfilter").join(name);
        let max = self.max(cores);
        let mut limits = Vec::new();
        if max > 0 {
            limits.push(Limit { file: sysctl("nf_conntrack_max"), value: max, at_least: true });
            let buckets = PathBuf::from("/sys/module/nf_conntrack/parameters/hashsize");
            limits.push(Limit { file: buckets, value: max / PER_BUCKET, at_least: true });
        }
        let timeouts = [
            ("nf_conntrack_tcp_timeout_established", self.tcp_established.as_secs()),
            ("nf_conntrack_tcp_timeout_close_wait", self.tcp_close_wait.as_secs()),
            ("nf_conntrack_tcp_be_liberal", u64::from(self.tcp_be_liberal)),
            ("nf_conntrack_udp_timeout", self.udp.as_secs()),
            ("nf_conntrack_udp_timeout_stream", self.udp_stream.as_secs()),
        ];
        for (name, value) in timeouts.into_iter().filter(|(_, value)| *value > 0) {
            limits.push(Limit { file: sysctl(name), value, at_least: false });
        }
        limits
    }
}

impl Limit {
    fn set(&self) {
        let present =
            std::fs::read_to_string(&self.file).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if present.is_some_and(|present| present == self.value || (self.at_least && present > self.value)) {
            return;
        }
        match std::fs::write(&self.file, self.value.to_string()) {
            Ok(()) => info!("{} is {}", self.file.display(), self.value),
            Err(error) => warn!(
                "{} stays {}, not {}: {error}",
                self.file.display(),
                present.map_or_else(|| "as it is".to_owned(), |present| present.to_string()),
                self.value
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_connections_grows_with_the_cores() {
        let limits = |max_per_core, min| ConntrackLimits { max_per_core, min, ..ConntrackLimits::default() };
        for (max_per_core, min, cores, expected) in [
            (32_768, 131_072, 2, 131_072),
            (32_768, 131_072, 8, 262_144),
            (32_768, 131_072, 64, 1_048_576),
            (0, 131_072, 8, 0),
            (1, 0, 2, 2),
        ] {
            assert_eq!(limits(max_per_core, min).max(cores), expected, "{max_per_core} {min} {cores}");
        }
    }

    #[test]
    fn what_is_zero_is_left_alone() {
        assert_eq!(ConntrackLimits::default().limits(2), []);
        let liberal = ConntrackLimits { tcp_be_liberal: true, ..ConntrackLimits::default() };
        let [limit] = liberal.limits(2).try_into().unwrap();
        assert_eq!((limit.value, limit.at_least), (1, false));
    }
}
