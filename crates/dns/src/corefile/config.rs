//! The typed configuration. Defaults are CoreDNS's; each field says its own when it is not obvious.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::error::Position;
use super::plugins::Pattern;
use crate::name::Name;
use crate::zone::Pods;

/// Everything that a Corefile says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Its server blocks in order.
    pub blocks: Vec<Block>,
    /// What it asks for and is not served here.
    pub unsupported: Vec<Unsupported>,
}

/// A plugin or an option that is not served here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it stands.
    pub position: Position,
    /// What it is, `plugin acl` or `option max_age of forward`.
    pub what: String,
    /// What to do instead.
    pub advice: &'static str,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} is not served here: {}", self.position, self.what, self.advice)
    }
}

/// One zone and port that a block answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The zone.
    pub zone: Name,
    /// The port.
    pub port: u16,
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// One address.
    Address(IpAddr),
    /// All addresses of an interface.
    Interface(String),
}

/// One server block. A plugin that is not there is `None`, empty or false.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where it begins.
    pub position: Position,
    /// Its zones with their ports, at least one.
    pub keys: Vec<Key>,
    /// Where it listens; empty: on every address.
    pub bind: Vec<Bind>,
    /// Where it does not listen.
    pub bind_except: Vec<Bind>,
    /// Largest UDP size that a client may ask for (`bufsize`).
    pub bufsize: Option<u16>,
    /// Failed queries are logged.
    pub errors: Option<ErrorsConfig>,
    /// Queries are logged.
    pub log: Vec<LogRule>,
    /// `/health`.
    pub health: Option<Health>,
    /// `/ready`.
    pub ready: Option<Ready>,
    /// Address of `/metrics`.
    pub prometheus: Option<String>,
    /// The Corefile is read again when it changes.
    pub reload: Option<Reload>,
    /// Addresses of an answer are put in random order.
    pub loadbalance: bool,
    /// Rules on questions and answers.
    pub rewrite: Vec<Rewrite>,
    /// The search list is walked here.
    pub autopath: Option<Autopath>,
    /// Answers from outside are kept.
    pub cache: Option<Cache>,
    /// Answers made from patterns.
    pub template: Vec<Template>,
    /// Answers from a hosts file.
    pub hosts: Option<Hosts>,
    /// The cluster's names.
    pub kubernetes: Option<Kubernetes>,
    /// Upstreams that lead back here are found.
    pub detect_loops: bool,
    /// Other resolvers.
    pub forward: Vec<Forward>,
}

/// `errors`.
#[derive(Clone, Debug, Default)]
pub struct ErrorsConfig {
    /// Messages that match are counted and told once for each period.
    pub consolidate: Vec<(Duration, Regex)>,
}

/// Which answers are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClass {
    /// Every one.
    All,
    /// With records.
    Success,
    /// NXDOMAIN and no data.
    Denial,
    /// SERVFAIL, NOTIMP, REFUSED and the like.
    Error,
}

/// `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// Names below this one.
    pub zone: Name,
    /// The line, with `{placeholders}`.
    pub format: String,
    /// Which answers.
    pub classes: Vec<LogClass>,
}

/// `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it listens, `:8080` by default.
    pub address: String,
    /// How long a server that is stopping goes on answering, 0 by default.
    pub lameduck: Duration,
}

/// `ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens, `:8181` by default.
    pub address: String,
}

/// `reload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How often the file is looked at, 30 s by default.
    pub interval: Duration,
    /// Random part of it, 15 s by default.
    pub jitter: Duration,
}

/// How a rule on names compares.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// The whole name.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Any part; all of them are replaced.
    Substring(String),
    /// A regular expression; `{1}` is its first group.
    Regex(Regex),
}

/// A rule on the records of the answer.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Owner names that match `0` become `1`.
    Name(Regex, String),
    /// Names in the data that match `0` become `1`.
    Value(Regex, String),
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum RewriteAction {
    /// Another name is looked up.
    Name {
        /// Which names.
        from: NameMatch,
        /// What they become.
        to: String,
        /// The answer bears the name that was asked for, and so do names in its data.
        auto: bool,
        /// Rules on the answer.
        answers: Vec<Answers>,
    },
    /// Another type is looked up.
    Type(u16, u16),
    /// Lifetimes of the records of matching names are brought into a range.
    Ttl(NameMatch, u32, u32),
}

