//! `cache`: what upstreams said, positive, negative and failed, for as long as it is true.
//!
//! Lifetimes follow RFC 2308 (a denial lives as long as its SOA record says), RFC 9520 (a failure is kept a little while, so
//! that a broken name does not cost an upstream query for every client query) and RFC 8767 (an answer past its end is
//! better than none, when so configured). Equal questions that are asked at the same time are asked once. Memory is bounded
//! by entries and by bytes. Only answers from outside pass here: the cluster's own names are never cached, whatever the
//! Corefile says, because the zone is always fresher.

mod store;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::ask::{Ask, Reply, zone_of};
use crate::corefile;
use crate::message::records::{Record, Response, read_soa_minimum};
use crate::message::{rcode, rtype};
use crate::metrics::CacheCounts;
pub(super) use store::Entry;
use store::Store;

/// Lifetime of an answer that has no record to tell it, in seconds, as CoreDNS.
const TTL_WITHOUT_RECORDS: u32 = 5;
/// Longest lifetime taken from a record, in seconds, before the configured bound.
const TTL_MAX: u32 = 7 * 86_400;

/// The answer that several wait for.
type Asked = Arc<OnceCell<Reply>>;

/// One `cache`.
pub(crate) struct Cache {
    config: corefile::Cache,
    success: Store,
    denial: Store,
    /// Questions that are being asked.
    asking: Mutex<HashMap<Box<[u8]>, Asked>>,
    pub(crate) counts: CacheCounts,
}

/// What the cache says to a question.
pub(super) enum Found {
    /// Nothing.
    Miss,
    /// An answer.
    Fresh(Response),
    /// An answer that is popular and ends soon: renew it.
    Renew(Response, Arc<Entry>),
    /// An answer past its end.
    Stale(Response, Arc<Entry>),
}

/// What kind of answer it is, as CoreDNS tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Success,
    Denial,
    Failure,
    /// Not to be kept.
    Other,
}

impl Cache {
    pub(super) fn new(config: &corefile::Cache) -> Self {
        Self {
            success: Store::new(config.success.capacity),
            denial: Store::new(config.denial.capacity),
            config: config.clone(),
            asking: Mutex::default(),
            counts: CacheCounts::default(),
        }
    }

    /// True when answers for this name may be kept.
    pub(super) fn takes(&self, name: &[u8]) -> bool {
        zone_of(name, &self.config.zones).is_some()
    }

    /// How stale answers are used.
    pub(super) fn serve_stale(&self) -> Option<corefile::ServeStale> {
        self.config.serve_stale
    }

