//! What is told of a query at its end: its line in the log, its counts, and what a watcher sees of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::ask::{Ask, Reply};
use super::block::Block;
use super::{Chain, log};
use crate::answer::Transport;
use crate::corefile::LogClass;
use crate::message::{Query, parse_query};
use crate::metrics::{ScopeCounts, Served, Worker};
use crate::tap::Seen;

/// A query that the hot path has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'e> {
    /// The query's packet.
    pub(crate) query: &'e [u8],
    /// Who asked.
    pub(crate) peer: SocketAddr,
    /// The answer's packet.
    pub(crate) answer: &'e [u8],
    /// How it was asked.
    pub(crate) transport: Transport,
    /// How long it took.
    pub(crate) duration: Duration,
}

/// A query at its end.
pub(super) struct Ended<'e> {
    pub(super) query: &'e Query<'e>,
    pub(super) ask: &'e Ask,
    pub(super) reply: &'e Reply,
    pub(super) answer: &'e [u8],
    pub(super) started: Instant,
}

impl Chain {
    /// Tells of a query that the plugins have answered.
    pub(super) fn tell(&self, ended: &Ended<'_>, block: &Block, counts: &ScopeCounts) {
        let Ended { query, ask, reply, answer, started } = *ended;
        let duration = started.elapsed();
        if let Some(errors) = &block.errors {
            errors.log(query, reply, &self.sink);
        }
        let rules = &block.config.log;
        let class = log::classify(answer);
        if rules.iter().any(|rule| rule.wants(class)) {
            let line = log::Line {
                query,
                peer: ask.peer,
                local: &self.local,
                transport: ask.transport,
                answer,
                rcode: reply.response.rcode,
                duration,
            };
            let mut lines = String::new();
            log::log(rules, class, &line, &mut lines);
            self.say(&lines);
        }
        let tap = self.metrics.tap();
        if tap.is_watched() {
            let (query, client, plugin) = (query.bytes, Some(ask.peer.ip()), reply.plugin);
            tap.note(std::iter::once(Seen { query, client, answer, plugin, duration }));
        }
        counts.served(&Served {
            transport: ask.transport,
            v6: ask.peer.is_ipv6(),
            kind: ask.kind,
            dnssec_ok: ask.dnssec_ok,
            request_bytes: query.bytes.len(),
            response_bytes: answer.len(),
            rcode: reply.response.rcode,
            plugin: reply.plugin,
            duration,
        });
    }

    /// Logs what the hot path has answered; all lines of a batch leave together.
    pub(crate) fn log_hot<'e>(&self, exchanges: impl Iterator<Item = Exchange<'e>>) {
        let mut lines = String::new();
        for exchange in exchanges {
            let class = log::classify(exchange.answer);
            if !self.hot_log.iter().any(|rule| rule.wants(class)) {
                continue;
            }
            let Ok(query) = parse_query(exchange.query) else { continue };
            let line = log::Line {
                query: &query,
                peer: exchange.peer,
                local: &self.local,
                transport: exchange.transport,
                answer: exchange.answer,
                rcode: u16::from(exchange.answer.get(3).copied().unwrap_or(0) & 0x0f),
                duration: exchange.duration,
            };
            log::log(&self.hot_log, class, &line, &mut lines);
        }
        self.say(&lines);
    }

    fn say(&self, lines: &str) {
        if !lines.is_empty() {
            (self.sink)(lines.trim_end_matches('\n'));
        }
    }

    /// Has a thread of the hot path count, and tell, for this chain.
    pub(crate) fn takes_on(&self, worker: &Worker) {
        worker.set_scope(self.hot_scope());
        worker.set_logged(!self.hot_log.is_empty());
    }
}

impl crate::corefile::LogRule {
    /// True when answers of this class have a line.
    pub(super) fn wants(&self, class: LogClass) -> bool {
        self.classes.contains(&LogClass::All) || self.classes.contains(&class)
    }
}
