//! One resolver that is asked, and what is known of its health.
//!
//! As CoreDNS has it: a failed exchange starts health checks, which go on until one is answered; an upstream counts as down
//! when more checks than `max_fails` failed in a row. A healthy upstream is never checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::ask::Ask;
use super::tls::Connector;
use super::transport::{Answered, Keeping, Pool, Ports, ask_stream};
use crate::answer::Transport;
use crate::corefile;
use crate::message::rtype;
use crate::metrics::{Carrier, Metrics, UpstreamCounts};

/// Longest wait for the answer to a health check, as CoreDNS.
const CHECK_TIME_MAX: Duration = Duration::from_secs(1);

/// A resolver.
pub(crate) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Connector>,
    ports: Arc<Ports>,
    pool: Pool,
    counts: Arc<UpstreamCounts>,
    fails: AtomicU32,
    checking: AtomicBool,
    looping: AtomicBool,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, tls: Option<Connector>, metrics: &Metrics) -> Self {
        Self {
            address,
            tls,
            ports: Arc::default(),
            pool: Pool::default(),
            counts: metrics.upstream(&address.to_string()),
            fails: AtomicU32::new(0),
            checking: AtomicBool::new(false),
            looping: AtomicBool::new(false),
        }
    }

    /// As metrics and logs call it.
    pub(super) fn label(&self) -> String {
        self.address.to_string()
    }

    /// True when it should not be asked.
    pub(super) fn is_down(&self, fails_max: u32) -> bool {
        self.is_looping() || (fails_max > 0 && self.fails.load(Ordering::Relaxed) > fails_max)
    }

    /// True while it is checked because an exchange with it failed: others are asked before it.
    pub(super) fn is_suspect(&self) -> bool {
        self.checking.load(Ordering::Relaxed)
    }

    /// True when what is asked there comes back here.
    pub(super) fn is_looping(&self) -> bool {
        self.looping.load(Ordering::Relaxed)
    }

    /// Notes that what is asked there comes back here; true for the first time.
    pub(super) fn mark_looping(&self) -> bool {
        !self.looping.swap(true, Ordering::Relaxed)
    }

    /// One try, with the clock of the configuration.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        config: &corefile::Forward,
        patience: Duration,
    ) -> io::Result<Vec<u8>> {
        let started = Instant::now();
        let packet = ask.packet(rand::random());
        let tried = timeout(patience, self.exchange(&packet, ask.transport, config)).await;
        let answer = tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.counts.answered(answer[3] & 0x0f, started.elapsed());
        Ok(answer)
    }

    /// UDP, and TCP when the answer was cut: a whole answer serves every client from then on. A cut one is better than
    /// none when TCP fails. TCP also when somebody seems to guess, who cannot there.
    async fn exchange(
        &self,
        packet: &[u8],
        transport: Transport,
        config: &corefile::Forward,
    ) -> io::Result<Vec<u8>> {
        let stream = config.force_tcp || (transport == Transport::Tcp && !config.prefer_udp);
        if stream || self.tls.is_some() {
            return self.exchange_stream(packet, config).await;
        }
        let source = keeping(config).source_or_any(self.address);
        match self.ports.ask(self.address, source, packet).await {
            Ok(Answered { answer, reused }) => {
                self.counts.connection(Carrier::Udp, reused);
                if answer[2] & 0x02 == 0 {
                    return Ok(answer);
                }
                Ok(self.exchange_stream(packet, config).await.unwrap_or(answer))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.exchange_stream(packet, config).await
            }
            Err(error) => Err(error),
        }
    }

    /// On the heap, for it is large and rare: every query's task would have room for it.
    async fn exchange_stream(&self, packet: &[u8], config: &corefile::Forward) -> io::Result<Vec<u8>> {
        let asking = ask_stream(self.address, self.tls.as_ref(), &self.pool, keeping(config), packet);
        let streamed = Box::pin(asking).await?;
        let carrier = if self.tls.is_some() { Carrier::Tls } else { Carrier::Tcp };
        self.counts.connection(carrier, streamed.reused);
        Ok(streamed.answer)
    }

    /// Checks it until it answers, unless that is going on already.
    pub(super) fn start_checks(self: &Arc<Self>, config: &corefile::Forward) {
        let off = config.fails_max == 0 || config.health_check.interval.is_zero();
        if off || self.checking.swap(true, Ordering::Relaxed) {
            return;
        }
        let (upstream, config) = (Arc::clone(self), config.clone());
        tokio::spawn(async move {
            while !upstream.check(&config).await {
                let fails = upstream.fails.fetch_add(1, Ordering::Relaxed) + 1;
                upstream.counts.check_failed();
                if fails == config.fails_max + 1 {
                    tracing::warn!(upstream = %upstream.address, "upstream resolver is down");
                }
                tokio::time::sleep(config.health_check.interval).await;
            }
            if upstream.fails.swap(0, Ordering::Relaxed) > config.fails_max {
                tracing::info!(upstream = %upstream.address, "upstream resolver answers again");
            }
            upstream.checking.store(false, Ordering::Relaxed);
        });
    }

    /// One check: any answer at all is good.
    async fn check(&self, config: &corefile::Forward) -> bool {
        let check = &config.health_check;
        let name = check.domain.as_wire().to_vec();
        let ask = Ask { name, kind: rtype::NS, recursion: check.recursion, ..Ask::own(self.address) };
        let packet = ask.packet(rand::random());
        matches!(timeout(CHECK_TIME_MAX, self.exchange(&packet, Transport::Udp, config)).await, Ok(Ok(_)))
    }
}

fn keeping(config: &corefile::Forward) -> Keeping<'_> {
    let corefile::Forward { expire, age_max, idle_max, sources, .. } = config;
    Keeping { expire: *expire, age_max: *age_max, idle_max: *idle_max, sources }
}
