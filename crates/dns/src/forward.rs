//! Asks other resolvers: over UDP with a random id from a random port, over TCP when the answer was cut, the next
//! resolver when one is silent.
//!
//! Bounded in every direction: queries in flight, time for each try, number of tries. Without a resolver the answer is
//! immediate. This is for a server without a Corefile, the control plane's relay; what a Corefile says about upstreams is
//! the business of [`crate::chain`].

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::chain::transport::{Keeping, Pool, ask_stream, ask_udp};
use crate::message::{HEADER_BYTES, QueryName, read_u16};

/// Longest wait for one resolver, as CoreDNS's `forward`.
const TRY_TIME_MAX: Duration = Duration::from_secs(2);
/// Tries of one query, over all resolvers. Clients give up after 5 s.
const TRIES_MAX: usize = 2;
/// Queries in flight. Each has a socket of its own, and the usual limit of descriptors is 1024: the rest of the process
/// must not starve while an upstream is silent.
const IN_FLIGHT_MAX: usize = 512;
/// Age at which the list of resolvers is read again.
const SOURCE_AGE_MAX: Duration = Duration::from_secs(2);

/// Why there is no answer from outside.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No resolver is configured.
    #[error("no upstream resolver is configured")]
    NoUpstream,
    /// As many queries as allowed are waiting already.
    #[error("too many queries are waiting for upstream resolvers (limit {IN_FLIGHT_MAX})")]
    Busy,
    /// Nobody answered in time.
    #[error("no upstream resolver answered within {TRIES_MAX} tries of {} s", TRY_TIME_MAX.as_secs())]
    Silence,
    /// The last resolver could not be asked.
    #[error("cannot ask upstream resolver {upstream}")]
    Io {
        /// Who was asked.
        upstream: SocketAddr,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The packet is no query.
    #[error("not a query with one question")]
    Malformed,
}

/// Where the list of resolvers comes from, and when it was read.
type Source = (Instant, Box<dyn Fn() -> Vec<SocketAddr> + Send>);

/// A set of resolvers and what is known of them. Shared by all threads.
pub struct Forwarder {
    upstreams: ArcSwap<Vec<SocketAddr>>,
    /// Read again when a query needs it, so that a host that changes its network needs no restart, and an idle one no
    /// timer.
    source: Mutex<Option<Source>>,
    in_flight: Semaphore,
    /// Index of the resolver that answered last: it is asked first.
    preferred: AtomicUsize,
}

impl Forwarder {
    /// A forwarder to these resolvers, asked in this order until one answers.
    #[must_use]
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams: ArcSwap::from_pointee(upstreams),
            source: Mutex::new(None),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            preferred: AtomicUsize::new(0),
        }
    }

    /// Exchanges the resolvers; queries in flight go on with the old ones.
    pub fn set_upstreams(&self, upstreams: Vec<SocketAddr>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.upstreams.store(Arc::new(upstreams));
    }

    /// Takes the resolvers from `source` from now on: read at once, and again before a query when it is two seconds old.
    pub fn follow(&self, source: impl Fn() -> Vec<SocketAddr> + Send + 'static) {
        self.set_upstreams(source());
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Box::new(source)));
    }

    fn refresh(&self) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((read_at, source)) =
            source.as_mut().filter(|(read_at, _)| read_at.elapsed() >= SOURCE_AGE_MAX)
        else {
            return;
        };
        *read_at = Instant::now();
        let upstreams = source();
        if upstreams != **self.upstreams.load() {
            tracing::info!(?upstreams, "upstream resolvers have changed");
            self.upstreams.store(Arc::new(upstreams));
        }
    }

    /// True when there is nobody to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upstreams.load().is_empty()
    }

    /// Puts `query` (a whole packet with one question) to the resolvers and returns the answer under the query's id.
    ///
    /// # Errors
    /// [`ForwardError`] when there is no answer; an answer that says SERVFAIL is an answer.
    pub async fn exchange(&self, query: &[u8]) -> Result<Vec<u8>, ForwardError> {
        self.refresh();
        let upstreams = self.upstreams.load_full();
        if upstreams.is_empty() {
            return Err(ForwardError::NoUpstream);
        }
        let _permit = self.in_flight.try_acquire().map_err(|_| ForwardError::Busy)?;
        check_question(query).ok_or(ForwardError::Malformed)?;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = ForwardError::Silence;
        for attempt in 0..TRIES_MAX {
            let index = (first + attempt) % upstreams.len();
            let upstream = upstreams[index];
            match timeout(TRY_TIME_MAX, ask(upstream, query)).await {
                Ok(Ok(mut answer)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    answer[..2].copy_from_slice(&query[..2]);
                    return Ok(answer);
                }
                Ok(Err(source)) => last = ForwardError::Io { upstream, source },
                Err(_) => last = ForwardError::Silence,
            }
        }
        Err(last)
    }
}

/// `Some` for a packet with one whole question: what an answer must repeat.
fn check_question(packet: &[u8]) -> Option<()> {
    let one = read_u16(packet, 4)? == 1;
    let name = QueryName::read(packet, HEADER_BYTES).filter(|_| one)?;
    packet.get(HEADER_BYTES..HEADER_BYTES + name.wire().len() + 4).map(|_| ())
}

/// One try: UDP, then TCP when the answer was cut. A cut answer is returned when TCP fails: the client may know more.
async fn ask(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut packet = query.to_vec();
    packet[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    let answer = ask_udp(upstream, Keeping::default(), &packet).await?;
    if answer[2] & 0x02 == 0 {
        return Ok(answer);
    }
    let streamed = ask_stream(upstream, None, &Pool::default(), Keeping::default(), &packet).await;
    Ok(streamed.map_or(answer, |streamed| streamed.answer))
}
