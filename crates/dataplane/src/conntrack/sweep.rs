//! Cuts UDP flows to endpoints that a service port no longer has.

use std::collections::HashMap;
use std::net::SocketAddr;

use services::Protocol;

use super::filter::Scope;
use super::tuple::IPV6;
use super::{Conntrack, Flow, delete, dump};
use crate::NetlinkError;
use crate::forwarding_table::{ForwardingTable, Frontend, FrontendKey};
use crate::netlink::Socket;

/// Flows that are deleted by one system call: their answers fit a receive buffer of the usual size.
const BATCH: usize = 64;

/// Service ports with the endpoints that their flows may go to.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Endpoints are sorted.
    targets: HashMap<FrontendKey, Box<[SocketAddr]>>,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that were cut.
    pub deleted: usize,
    /// Those of them that were IPv6.
    pub deleted_ipv6: usize,
    /// Dumps that it took: one for each IP family at most.
    pub dumps: usize,
    /// Flows that the kernel sent in them.
    pub sent: u64,
    /// Flows among them that it was asked not to send, as kernels before 5.8 do: the sweep is right, but slow.
    pub unasked: u64,
}

impl Sweep {
    /// The UDP ones among `keys`, with their endpoints as of now; a port that is gone has none.
    #[must_use]
    pub fn new(table: &ForwardingTable, keys: &[FrontendKey]) -> Self {
        let endpoints = |key| table.frontend(key).into_iter().flat_map(Frontend::endpoints);
        Self::of(keys.iter().map(|key| (*key, endpoints(key))))
    }

    /// Frontends of any kind with all endpoints that their flows may go to, whichever list chose them: a flow is cut
    /// when its endpoint is none of them, and every flow where there is none. Only UDP counts: TCP endpoints end
    /// their connections themselves, and SCTP's associations know several addresses.
    #[must_use]
    pub fn of<E: IntoIterator<Item = SocketAddr>>(
        frontends: impl IntoIterator<Item = (FrontendKey, E)>,
    ) -> Self {
        let udp = frontends.into_iter().filter(|(key, _)| key.protocol == Protocol::Udp);
        let sorted = |endpoints: E| {
            let mut endpoints: Vec<SocketAddr> = endpoints.into_iter().collect();
            endpoints.sort_unstable();
            endpoints.dedup();
            endpoints.into_boxed_slice()
        };
        Self { targets: udp.map(|(key, endpoints)| (key, sorted(endpoints))).collect() }
    }

    /// True when there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes over a later sweep's targets.
    pub fn merge(&mut self, later: Self) {
        self.targets.extend(later.targets);
    }

    fn is_stale(&self, flow: &Flow) -> bool {
        let endpoints = self.targets.get(&flow.frontend());
        endpoints.is_some_and(|endpoints| endpoints.binary_search(&flow.reply.source).is_err())
    }
}

impl Conntrack {
    /// Deletes the flows of the sweep's service ports that lead elsewhere than to their endpoints.
    ///
    /// # Errors
    /// When the kernel refuses; flows deleted until then stay deleted.
    pub fn sweep(&mut self, sweep: &Sweep) -> Result<Swept, NetlinkError> {
        let mut swept = Swept::default();
        for scope in Scope::covering(sweep.targets.keys()) {
            let mut stale = Stale { socket: &mut self.calls, flows: Vec::with_capacity(BATCH), deleted: 0 };
            let seen =
                dump(
                    &mut self.dumps,
                    &scope,
                    |flow| {
                        if sweep.is_stale(&flow) { stale.push(flow) } else { Ok(()) }
                    },
                )?;
            stale.flush()?;
            swept.deleted += stale.deleted;
            swept.deleted_ipv6 += if scope.family == IPV6 { stale.deleted } else { 0 };
            swept.dumps += 1;
            swept.sent += seen.sent;
            swept.unasked += seen.unasked;
        }
        Ok(swept)
    }
}

/// Deletes flows some at a time, while the dump that finds them goes on: the kernel goes on behind one that went.
struct Stale<'a> {
    socket: &'a mut Socket,
    flows: Vec<Flow>,
    deleted: usize,
}

impl Stale<'_> {
    fn push(&mut self, flow: Flow) -> Result<(), NetlinkError> {
        self.flows.push(flow);
        if self.flows.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), NetlinkError> {
        self.deleted += delete(self.socket, &self.flows)?;
        self.flows.clear();
        Ok(())
    }
}
