//! What answers the queries that the zone alone does not: the server blocks of a Corefile with their plugins.
//!
//! ```text
//! UDP thread ── the zone knows ──────────────────────────────► answer          (the hot path, no plugin in it)
//!      ├─ a plugin knows, without asking anybody ───────────► answer
//!      └─ it does not ─► block by the longest zone
//!                          rewrite ─► autopath ─► template ─► hosts ─► kubernetes ─► cache ─► forward
//!                          and back: loadbalance, rewritten answers, log, errors, metrics
//! ```
//! The order is CoreDNS's, but for the cache, which stands in front of `forward` alone. [`Chain::hot_zone`] decides what the
//! hot path may answer by itself: everything in the cluster's zones, unless a plugin in front of `kubernetes` could say
//! something else; then it answers nothing, and every query comes here. kubeadm's Corefile leaves it untouched.

mod aliased;
mod ask;
mod autopath;
mod block;
mod cache;
mod encode;
mod forward;
mod hosts;
mod hot_zone;
mod local;
mod log;
mod loops;
mod order;
mod rewrite;
mod template;
mod tls;
mod told;
pub(crate) mod transport;
mod upstream;

pub use aliased::passed_on;
pub(crate) use ask::name_text;
pub use log::Sink;
pub(crate) use told::Exchange;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::answer::{Transport, size_max};
use crate::corefile;
use crate::message::records::{Response, read_response};
use crate::message::{parse_query, rcode};
use crate::metrics::{Metrics, Scope, ScopeCounts};
use crate::name::labels;
use crate::zone::{Zone, ZoneConfig};
use ask::{Ask, Reply};
use block::Block;
use told::Ended;

/// Why the plugins of a Corefile cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A certificate or a key.
    #[error("cannot use {file} for DNS over TLS")]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No file with the system's authorities.
    #[error(
        "this system has no file of trusted authorities for DNS over TLS: install ca-certificates, or name one behind tls"
    )]
    NoAuthorities,
    /// TLS itself.
    #[error("cannot set up TLS")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// A name that no certificate can hold.
    #[error("{0:?} is no name of a TLS server")]
    ServerName(String),
    /// Two blocks of one port serve the cluster in two ways.
    #[error(
        "{second}: a second kubernetes plugin on one port with other settings than the first at {first}: only their zones and \
         fallthrough may differ"
    )]
    TwoClusters {
        /// The first.
        first: corefile::Position,
        /// The second.
        second: corefile::Position,
    },
}

/// The plugins of all server blocks that share one address.
pub struct Chain {
    blocks: Vec<Arc<Block>>,
    /// The zone as the `kubernetes` plugin has it.
    zone: ArcSwap<Zone>,
    zone_config: Arc<ZoneConfig>,
    hot: Option<Arc<ZoneConfig>>,
    hot_scope: Scope,
    /// Rules for the lines of what the hot path answers.
    hot_log: Vec<corefile::LogRule>,
    synced: AtomicBool,
    metrics: Arc<Metrics>,
    sink: Sink,
    local: String,
}

/// An answer that the hot path's thread has made with the plugins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Its length.
    pub(crate) length: usize,
    /// It is counted and logged already.
    pub(crate) told: bool,
}

/// What the cluster's zone says to a question.
enum Cluster {
    /// Nothing: the next plugin.
    Pass,
    /// An answer.
    Reply(Reply),
    /// Aliases, the last of which leads elsewhere.
    Aliases(Reply),
}

/// What a chain is made with besides its blocks.
#[derive(Clone)]
pub struct Surroundings {
    /// Addresses that we answer on: they tell which Service is the name server.
    pub own: Vec<IpAddr>,
    /// Addresses that must not be taken for upstreams from a `resolv.conf`: those where we answer on DNS's own port.
    pub avoid: Vec<IpAddr>,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
    /// Where the lines of `log` and `errors` go.
    pub sink: Sink,
}

