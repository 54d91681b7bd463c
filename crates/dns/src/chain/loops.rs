//! `loop`: finds upstreams that lead back here. CoreDNS ends itself then, which is the best known cause of its crash
//! loops; here the upstream is left out, and said so.
//!
//! Each upstream is asked once for a random name. When that very question arrives here, it came through that upstream.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ask::{Ask, Reply};
use super::forward::Forward;
use super::upstream::Upstream;
use crate::message::rcode;
use crate::name::Name;

/// HINFO, as CoreDNS's probe.
const HINFO: u16 = 13;
/// How long a probe may be on its way.
const PROBE_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks for upstreams that were not probed yet.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// The probes that are on their way.
#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<Vec<u8>, Probe>>);

/// Whom a name was asked of, and when.
type Probe = (Arc<Upstream>, Instant);

impl Probes {
    /// The name to ask an upstream for.
    fn add(&self, zone: &Name, upstream: &Arc<Upstream>) -> Vec<u8> {
        let mut text = String::new();
        for _ in 0..2 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}.", rand::random::<u64>() >> 2);
        }
        let mut name = text.parse::<Name>().map(|name| name.as_wire().to_vec()).unwrap_or_default();
        name.pop();
        name.extend(zone.as_wire());
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        probes.retain(|_, (_, since)| since.elapsed() < PROBE_TIME_MAX);
        probes.insert(name.clone(), (Arc::clone(upstream), Instant::now()));
        name
    }

    /// The answer to a question that is one of our own probes.
    pub(super) fn caught(&self, ask: &Ask) -> Option<Reply> {
        if ask.kind != HINFO {
            return None;
        }
        let probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (upstream, _) = probes.get(&ask.name)?;
        if upstream.mark_looping() {
            tracing::error!(
                upstream = %upstream.label(),
                "this upstream resolver leads back here: it is left out; name another in the Corefile, or in the \
                 resolv.conf that it is read from"
            );
        }
        Some(Reply::code(rcode::SERVFAIL, "loop"))
    }
}

/// Probes every upstream once, also those that come later, for as long as the chain lives.
pub(super) async fn probe(
    zone: Name,
    probes: std::sync::Weak<Probes>,
    forwards: Vec<std::sync::Weak<Forward>>,
) {
    let mut probed: Vec<std::net::SocketAddr> = Vec::new();
    loop {
        let Some(probes) = probes.upgrade() else { return };
        for forward in forwards.iter().filter_map(std::sync::Weak::upgrade) {
            for upstream in forward.upstreams().iter() {
                if probed.contains(&upstream.address) {
                    continue;
                }
                let name = probes.add(&zone, upstream);
                // An upstream that is not there yet is probed when it is.
                if forward.probe(upstream, name, HINFO).await || upstream.is_looping() {
                    probed.push(upstream.address);
                }
            }
        }
        drop(probes);
        let known = |forward: Arc<Forward>| {
            forward.is_fixed()
                && forward.upstreams().iter().all(|upstream| probed.contains(&upstream.address))
        };
        if forwards.iter().filter_map(std::sync::Weak::upgrade).all(known) {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
