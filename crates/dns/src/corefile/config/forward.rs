//! What `forward` is told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::corefile::error::Position;
use crate::name::Name;

/// Which upstream is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any.
    #[default]
    Random,
    /// The next in turn.
    RoundRobin,
    /// The first that is well.
    Sequential,
}

/// One `TO` of `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Plain DNS.
    Dns(SocketAddr),
    /// DNS over TLS, with the server's name when it was given with the address.
    Tls(SocketAddr, Option<String>),
    /// A file in the form of `resolv.conf`.
    File(PathBuf),
}

/// `health_check` of `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Pause between two checks of an upstream that failed, 0.5 s by default; zero: none.
    pub interval: Duration,
    /// Recursion desired, true by default.
    pub recursion: bool,
    /// The name whose NS records are asked for, the root by default.
    pub domain: Name,
}

/// Certificates of `forward`'s `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Our own certificate and key.
    pub identity: Option<[PathBuf; 2]>,
    /// The authority, instead of the system's.
    pub authority: Option<PathBuf>,
    /// The name in the server's certificate (`tls_servername`).
    pub server_name: Option<String>,
}

/// `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where it stands, for messages.
    pub position: Position,
    /// Names below this one.
    pub from: Name,
    /// Whom to ask.
    pub to: Vec<To>,
    /// Names below these are not forwarded.
    pub except: Vec<Name>,
    /// Whom to ask first.
    pub policy: Policy,
    /// Failures in a row that make an upstream count as down, 2 by default; 0: never.
    pub fails_max: u32,
    /// Health checks.
    pub health_check: HealthCheck,
    /// Idle connections are kept this long, 10 s by default.
    pub expire: Duration,
    /// No connection is used for longer than this (`max_age`); `None`: as long as it works.
    pub age_max: Option<Duration>,
    /// Idle connections kept for each upstream (`max_idle_conns`).
    pub idle_max: usize,
    /// Tries of one query over all upstreams (`max_connect_attempts`); `None`: twice the upstreams.
    pub tries_max: Option<usize>,
    /// Addresses to ask from (`source_address`), at most one of each family.
    pub sources: Vec<IpAddr>,
    /// Longest wait for one answer, 2 s by default.
    pub read_timeout: Duration,
    /// Queries in flight; more are refused. `None`: our own bound.
    pub concurrent_max: Option<usize>,
    /// Upstreams are asked over TCP.
    pub force_tcp: bool,
    /// Upstreams are asked over UDP also for clients that came over TCP.
    pub prefer_udp: bool,
    /// SERVFAIL at once when every upstream is down.
    pub failfast: bool,
    /// Codes that make the next upstream be asked.
    pub failover: Vec<u16>,
    /// Codes that make the next `forward` of the block be asked.
    pub next: Vec<u16>,
    /// An answer without records does the same.
    pub next_on_nodata: bool,
    /// DNS over TLS.
    pub tls: Tls,
}
