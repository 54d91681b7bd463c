//! Behind the plugins that ask nobody: names outside, from the block's cache or from its upstreams.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::super::Chain;
use super::super::ask::{Ask, Reply};
use super::super::cache::{Cache, Entry, Found};
use super::super::forward::{Forward, ForwardError};
use super::Block;
use crate::message::rcode;

impl Block {
    /// Names outside: from memory, or from an upstream.
    pub(super) async fn outside(&self, chain: &Arc<Chain>, ask: &Ask) -> Reply {
        let Some(cache) = self.cache.as_ref().filter(|cache| cache.takes(&ask.name)) else {
            return self.forwarded(ask).await;
        };
        match cache.find(ask) {
            Found::Fresh(response) => Reply { response, plugin: "cache", error: None },
            Found::Miss => cache.ask_once(ask, pin!(self.forwarded(ask))).await,
            Found::Renew(response, entry) => {
                self.renew(chain, cache, ask, entry);
                Reply { response, plugin: "cache", error: None }
            }
            Found::Stale(response, entry) => {
                let asking = self.renew(chain, cache, ask, entry);
                let stale = cache.serve_stale().filter(|stale| stale.verify);
                if let Some((stale, asking)) = stale.zip(asking)
                    && let Some(reply) = within(stale.patience, asking).await
                    && matches!(reply.response.rcode, rcode::NOERROR | rcode::NXDOMAIN)
                {
                    return reply;
                }
                Reply { response, plugin: "cache", error: None }
            }
        }
    }

    /// Asks again for what the cache still answers, on a task of its own: it goes on when nobody waits any more (RFC 8767
    /// §5). `None` when somebody does so already.
    fn renew(
        &self,
        chain: &Arc<Chain>,
        cache: &Arc<Cache>,
        ask: &Ask,
        entry: Arc<Entry>,
    ) -> Option<JoinHandle<Option<Reply>>> {
        if !entry.begin_renewal() {
            return None;
        }
        cache.counts.prefetches.add(1);
        let (chain, cache, ask) = (Arc::clone(chain), Arc::clone(cache), ask.clone());
        Some(tokio::spawn(async move {
            let block = chain.block_of(&ask.name).map(|(block, _)| Arc::clone(block));
            let reply = match block {
                Some(block) => Some(cache.ask_once(&ask, pin!(block.forwarded(&ask))).await),
                None => None,
            };
            entry.end_renewal();
            reply
        }))
    }

    /// Asks the first `forward` that takes the name, and the next ones while it says so.
    async fn forwarded(&self, ask: &Ask) -> Reply {
        let takers: Vec<&Arc<Forward>> =
            self.forwards.iter().filter(|forward| forward.takes(&ask.name)).collect();
        let Some((last, first)) = takers.split_last() else {
            return Reply::failure("no plugin of this server block answers the name", "");
        };
        for forward in first {
            let reply = exchange(forward, ask).await;
            if reply.error.is_none() && !forward.passes_on(&reply.response) {
                return reply;
            }
            if reply.error.is_some() {
                return reply;
            }
        }
        exchange(last, ask).await
    }
}

/// What a task comes to, unless the patience ends before.
async fn within(patience: Option<Duration>, asking: JoinHandle<Option<Reply>>) -> Option<Reply> {
    match patience {
        None => asking.await.ok().flatten(),
        Some(patience) => tokio::time::timeout(patience, asking).await.ok()?.ok().flatten(),
    }
}

async fn exchange(forward: &Forward, ask: &Ask) -> Reply {
    match forward.exchange(ask).await {
        Ok(response) => Reply { response, plugin: "forward", error: None },
        Err(error) => {
            let code = if matches!(error, ForwardError::Busy(_)) { rcode::REFUSED } else { rcode::SERVFAIL };
            let mut reply = Reply::failure(error.to_string(), "forward");
            reply.response.rcode = code;
            reply
        }
    }
}
