//! The typed configuration. Defaults are CoreDNS's; each field says its own when it is not obvious.

mod cache;
mod forward;
mod kubernetes;
mod rewrite;

pub use cache::{Cache, CacheSide, Prefetch, ServeStale};
pub use forward::{Forward, HealthCheck, Policy, Tls, To};
pub use kubernetes::Kubernetes;
pub use rewrite::{Answers, NameMatch, Rewrite, RewriteAction};

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::error::Position;
use super::plugins::Pattern;
use crate::name::Name;

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
    /// Queries for ANY get one record that says nothing (RFC 8482).
    pub any: bool,
    /// Names of the machine itself are answered, `localhost` and the reverse of 127.0.0.1.
    pub local: bool,
    /// Answers have no more records than they must.
    pub minimal: bool,
    /// Bits of the answer's header that are set or cleared.
    pub header: Vec<HeaderRule>,
    /// UDP sockets for each address (`multisocket`); `None`: the program's choice.
    pub sockets: Option<usize>,
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

/// A bit of an answer's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBit {
    /// AA.
    Authoritative,
    /// RA.
    RecursionAvailable,
}

/// One rule of `header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Which bit.
    pub bit: HeaderBit,
    /// What it becomes.
    pub value: bool,
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