impl Chain {
    /// The chain of these blocks, which all listen on `server` (`:53`, `10.0.0.10:53`).
    ///
    /// # Errors
    /// [`ChainError`] when a file that a plugin needs is of no use.
    pub fn new(
        blocks: &[&corefile::Block],
        server: &str,
        around: &Surroundings,
    ) -> Result<Arc<Self>, ChainError> {
        let server = format!("dns://{server}");
        let built = blocks.iter().map(|config| Block::new(config, &server, around));
        let built = built.collect::<Result<Vec<_>, _>>()?;
        let (zone_config, hot) = hot_zone::plan(blocks, &built, &around.own)?;
        let zone_config = Arc::new(zone_config);
        let serving = built.iter().find(|block| block.config.kubernetes.is_some());
        let serving = serving.or(built.first());
        let hot_log = serving.map(|block| block.config.log.clone()).unwrap_or_default();
        let hot_scope = serving.and_then(|block| block.scopes.first());
        let hot_scope = hot_scope.map(|counts| counts.scope.clone()).unwrap_or_default();
        Ok(Arc::new(Self {
            zone: ArcSwap::from_pointee(Zone::empty(Arc::clone(&zone_config))),
            zone_config,
            hot: hot.map(Arc::new),
            hot_scope,
            hot_log,
            blocks: built.into_iter().map(Arc::new).collect(),
            synced: AtomicBool::new(false),
            metrics: Arc::clone(&around.metrics),
            sink: Arc::clone(&around.sink),
            local: server,
        }))
    }

    /// What the zone that [`Chain::publish`] is given must be built with.
    #[must_use]
    pub fn zone_config(&self) -> &Arc<ZoneConfig> {
        &self.zone_config
    }

    /// The zone of the `kubernetes` plugin from now on.
    pub fn publish(&self, zone: Arc<Zone>) {
        self.zone.store(zone);
    }

    /// Says whether the zone holds everything that the model will have.
    pub fn set_synced(&self, synced: bool) {
        self.synced.store(synced, Ordering::Release);
    }

    /// What the hot path may answer from by itself, out of the zone that is published: names that it leaves out come
    /// here.
    #[must_use]
    pub fn hot_zone(&self, zone: &Arc<Zone>) -> Arc<Zone> {
        match &self.hot {
            Some(config) if **config == *self.zone_config => Arc::clone(zone),
            Some(config) => Arc::new(zone.with_config(Arc::clone(config))),
            None => Arc::new(Zone::empty(Arc::new(ZoneConfig::forward_only()))),
        }
    }

