//! SRV records with their weights, and the addresses of their targets.
//!
//! Numbers as CoreDNS: priority 0, weight 100 shared by all pairs of port and address (at least 1), one record for each
//! target and port. Targets are never compressed (RFC 2782); names made here are lower case, in front of the zone as the
//! client wrote it.

use std::net::IpAddr;

use services::SlicePort;

use super::respond::{Responder, put_host, with_host};
use crate::message::{Full, Section, Writer, read_u16, rtype};
use crate::zone::{Endpoint, Endpoints, PortFilter, Ports};

/// In an SRV record of ours, whose owner is a pointer: where the length of its data is.
const SRV_LENGTH: usize = 10;
/// Likewise: where its target is.
const SRV_TARGET: usize = 18;
/// Farthest offset that a compression pointer reaches (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3fff;

impl<'b> Responder<'_, '_, 'b> {
    /// The ports of a Service with a virtual IP.
    pub(super) fn write_cluster_ip_srv(
        &mut self,
        labels: &[u8],
        addresses: &[IpAddr],
        ports: &Ports,
        filter: PortFilter<'_>,
    ) {
        let matching = || ports.iter().filter(|port| filter.matches(*port));
        let weight = weight(matching().count() * addresses.len());
        for (index, port) in matching().enumerate() {
            if !matching().take(index).any(|earlier| earlier.number == port.number) {
                self.write_srv(None, labels, port.number, weight);
            }
        }
        // A Service without ports has no record whose target the addresses would be of.
        let target = self.query.question_end + SRV_TARGET;
        for address in addresses.iter().filter(|_| matching().next().is_some()) {
            self.write_target_address(None, labels, Some(target), *address);
        }
    }

    /// The ports of all endpoints.
    pub(super) fn write_headless_srv(
        &mut self,
        endpoints: &Endpoints,
        labels: &[u8],
        filter: PortFilter<'_>,
    ) {
        let unnamed = endpoints.iter().filter(|endpoint| endpoint.host.is_none());
        let hits = endpoints.sets().map(|(ports, count)| count * hits(ports, filter)).sum();
        self.write_endpoints_srv(endpoints, labels, filter, weight(hits), unnamed.chain(endpoints.named()));
    }