    /// Entries of both kinds: `(success, denial)`.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.success.len(), self.denial.len())
    }

    /// Looks a question up.
    pub(super) fn find(&self, ask: &Ask) -> Found {
        let (key, now) = (key(ask), Instant::now());
        self.counts.requests.add(1);
        let denial = self.denial.get(&key).filter(|entry| self.is_of_use(entry, now));
        let success = self.success.get(&key).filter(|entry| self.is_of_use(entry, now));
        let (entry, is_success) = match (denial, success) {
            // A good answer goes before a failure, and a fresh one before a stale denial.
            (Some(denial), Some(success)) => {
                let better = denial.response.rcode == rcode::SERVFAIL
                    || (denial.left(now).is_none() && success.left(now).is_some());
                if better { (success, true) } else { (denial, false) }
            }
            (Some(denial), None) => (denial, false),
            (None, Some(success)) => (success, true),
            (None, None) => {
                self.counts.misses.add(1);
                return Found::Miss;
            }
        };
        if is_success {
            self.counts.hits_success.add(1)
        } else {
            self.counts.hits_denial.add(1)
        }
        self.found(entry, now)
    }

    /// An answer that needs nothing done: fresh, and not to be renewed. Counts only when there is one.
    pub(super) fn peek(&self, ask: &Ask) -> Option<Response> {
        let (key, now) = (key(ask), Instant::now());
        if self.config.prefetch.amount > 0 {
            return None;
        }
        let fresh = |store: &Store| store.get(&key).filter(|entry| entry.left(now).is_some());
        let (entry, hits) = match fresh(&self.denial) {
            Some(entry) if entry.response.rcode != rcode::SERVFAIL => (entry, &self.counts.hits_denial),
            _ => (fresh(&self.success)?, &self.counts.hits_success),
        };
        self.counts.requests.add(1);
        hits.add(1);
        let ttl = if self.config.keep_ttl { entry.ttl } else { entry.left(now)? };
        Some(with_ttl(&entry.response, ttl))
    }

    fn found(&self, entry: Arc<Entry>, now: Instant) -> Found {
        let Some(left) = entry.left(now) else {
            let ttl = self.config.serve_stale.map_or(0, |stale| stale.ttl);
            self.counts.served_stale.add(1);
            return Found::Stale(with_ttl(&entry.response, ttl), entry);
        };
        let ttl = if self.config.keep_ttl { entry.ttl } else { left };
        let response = with_ttl(&entry.response, ttl);
        let prefetch = &self.config.prefetch;
        if prefetch.amount > 0 {
            let hits = entry.hit(now, prefetch.gap);
            let threshold = (u64::from(entry.ttl) * u64::from(prefetch.percentage)).div_ceil(100);
            if hits >= prefetch.amount && u64::from(left) <= threshold {
                return Found::Renew(response, entry);
            }
        }
        Found::Fresh(response)
    }

    fn is_of_use(&self, entry: &Entry, now: Instant) -> bool {
        let age_max = self.config.serve_stale.map_or(Duration::ZERO, |stale| stale.age_max);
        // A failure past its end says nothing.
        let age_max = if entry.response.rcode == rcode::SERVFAIL { Duration::ZERO } else { age_max };
        now < entry.end() + age_max
    }

    /// Asks, once for all that want to know the same now, and keeps the answer.
    ///
    /// The exchange is pinned by the caller: each await below would else keep room for another copy of it.
    pub(super) async fn ask_once(&self, ask: &Ask, exchange: Pin<&mut impl Future<Output = Reply>>) -> Reply {
        let key = key(ask);
        let cell = {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(asking.entry(key.clone()).or_default())
        };
        let reply = cell
            .get_or_init(async || {
                let mut reply = exchange.await;
                // Before anyone else looks: who comes after this finds it in the cache.
                self.keep(ask, &mut reply);
                self.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                reply
            })
            .await;
        reply.clone()
    }

    /// Keeps an answer. The records get the lifetime that they will have here.
    fn keep(&self, ask: &Ask, reply: &mut Reply) {
        let response = &mut reply.response;
        let class = classify(response);
        let (store, side) = match class {
            Class::Success => (&self.success, &self.config.success),
            Class::Denial | Class::Failure => (&self.denial, &self.config.denial),
            Class::Other => return,
        };
        // The client that asked must come back over TCP: half an answer is of no use to others.
        if response.truncated || zone_of(&ask.name, &side.disabled).is_some() {
            return;
        }
        let ttl = match class {
            Class::Failure => u32::try_from(self.config.servfail.as_secs()).unwrap_or(u32::MAX),
            _ => lifetime(response).clamp(side.ttl_min.min(side.ttl_max), side.ttl_max),
        };
        if ttl == 0 {
            return;
        }
        response.additional.retain(|record| record.kind != rtype::OPT);
        set_ttl(response, ttl);
        let key = key(ask);
        if class == Class::Success {
            self.denial.remove(&key);
        }
        let evicted = store.insert(key, Entry::new(response.clone(), ttl));
        self.counts.evicted(class == Class::Success, evicted);
    }
}

/// Name, type, class, and the two bits that answers depend on (RFC 6840 §5.9).
fn key(ask: &Ask) -> Box<[u8]> {
    let mut key = Vec::with_capacity(ask.name.len() + 5);
    key.extend(&ask.name);
    key.extend(ask.kind.to_be_bytes());
    key.extend(ask.class.to_be_bytes());
    key.push(u8::from(ask.dnssec_ok) | u8::from(ask.unchecked) << 1);
    key.into()
}

fn classify(response: &Response) -> Class {
    let soa = response.authority.iter().any(|record| record.kind == rtype::SOA);
    match response.rcode {
        rcode::NOERROR if response.answers.is_empty() && soa => Class::Denial,
        rcode::NOERROR => Class::Success,
        rcode::NXDOMAIN if soa => Class::Denial,
        rcode::SERVFAIL | rcode::NOTIMP => Class::Failure,
        _ => Class::Other,
    }
}

/// The shortest lifetime that a record names, in seconds; a denial's SOA record names two (RFC 2308 §5).
fn lifetime(response: &Response) -> u32 {
    let records = response.answers.iter().chain(&response.authority).chain(&response.additional);
    let lifetime = |record: &Record| match record.kind {
        rtype::OPT => None,
        rtype::SOA => Some(record.ttl.min(read_soa_minimum(&record.data).unwrap_or(record.ttl))),
        _ => Some(record.ttl),
    };
    records.filter_map(lifetime).min().unwrap_or(TTL_WITHOUT_RECORDS).min(TTL_MAX)
}

fn with_ttl(response: &Response, ttl: u32) -> Response {
    let mut response = response.clone();
    set_ttl(&mut response, ttl);
    response
}

fn set_ttl(response: &mut Response, ttl: u32) {
    let sections = [&mut response.answers, &mut response.authority, &mut response.additional];
    sections.into_iter().flatten().for_each(|record| record.ttl = ttl);
}
