//! `forward`: which upstreams are asked, in which order, and when to try the next one.
//!
//! Bounded in every direction: queries in flight, time for each try and for all of them, number of tries. Without an
//! upstream the answer is immediate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ClientConfig;

use super::ChainError;
use super::ask::{Ask, is_within, zone_of};
use super::tls::{Connector, client_config};
use super::upstream::Upstream;
use crate::corefile::{self, Policy, To};
use crate::message::rcode;
use crate::message::records::{Response, read_response};
use crate::metrics::Metrics;
use crate::resolv_conf;

/// Time for all tries of one query. Clients give up after 5 s and should hear of the failure before.
const TIME_MAX: Duration = Duration::from_millis(4500);
/// Tries of one query for each upstream, as CoreDNS.
const TRIES_PER_UPSTREAM: usize = 2;
/// Queries in flight when the Corefile does not say. Each may have a socket of its own.
const IN_FLIGHT_MAX: usize = 512;
/// Age at which files with upstreams are read again.
const FILE_AGE_MAX: Duration = Duration::from_secs(2);

/// Why there is no answer from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForwardError {
    /// No resolver is known.
    #[error("no upstream resolver is configured")]
    NoUpstream,
    /// As many queries as allowed are waiting already.
    #[error("concurrent queries exceeded maximum {0}")]
    Busy(usize),
    /// All resolvers are down.
    #[error("no healthy upstream resolver")]
    AllDown,
    /// The last resolver could not be asked, or was silent.
    #[error("asking upstream {upstream}: {reason}")]
    Failed {
        /// Who was asked.
        upstream: SocketAddr,
        /// Why it failed.
        reason: String,
    },
}

