//! One server block: its plugins, in the order in which a query passes them.

use std::sync::Arc;

use super::ask::{Ask, Reply, name_text, record, zone_of};
use super::autopath::Search;
use super::cache::Cache;
use super::forward::Forward;
use super::hosts::Hosts;
use super::log::Errors;
use super::loops::Probes;
use super::template::Templated;
use super::{Chain, ChainError, Cluster, Surroundings, local, order, rewrite, template};
use crate::answer::Transport;
use crate::corefile::{self, HeaderBit};
use crate::message::{Query, rcode, rtype};
use crate::metrics::{Scope, ScopeCounts, cache_labels};
use crate::zone::Zone;

mod outside;

/// What the plugins say that ask nobody, with the template that made it.
enum Local<'b> {
    /// An answer.
    Reply(Reply, Option<&'b corefile::Template>),
    /// Aliases, the last of which leads elsewhere.
    Aliases(Reply, Option<&'b corefile::Template>),
    /// Nothing: the name is outside.
    Outside,
}

/// The plugins of one block.
pub(super) struct Block {
    pub(super) config: corefile::Block,
    /// Where queries are counted, for each key.
    pub(super) scopes: Vec<Arc<ScopeCounts>>,
    pub(super) errors: Option<Errors>,
    pub(super) hosts: Option<Arc<Hosts>>,
    search: Option<Search>,
    cache: Option<Arc<Cache>>,
    forwards: Vec<Arc<Forward>>,
    probes: Arc<Probes>,
}

impl Block {
    pub(super) fn new(
        config: &corefile::Block,
        server: &str,
        around: &Surroundings,
    ) -> Result<Self, ChainError> {
        let scope = |key: &corefile::Key| {
            around.metrics.scope(&Scope { server: server.into(), zone: key.zone.to_string() })
        };
        let forwards =
            config.forward.iter().map(|forward| Forward::new(forward, &around.avoid, &around.metrics));
        let block = Self {
            scopes: config.keys.iter().map(scope).collect(),
            errors: config.errors.as_ref().map(Errors::new),
            hosts: config.hosts.as_ref().map(|hosts| Arc::new(Hosts::new(hosts))),
            search: config.autopath.as_ref().map(Search::new),
            cache: config.cache.as_ref().map(|cache| Arc::new(Cache::new(cache))),
            forwards: forwards.map(|forward| forward.map(Arc::new)).collect::<Result<_, _>>()?,
            probes: Arc::default(),
            config: config.clone(),
        };
        block.report_cache(around);
        if let Some(hosts) = &block.hosts {
            around.metrics.follow(hosts, |hosts, each| {
                each("coredns_hosts_entries", String::new(), hosts.len() as u64);
            });
        }
        Ok(block)
    }

    fn report_cache(&self, around: &Surroundings) {
        let (Some(cache), Some(config), Some(scope)) = (&self.cache, &self.config.cache, self.scopes.first())
        else {
            return;
        };
        let zones: Vec<String> = config.zones.iter().map(ToString::to_string).collect();
        let (zones, counted) = (zones.join(","), Arc::clone(scope));
        around.metrics.follow(cache, move |cache, each| {
            let label = |kind| cache_labels(&counted.scope, &zones, kind);
            let (success, denial) = cache.lengths();
            let counts = &cache.counts;
            each("coredns_cache_entries", label(Some("success")), success as u64);
            each("coredns_cache_entries", label(Some("denial")), denial as u64);
            each("coredns_cache_requests_total", label(None), counts.requests.get());
            each("coredns_cache_hits_total", label(Some("success")), counts.hits_success.get());
            each("coredns_cache_hits_total", label(Some("denial")), counts.hits_denial.get());
            each("coredns_cache_misses_total", label(None), counts.misses.get());
            each("coredns_cache_prefetch_total", label(None), counts.prefetches.get());
            each("coredns_cache_served_stale_total", label(None), counts.served_stale.get());
            each("coredns_cache_evictions_total", label(Some("success")), counts.evictions_success.get());
            each("coredns_cache_evictions_total", label(Some("denial")), counts.evictions_denial.get());
        });
    }

    /// The index of the key whose zone is the longest that the name is in.
    pub(super) fn zone_of(&self, name: &[u8]) -> Option<usize> {
        let keys = self.config.keys.iter().enumerate();
        let matching = keys.filter(|(_, key)| super::ask::is_within(name, key.zone.as_wire()));
        matching.max_by_key(|(_, key)| super::label_count(key.zone.as_wire())).map(|(index, _)| index)
    }

    /// Bytes that the client may be sent.
    pub(super) fn size_max(&self, query: &Query<'_>, transport: Transport) -> usize {
        let size = crate::answer::size_max(query, transport);
        match (transport, self.config.bufsize) {
            (Transport::Udp, Some(most)) => size.min(usize::from(most)),
            _ => size,
        }
    }

    /// The answer out of the cache, when no plugin of the block has anything to do with the question.
    pub(super) fn remembered(&self, ask: &Ask, zone: &Zone) -> Option<Reply> {
        let plain = self.config.rewrite.is_empty()
            && !self.config.minimal
            && self.config.header.is_empty()
            && self.in_front(ask).is_none()
            && self.config.template.iter().all(|template| zone_of(&ask.name, &template.zones).is_none())
            && self.search.as_ref().is_none_or(|search| search.walk(ask, zone).is_empty())
            && self.hosts.as_ref().is_none_or(|hosts| hosts.answer(ask).is_none());
        let cache = self.cache.as_ref().filter(|cache| plain && cache.takes(&ask.name))?;
        let mut response = cache.peek(ask)?;
        if self.config.loadbalance {
            order::shuffle(&mut response);
        }
        Some(Reply { response, plugin: "cache", error: None })
    }

    /// Starts the probes of upstreams.
    pub(super) fn start(&self) {
        if let Some(key) = self.config.keys.first().filter(|_| self.config.detect_loops) {
            let forwards = self.forwards.iter().map(Arc::downgrade).collect();
            tokio::spawn(super::loops::probe(key.zone.clone(), Arc::downgrade(&self.probes), forwards));
        }
    }

    /// The answer of the whole block.
    pub(super) async fn answer(&self, chain: &Arc<Chain>, ask: Ask) -> Reply {
        if let Some(mut reply) = self.in_front(&ask) {
            self.finish(&mut reply);
            return reply;
        }
        let mut reply = match rewrite::apply(&self.config.rewrite, &ask) {
            Ok(None) => self.searched(chain, &ask).await,
            Ok(Some((changed, reverts))) => {
                let mut reply = self.searched(chain, &changed).await;
                reverts.apply(&mut reply.response);
                reply
            }
            Err(error) => Reply::failure(error, "rewrite"),
        };
        self.finish(&mut reply);
        reply
    }

    /// What is said before anything is rewritten or looked up.
    fn in_front(&self, ask: &Ask) -> Option<Reply> {
        let local = self.config.local.then(|| local::local(ask)).flatten();
        local.or_else(|| self.config.any.then(|| local::any(ask)).flatten())
    }

    /// Behind all plugins: `minimal`, `header`, `loadbalance`.
    fn finish(&self, reply: &mut Reply) {
        let response = &mut reply.response;
        if self.config.minimal && response.rcode == rcode::NOERROR && !response.answers.is_empty() {
            response.authority.clear();
            response.additional.clear();
        }
        for rule in &self.config.header {
            match rule.bit {
                HeaderBit::Authoritative => response.authoritative = rule.value,
                HeaderBit::RecursionAvailable => response.recursion_available = rule.value,
            }
        }
        if self.config.loadbalance {
            order::shuffle(response);
        }
    }

    /// Behind `rewrite`: the name, or what the client's search list makes of it.
    async fn searched(&self, chain: &Arc<Chain>, ask: &Ask) -> Reply {
        let reply = self.found(chain, ask).await;
        let Some(search) = self.search.as_ref().filter(|_| reply.response.rcode == rcode::NXDOMAIN) else {
            return reply;
        };
        for name in search.walk(ask, &chain.zone.load()) {
            let Some(next) = ask.renamed(name) else { break };
            let mut found = Box::pin(self.found(chain, &next)).await;
            match found.response.rcode {
                rcode::NXDOMAIN => {}
                rcode::NOERROR => {
                    let ttl = found.response.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
                    let alias = record(&ask.name, rtype::CNAME, ttl, next.name);
                    found.response.answers.insert(0, alias);
                    self.scopes[0].searches.add(1);
                    return found;
                }
                _ => return found,
            }
        }
        reply
    }

    /// The answer, when no plugin has to ask anybody for it. What the client's search list would be walked for is asked again
    /// by [`Block::answer`].
    pub(super) fn answer_now(&self, chain: &Chain, ask: &Ask) -> Option<Reply> {
        if !self.may_know(chain) {
            return None;
        }
        if let Some(mut reply) = self.in_front(ask) {
            self.finish(&mut reply);
            return Some(reply);
        }
        let changed = match rewrite::apply(&self.config.rewrite, ask) {
            Ok(changed) => changed,
            Err(error) => return Some(Reply::failure(error, "rewrite")),
        };
        let (ask, reverts) = match &changed {
            Some((ask, reverts)) => (ask, Some(reverts)),
            None => (ask, None),
        };
        let mut reply = match self.local(chain, ask) {
            Local::Reply(reply, template) => {
                self.count_template(chain, ask, template);
                reply
            }
            Local::Aliases(..) => return None,
            Local::Outside => {
                let cache = self.cache.as_ref().filter(|cache| cache.takes(&ask.name))?;
                Reply { response: cache.peek(ask)?, plugin: "cache", error: None }
            }
        };
        if self.search.is_some() && reply.response.rcode == rcode::NXDOMAIN {
            return None;
        }
        if let Some(reverts) = reverts {
            reverts.apply(&mut reply.response);
        }
        self.finish(&mut reply);
        Some(reply)
    }

    /// True when a plugin may have an answer by itself that the hot path has not.
    fn may_know(&self, chain: &Chain) -> bool {
        self.config.local
            || self.config.any
            || !self.config.rewrite.is_empty()
            || !self.config.template.is_empty()
            || self.hosts.is_some()
            || (self.config.kubernetes.is_some() && !chain.is_hot())
    }

    /// Behind `autopath`: whoever knows the name.
    async fn found(&self, chain: &Arc<Chain>, ask: &Ask) -> Reply {
        match self.local(chain, ask) {
            Local::Reply(reply, template) => {
                self.count_template(chain, ask, template);
                reply
            }
            Local::Aliases(reply, None) => chain.chase(ask, reply.response, reply.plugin).await,
            Local::Aliases(reply, template) => {
                self.count_template(chain, ask, template);
                let chased = chain.chase(ask, reply.response.clone(), reply.plugin).await;
                // As CoreDNS: an alias whose target fails is still an answer.
                if chased.error.is_none() { chased } else { reply }
            }
            Local::Outside => self.outside(chain, ask).await,
        }
    }

    /// What the plugins in front of the cache say, which ask nobody.
    fn local(&self, chain: &Chain, ask: &Ask) -> Local<'_> {
        if let Some(reply) = self.probes.caught(ask) {
            return Local::Reply(reply, None);
        }
        for template in &self.config.template {
            let Templated::Reply(reply) = template::answer(template, ask) else { continue };
            let alias = reply.response.answers.last().is_some_and(|last| last.kind == rtype::CNAME);
            if alias && super::ask::is_address(ask.kind) && reply.response.rcode == rcode::NOERROR {
                return Local::Aliases(reply, Some(template));
            }
            return Local::Reply(reply, Some(template));
        }
        if let Some(reply) = self.hosts.as_ref().and_then(|hosts| hosts.answer(ask)) {
            return Local::Reply(reply, None);
        }
        let serves = |kubernetes: &corefile::Kubernetes| zone_of(&ask.name, &kubernetes.zones).is_some();
        if self.config.kubernetes.as_ref().is_none_or(|kubernetes| !serves(kubernetes)) {
            return Local::Outside;
        }
        match chain.kubernetes(ask) {
            Cluster::Pass => Local::Outside,
            Cluster::Reply(reply) => Local::Reply(reply, None),
            Cluster::Aliases(reply) => Local::Aliases(reply, None),
        }
    }

    fn count_template(&self, chain: &Chain, ask: &Ask, template: Option<&corefile::Template>) {
        let Some(zone) = template.and_then(|template| zone_of(&ask.name, &template.zones)) else { return };
        let (zone, kind) = (name_text(zone.as_wire()), crate::message::records::kind_name(ask.kind));
        let server = &self.scopes[0].scope.server[..];
        let pairs =
            [("server", server), ("zone", &zone[..]), ("view", ""), ("class", "IN"), ("type", &kind[..])];
        chain.metrics.add("coredns_template_matches_total", &pairs, 1);
    }
}