    /// True when the hot path answers the cluster's names by itself.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.hot.is_some()
    }

    /// What answers of the hot path count for.
    #[must_use]
    pub fn hot_scope(&self) -> Scope {
        self.hot_scope.clone()
    }

    /// Counters for a thread of the hot path.
    #[must_use]
    pub(crate) fn worker(&self, transport: Transport, v6: bool) -> Arc<crate::metrics::Worker> {
        let worker = self.metrics.worker(transport, v6);
        self.takes_on(&worker);
        worker
    }

    /// The answer to a query that the hot path passed on, when nobody has to be asked for it: it takes no time worth another
    /// thread, so the hot path's thread does it.
    pub(crate) fn answer_now(&self, packet: &[u8], peer: SocketAddr, buffer: &mut [u8]) -> Option<Now> {
        let started = Instant::now();
        let query = parse_query(packet).ok()?;
        let ask = Ask::of(&query, peer, Transport::Udp);
        let (block, counts) = self.block_of(&ask.name)?;
        // What the thread counts is counted for one zone, and the cluster's names are only told apart on the hot path.
        let apart = self.hot.is_none() && block.config.kubernetes.is_some();
        let remembered = if apart || counts.scope != self.hot_scope {
            None
        } else {
            block.remembered(&ask, &self.zone.load())
        };
        let told = remembered.is_none();
        let reply = remembered.or_else(|| block.answer_now(self, &ask))?;
        let size = block.size_max(&query, Transport::Udp).min(buffer.len());
        let answer = encode::encode(&query, &reply.response, size);
        if answer.is_empty() {
            return None;
        }
        buffer.get_mut(..answer.len())?.copy_from_slice(&answer);
        if told {
            let ended = Ended { query: &query, ask: &ask, reply: &reply, answer: &answer, started };
            self.tell(&ended, block, counts);
        }
        Some(Now { length: answer.len(), told })
    }

    /// Starts what goes on beside the queries: probes of upstreams. Must be called within a runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        self.blocks.iter().for_each(|block| block.start());
    }

    /// The whole answer to a query that the zone cannot answer alone. `partial` is the zone's part, if it has one. Empty
    /// when there is nothing to send.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        packet: &[u8],
        partial: Option<&[u8]>,
        transport: Transport,
        peer: SocketAddr,
    ) -> Vec<u8> {
        let started = Instant::now();
        let Ok(query) = parse_query(packet) else { return Vec::new() };
        let ask = Ask::of(&query, peer, transport);
        let reply = match partial.and_then(read_response) {
            Some(aliases) => self.chase(&ask, aliases, "kubernetes").await,
            None => self.resolve(ask.clone()).await,
        };
        let block = self.block_of(&ask.name);
        let size = block.map_or(size_max(&query, transport), |(block, _)| block.size_max(&query, transport));
        let answer = encode::encode(&query, &reply.response, size);
        if let Some((block, counts)) = block {
            let ended = Ended { query: &query, ask: &ask, reply: &reply, answer: &answer, started };
            self.tell(&ended, block, counts);
        }
        answer
    }

    /// The block whose zone is the longest that the name is in, and where its queries are counted.
    fn block_of(&self, name: &[u8]) -> Option<(&Arc<Block>, &ScopeCounts)> {
        let matching = self.blocks.iter().filter_map(|block| Some((block, block.zone_of(name)?)));
        let (block, index) =
            matching.max_by_key(|(block, index)| block.config.keys[*index].zone.as_wire().len())?;
        Some((block, &block.scopes[index]))
    }

    /// Asks the plugins of the block that the name belongs to.
    async fn resolve(self: &Arc<Self>, ask: Ask) -> Reply {
        match self.block_of(&ask.name) {
            Some((block, _)) => block.answer(self, ask).await,
            None => Reply::code(rcode::REFUSED, ""),
        }
    }

    /// The same as a value of its own: plugins ask the chain that they stand in.
    fn resolve_within(self: &Arc<Self>, ask: Ask) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(self.resolve(ask))
    }

    /// Joins aliases with what the chain says about the target of the last one. Without an answer the whole is SERVFAIL:
    /// a CNAME alone would be taken for "no address".
    async fn chase(self: &Arc<Self>, ask: &Ask, aliases: Response, plugin: &'static str) -> Reply {
        let target = aliases.answers.last().map(|alias| alias.data.to_ascii_lowercase());
        let Some(target) = target.and_then(|target| ask.renamed(target)) else {
            return Reply::failure("an alias leads nowhere", plugin);
        };
        let mut outside = Ask { recursion: true, edns: true, ..target };
        outside.transport = Transport::Udp;
        let reply = self.resolve_within(outside).await;
        match aliased::join(aliases, reply.response) {
            Some(response) => Reply { response, plugin, error: None },
            None => Reply::failure(reply.error.unwrap_or_default(), plugin),
        }
    }

    /// What the cluster's zone says by itself.
    fn kubernetes(&self, ask: &Ask) -> Cluster {
        use crate::answer::{Context, Outcome, answer};
        let synced = self.synced.load(Ordering::Acquire);
        let context = Context { transport: Transport::Tcp, synced, rotation: rand::random() };
        let packet = ask.packet(ask.id);
        let zone = self.zone.load_full();
        crate::server::with_scratch(|buffer| {
            let (is_whole, length) = match answer(&zone, &packet, context, buffer) {
                Outcome::Reply(length) => (true, length),
                Outcome::Chase(length) => (false, length),
                Outcome::Silent | Outcome::Forward => return Cluster::Pass,
            };
            let Some(response) = read_response(&buffer[..length]) else { return Cluster::Pass };
            let reply = Reply { response, plugin: "kubernetes", error: None };
            if is_whole { Cluster::Reply(reply) } else { Cluster::Aliases(reply) }
        })
    }
}

/// Number of labels of a wire name.
fn label_count(wire: &[u8]) -> usize {
    labels(wire).count()
}

#[cfg(test)]
mod tests;