/// One rule of `rewrite`.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// True: the rules behind a matching one are tried too.
    pub proceed: bool,
    /// What it does.
    pub action: RewriteAction,
}

/// Where the search list of `autopath` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchSource {
    /// The namespace of the pod that asks (`@kubernetes`).
    Kubernetes,
    /// The `search` line of a file.
    File(PathBuf),
}

/// `autopath`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopath {
    /// Names below these are walked.
    pub zones: Vec<Name>,
    /// The search list.
    pub search: SearchSource,
}

/// One kind of cached answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSide {
    /// Most entries.
    pub capacity: usize,
    /// Longest lifetime in seconds.
    pub ttl_max: u32,
    /// Shortest lifetime in seconds.
    pub ttl_min: u32,
    /// Names below these are not kept.
    pub disabled: Vec<Name>,
}

/// `prefetch`: entries that are asked for often are renewed before they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Questions that make an entry popular; 0 turns it off.
    pub amount: u32,
    /// Longest gap between two of them.
    pub gap: Duration,
    /// Part of the lifetime that is left when it is renewed, in percent.
    pub percentage: u32,
}

/// `serve_stale` (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// How long an entry is of use after its end.
    pub age_max: Duration,
    /// True: upstreams are asked first, and the old answer is for the case that they fail.
    pub verify: bool,
    /// With `verify`: how long the client waits for them, `None` for as long as they take.
    pub patience: Option<Duration>,
    /// Lifetime that a stale answer is given, in seconds.
    pub ttl: u32,
}

/// `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Names below these are kept.
    pub zones: Vec<Name>,
    /// Answers with records.
    pub success: CacheSide,
    /// NXDOMAIN and no data.
    pub denial: CacheSide,
    /// How long a failure is kept (RFC 9520 wants at least a second), 5 s by default.
    pub servfail: Duration,
    /// Renewal ahead of time.
    pub prefetch: Prefetch,
    /// Answers past their end.
    pub serve_stale: Option<ServeStale>,
    /// Records show the lifetime that they came with.
    pub keep_ttl: bool,
}

/// `template`.
#[derive(Clone, Debug)]
pub struct Template {
    /// Where it stands, for messages.
    pub position: Position,
    /// The class, `None` for any.
    pub class: Option<u16>,
    /// The type, `None` for any.
    pub kind: Option<u16>,
    /// Names below these.
    pub zones: Vec<Name>,
    /// Patterns of names; one must match.
    pub matches: Vec<Regex>,
    /// Records of the answer section.
    pub answer: Vec<Pattern>,
    /// Records of the authority section.
    pub authority: Vec<Pattern>,
    /// Records of the additional section.
    pub additional: Vec<Pattern>,
    /// The code.
    pub rcode: u16,
    /// Names below these go on to the next plugin when no pattern matches.
    pub fallthrough: Vec<Name>,
}

/// `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// The file.
    pub file: PathBuf,
    /// Lines in the Corefile, in the form of the file.
    pub inline: Vec<String>,
    /// Names below these are answered.
    pub zones: Vec<Name>,
    /// Lifetime of records in seconds, 3600 by default.
    pub ttl: u32,
    /// Addresses have no PTR records.
    pub no_reverse: bool,
    /// How often the file is looked at, 5 s by default; zero: once.
    pub reload: Duration,
    /// Names below these go on to the next plugin when they are not listed.
    pub fallthrough: Vec<Name>,
}

/// `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Where it stands, for messages.
    pub position: Position,
    /// Its zones in order.
    pub zones: Vec<Name>,
    /// Address of the API.
    pub endpoint: Option<String>,
    /// A kubeconfig, with the name of a context.
    pub kubeconfig: Option<(PathBuf, Option<String>)>,
    /// Certificate, key and authority to reach the API with.
    pub tls: Option<[PathBuf; 3]>,
    /// Namespaces that are served; empty serves all.
    pub namespaces: Vec<String>,
    /// Label selector of objects.
    pub labels: Option<String>,
    /// Label selector of namespaces.
    pub namespace_labels: Option<String>,
    /// Pod names.
    pub pods: Pods,
    /// Endpoints are called by their pods' names.
    pub endpoint_pod_names: bool,
    /// Lifetime of records in seconds.
    pub ttl: u32,
    /// Endpoints have no names.
    pub noendpoints: bool,
    /// A Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// Names below these go on to the next plugin when they do not exist.
    pub fallthrough: Vec<Name>,
}

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
    /// DNS over TLS.
    pub tls: Tls,
}