    /// The ports of the endpoints of one name.
    pub(super) fn write_endpoint_srv<'e>(
        &mut self,
        endpoints: &'e Endpoints,
        labels: &[u8],
        list: impl Iterator<Item = Endpoint<'e>> + Clone,
    ) {
        let any = PortFilter::default();
        let hits = list.clone().map(|endpoint| hits(endpoints.ports(endpoint), any)).sum();
        self.write_endpoints_srv(endpoints, labels, any, weight(hits), list);
    }

    /// `list` holds endpoints of one name one after the other, those with the same ports next to each other.
    fn write_endpoints_srv<'e>(
        &mut self,
        endpoints: &'e Endpoints,
        labels: &[u8],
        filter: PortFilter<'_>,
        weight: u16,
        list: impl Iterator<Item = Endpoint<'e>> + Clone,
    ) {
        let matching = |endpoint: Endpoint<'e>| {
            endpoints.ports(endpoint).iter().filter(move |port| filter.matches((*port).into()))
        };
        // `group` begins at the first endpoint of the present target, of which `done` are written.
        let (mut rest, mut group, mut done) = (list.clone(), list.clone(), 0);
        let mut previous = None::<Endpoint<'_>>;
        while !self.writer.is_cut() {
            let here = rest.clone();
            let Some(endpoint) = rest.next() else { break };
            previous = previous.filter(|previous| is_same_target(*previous, endpoint));
            if previous.is_none() {
                (group, done) = (here, 0);
            }
            let is_known = |index: usize, number: u16| {
                let earlier = group.clone().take(done).flat_map(matching);
                earlier.chain(matching(endpoint).take(index)).any(|port| port.port == number)
            };
            let same_ports = previous.is_some_and(|previous| previous.ports == endpoint.ports);
            for (index, port) in matching(endpoint).enumerate().filter(|_| !same_ports) {
                if !is_known(index, port.port) {
                    self.write_srv(Some(endpoint), labels, port.port, weight);
                }
            }
            (previous, done) = (Some(endpoint), done + 1);
        }
        self.write_target_addresses(labels, list.filter(|endpoint| matching(*endpoint).next().is_some()));
    }

    /// The addresses of endpoints, in the order in which they became targets.
    fn write_target_addresses<'e>(&mut self, labels: &[u8], list: impl Iterator<Item = Endpoint<'e>>) {
        let mut record = self.query.question_end;
        for endpoint in list {
            if self.writer.is_cut() {
                return;
            }
            let target = with_host(endpoint, |host| self.find_target(&mut record, host));
            self.write_target_address(Some(endpoint), labels, target, endpoint.address);
        }
    }

    /// Where the target that begins with `host` stands, from `record` on, an SRV record of this answer. So its addresses
    /// cost no second copy of the name: that decides whether a typical answer fits 512 bytes.
    fn find_target(&self, record: &mut usize, host: &[u8]) -> Option<usize> {
        let written = self.writer.written();
        while let Some(length) = read_u16(written, *record + SRV_LENGTH) {
            let target = *record + SRV_TARGET;
            let label = written.get(target + 1..target + 1 + usize::from(*written.get(target)?))?;
            if label == host {
                return Some(target);
            }
            *record += SRV_LENGTH + 2 + usize::from(length);
        }
        None
    }

    fn write_srv(&mut self, endpoint: Option<Endpoint<'_>>, labels: &[u8], port: u16, weight: u16) {
        let (owner, ttl) = (self.owner, self.zone.config().ttl);
        // The zone's part of the question, in the case it was asked; SRV is never asked behind an alias.
        let tail = self.query.bytes.get(self.tail..self.query.question_end - 4).unwrap_or_default();
        self.writer.record(
            Section::Answer,
            rtype::SRV,
            ttl,
            |writer| writer.pointer(owner),
            |writer| {
                let (weight, port) = (weight.to_be_bytes(), port.to_be_bytes());
                writer.put(&[0, 0, weight[0], weight[1], port[0], port[1]])?;
                put_target(writer, endpoint, labels)?;
                writer.put(tail)
            },
        );
    }

    /// `target` is where the name stands already; beyond the reach of a pointer it is written again.
    fn write_target_address(
        &mut self,
        endpoint: Option<Endpoint<'_>>,
        labels: &[u8],
        target: Option<usize>,
        address: IpAddr,
    ) {
        let tail = self.tail;
        let target = target.filter(|target| *target <= POINTER_MAX);
        self.write_address_of(Section::Additional, address, false, |writer: &mut Writer<'b>| match target {
            Some(target) => writer.pointer(target),
            None => {
                put_target(writer, endpoint, labels)?;
                writer.pointer(tail)
            }
        });
    }
}

fn is_same_target(one: Endpoint<'_>, other: Endpoint<'_>) -> bool {
    one.host.is_some() && one.host == other.host
}

/// Writes `[host.]service.namespace.svc`.
fn put_target(writer: &mut Writer<'_>, endpoint: Option<Endpoint<'_>>, labels: &[u8]) -> Result<(), Full> {
    if let Some(endpoint) = endpoint {
        put_host(writer, endpoint)?;
    }
    writer.put(labels)?;
    writer.put(b"\x03svc")
}

/// How often these ports count for the weight. An endpoint without ports counts once for "any", and has no record.
fn hits(ports: &[SlicePort], filter: PortFilter<'_>) -> usize {
    let matching = ports.iter().filter(|port| filter.matches((*port).into())).count();
    if ports.is_empty() && filter.is_any() { 1 } else { matching }
}

fn weight(hits: usize) -> u16 {
    u16::try_from(100 / hits.max(1)).unwrap_or(100).max(1)
}