/// One `forward`.
pub(crate) struct Forward {
    config: corefile::Forward,
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    read_at: Mutex<Instant>,
    /// Our own addresses: asking them would be a loop.
    own: Vec<IpAddr>,
    tls: Option<Arc<ClientConfig>>,
    in_flight: Semaphore,
    in_flight_max: usize,
    turn: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Forward {
    pub(super) fn new(
        config: &corefile::Forward,
        own: &[IpAddr],
        metrics: &Arc<Metrics>,
    ) -> Result<Self, ChainError> {
        let uses_tls = config.to.iter().any(|to| matches!(to, To::Tls(..)));
        let in_flight_max = config.concurrent_max.unwrap_or(IN_FLIGHT_MAX);
        let forward = Self {
            config: config.clone(),
            upstreams: ArcSwap::default(),
            read_at: Mutex::new(Instant::now()),
            own: own.to_vec(),
            tls: uses_tls.then(|| client_config(&config.tls)).transpose()?,
            in_flight: Semaphore::new(in_flight_max),
            in_flight_max,
            turn: AtomicUsize::new(0),
            metrics: Arc::clone(metrics),
        };
        let upstreams = forward.read_upstreams(&[])?;
        if upstreams.is_empty() {
            tracing::warn!("{}: no upstream resolver is known: names outside are SERVFAIL", config.position);
        }
        forward.upstreams.store(Arc::new(upstreams));
        Ok(forward)
    }

    /// True when this name is forwarded.
    pub(super) fn takes(&self, name: &[u8]) -> bool {
        is_within(name, self.config.from.as_wire()) && zone_of(name, &self.config.except).is_none()
    }

    /// True when the next `forward` of the block should be asked for a better answer.
    pub(super) fn passes_on(&self, response: &Response) -> bool {
        let empty = response.rcode == rcode::NOERROR && response.answers.is_empty();
        self.config.next.contains(&response.rcode) || (self.config.next_on_nodata && empty)
    }

    /// Its upstreams now.
    pub(super) fn upstreams(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.upstreams.load_full()
    }

    /// True when its upstreams are named, not read from files that change.
    pub(super) fn is_fixed(&self) -> bool {
        !self.config.to.iter().any(|to| matches!(to, To::File(_)))
    }

    /// Asks until there is an answer.
    pub(super) async fn exchange(&self, ask: &Ask) -> Result<Response, ForwardError> {
        self.refresh();
        let upstreams = self.upstreams.load_full();
        if upstreams.is_empty() {
            return Err(ForwardError::NoUpstream);
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            self.metrics.concurrency_rejected.add(1);
            return Err(ForwardError::Busy(self.in_flight_max));
        };
        self.try_upstreams(&upstreams, ask).await
    }

    /// Asks one upstream for one name; true when it answered in any way.
    pub(super) async fn probe(&self, upstream: &Upstream, name: Vec<u8>, kind: u16) -> bool {
        let ask = Ask { name, kind, ..Ask::own(upstream.address) };
        upstream.ask(&ask, &self.config, self.config.read_timeout).await.is_ok()
    }

    async fn try_upstreams(&self, upstreams: &[Arc<Upstream>], ask: &Ask) -> Result<Response, ForwardError> {
        let (started, mut order) = (Instant::now(), self.order(upstreams.len()));
        // Stable: among those that are well the policy holds.
        order.sort_by_key(|index| upstreams[*index].is_suspect());
        let (mut last, mut failovers) = (ForwardError::AllDown, 0);
        let tries = self.config.tries_max.unwrap_or(upstreams.len() * TRIES_PER_UPSTREAM);
        for attempt in 0..tries {
            let Some(upstream) = self.choose(upstreams, &order, attempt)? else { continue };
            let left = TIME_MAX.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            let answer = upstream.ask(ask, &self.config, self.config.read_timeout.min(left)).await;
            match answer.and_then(|answer| read_response(&answer).ok_or(io::ErrorKind::InvalidData.into())) {
                Ok(response) => {
                    failovers += 1;
                    if self.config.failover.contains(&response.rcode) && failovers < upstreams.len() {
                        continue;
                    }
                    return Ok(response);
                }
                Err(error) => {
                    let reason = match error.kind() {
                        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                        _ => error.to_string(),
                    };
                    last = ForwardError::Failed { upstream: upstream.address, reason };
                    upstream.start_checks(&self.config);
                }
            }
        }
        Err(last)
    }

    /// The upstream of this try. One that is down is passed over, unless all are: then any, for the checks themselves
    /// may be what fails. One that leads back here is never asked.
    fn choose<'u>(
        &self,
        upstreams: &'u [Arc<Upstream>],
        order: &[usize],
        attempt: usize,
    ) -> Result<Option<&'u Arc<Upstream>>, ForwardError> {
        if upstreams.iter().all(|upstream| upstream.is_down(self.config.fails_max)) {
            let usable = || upstreams.iter().filter(|upstream| !upstream.is_looping());
            let count = usable().count();
            if count == 0 {
                return Err(ForwardError::AllDown);
            }
            self.metrics.checks_broken.add(1);
            if self.config.failfast {
                return Err(ForwardError::AllDown);
            }
            return Ok(usable().nth(rand::random_range(0..count)));
        }
        let upstream = &upstreams[order[attempt % order.len()]];
        Ok((!upstream.is_down(self.config.fails_max)).then_some(upstream))
    }

    /// The order in which upstreams are tried.
    fn order(&self, count: usize) -> Vec<usize> {
        let first = match self.config.policy {
            Policy::Sequential => 0,
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            Policy::Random => {
                let mut order: Vec<usize> = (0..count).collect();
                for index in (1..count).rev() {
                    order.swap(index, rand::random_range(0..=index));
                }
                return order;
            }
        };
        (0..count).map(|index| (first + index) % count).collect()
    }

    /// Reads files with upstreams again when they were read a while ago, so that a host that changes its network needs
    /// no restart, and an idle one no timer.
    fn refresh(&self) {
        if self.is_fixed() {
            return;
        }
        let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        if read_at.elapsed() < FILE_AGE_MAX {
            return;
        }
        *read_at = Instant::now();
        let old = self.upstreams.load_full();
        let Ok(new) = self.read_upstreams(&old) else { return };
        let addresses = |list: &[Arc<Upstream>]| list.iter().map(|one| one.address).collect::<Vec<_>>();
        if addresses(&old) != addresses(&new) {
            tracing::info!(upstreams = ?addresses(&new), "upstream resolvers have changed");
            self.upstreams.store(Arc::new(new));
        }
    }

    /// The upstreams that the configuration and its files name; those in `known` keep what is known of them.
    fn read_upstreams(&self, known: &[Arc<Upstream>]) -> Result<Vec<Arc<Upstream>>, ChainError> {
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for (address, tls) in self.addresses()? {
            if upstreams.iter().any(|upstream| upstream.address == address) {
                continue;
            }
            let old = known.iter().find(|upstream| upstream.address == address);
            let new = || Arc::new(Upstream::new(address, tls, &self.metrics));
            upstreams.push(old.cloned().unwrap_or_else(new));
        }
        Ok(upstreams)
    }

    fn addresses(&self) -> Result<Vec<(SocketAddr, Option<Connector>)>, ChainError> {
        let mut addresses = Vec::new();
        for to in &self.config.to {
            match to {
                To::Dns(address) => addresses.push((*address, None)),
                To::Tls(address, name) => {
                    let name = name.as_deref().or(self.config.tls.server_name.as_deref());
                    let tls =
                        self.tls.as_ref().map(|tls| Connector::new(tls, name, address.ip())).transpose()?;
                    addresses.push((*address, tls));
                }
                To::File(file) => {
                    addresses.extend(self.read_file(file).into_iter().map(|address| (address, None)));
                }
            }
        }
        Ok(addresses)
    }

    fn read_file(&self, file: &Path) -> Vec<SocketAddr> {
        if file == Path::new("/etc/resolv.conf") {
            return resolv_conf::host_upstreams(&self.own);
        }
        resolv_conf::parse(&std::fs::read_to_string(file).unwrap_or_default(), &self.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn resolvers_that_a_file_names_later_are_found() {
        let file = std::env::temp_dir().join(format!("sluice-dns-later-{}.conf", std::process::id()));
        std::fs::write(&file, "# none yet\n").unwrap();
        let config = corefile::Block::forwarding(vec![To::File(file.clone())]).forward.remove(0);
        let forward = Forward::new(&config, &[], &Arc::default()).unwrap();
        let ask = Ask::own("192.0.2.1:53".parse().unwrap());
        assert_eq!(forward.exchange(&ask).await, Err(ForwardError::NoUpstream));
        std::fs::write(&file, "nameserver 127.0.0.199\n").unwrap();
        tokio::time::sleep(FILE_AGE_MAX).await;
        // Hardly anybody answers there; what counts is who is asked.
        assert_ne!(forward.exchange(&ask).await, Err(ForwardError::NoUpstream));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(forward.upstreams()[0].address, "127.0.0.199:53".parse().unwrap());
    }
}
