//! What `cache` says.

use std::time::Duration;

use crate::name::Name;

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
