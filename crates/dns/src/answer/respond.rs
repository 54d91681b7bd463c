//! Writes what was found: records of the type that was asked, or the SOA record that says there is none.

use std::net::{IpAddr, Ipv4Addr};

use super::locate::{Found, Known, locate, suffix_of};
use super::{Context, Outcome};
use crate::message::{Full, HEADER_BYTES, Query, QueryName, Section, Writer, pointer, rcode, rtype};
use crate::name::Name;
use crate::zone::{Dashed, Endpoint, Kind, PortFilter, ServiceKey, ServiceRecords, Suffix, Uses, Zone};

/// Most CNAMEs in one answer, as CoreDNS; a longer chain, or a loop, is no data.
const CHAIN_MAX: usize = 10;
/// A SOA record to fill in: the zone as owner, `ns.dns` and `hostmaster` below it, and refresh, retry and expire as CoreDNS
/// has them, of 7200, 1800 and 86400 seconds. Nobody transfers the zone.
const SOA: [u8; 54] = *b"\0\0\0\x06\0\x01\0\0\0\0\0\x2a\x02ns\x03dns\0\0\x0ahostmaster\0\0\0\0\0\0\
                        \0\0\x1c\x20\0\0\x07\x08\0\x01\x51\x80\0\0\0\0";
/// Where the zone's name is pointed to.
const SOA_POINTERS: [usize; 3] = [0, 19, 32];
/// Where the record's lifetime, the serial and the lifetime of denials stand.
const SOA_TTL: usize = 6;
const SOA_SERIAL: usize = 34;
const SOA_MINIMUM: usize = 50;
/// Longest lifetime of a SOA record in seconds.
const SOA_TTL_MAX: u32 = 300;

/// One answer under construction.
pub(super) struct Responder<'z, 'q, 'b> {
    pub(super) zone: &'z Zone,
    pub(super) query: &'q Query<'q>,
    pub(super) writer: Writer<'b>,
    context: Context,
    /// Offset in the message of the name that records belong to.
    pub(super) owner: usize,
    /// Offset in the message of that name's zone, in the case that the client wrote.
    pub(super) tail: usize,
}

impl<'z, 'q, 'b> Responder<'z, 'q, 'b> {
    pub(super) fn new(zone: &'z Zone, query: &'q Query<'q>, context: Context, writer: Writer<'b>) -> Self {
        Self { zone, query, writer, context, owner: HEADER_BYTES, tail: HEADER_BYTES }
    }

    /// Writes the answer to a query that means `found` in the zone `suffix`.
    pub(super) fn respond(mut self, suffix: &'z Suffix, found: Found<'z, '_>) -> Outcome {
        self.enter(suffix, &self.query.name);
        match found {
            Found::Service { records: ServiceRecords { kind: Kind::ExternalName(target), .. }, .. } => {
                self.respond_alias(target)
            }
            found => self.respond_found(suffix, found),
        }
    }

    /// Sets where the zone of `name`, which stands at `owner`, begins.
    fn enter(&mut self, suffix: &Suffix, name: &QueryName) {
        self.tail = self.owner + name.start(name.label_count() - suffix.labels);
    }

    /// Follows aliases: inside by itself, outside by asking for it. Types that CoreDNS does not chase are no data.
    fn respond_alias(mut self, mut target: &'z Name) -> Outcome {
        let chased = matches!(self.query.qtype, rtype::A | rtype::AAAA | rtype::TXT);
        if !chased && self.query.qtype != rtype::CNAME {
            return self.negative(rcode::NOERROR);
        }
        for _ in 0..CHAIN_MAX {
            let Some(start) = self.write_alias(target) else {
                return Outcome::Reply(self.writer.finish(rcode::NOERROR));
            };
            if !chased {
                return Outcome::Reply(self.writer.finish(rcode::NOERROR));
            }
            let name = QueryName::read(target.as_wire(), 0);
            let Some((name, suffix)) =
                name.and_then(|name| suffix_of(self.zone.config(), &name).map(|s| (name, s)))
            else {
                return Outcome::Chase(self.writer.finish(rcode::NOERROR));
            };
            self.owner = start;
            self.enter(suffix, &name);
            match locate(self.zone, suffix, &name, Known::of(self.zone, suffix, &name)) {
                Found::Service { records: ServiceRecords { kind: Kind::ExternalName(next), .. }, .. } => {
                    target = next
                }
                found => return self.respond_found(suffix, found),
            }
        }
        self.writer.clear(self.query.question_end);
        self.owner = HEADER_BYTES;
        match suffix_of(self.zone.config(), &self.query.name) {
            Some(suffix) => self.enter(suffix, &self.query.name),
            None => return Outcome::Silent,
        }
        self.negative(rcode::NOERROR)
    }

    /// Writes one CNAME record; returns where its target begins.
    fn write_alias(&mut self, target: &Name) -> Option<usize> {
        let (owner, ttl) = (self.owner, self.zone.config().ttl);
        let mut start = 0;
        let written = self.writer.record(
            Section::Answer,
            rtype::CNAME,
            ttl,
            |writer| writer.pointer(owner),
            |writer| {
                start = writer.position();
                writer.put(target.as_wire())
            },
        );
        written.then_some(start)
    }

    fn respond_found(mut self, suffix: &'z Suffix, found: Found<'z, '_>) -> Outcome {
        let before = self.writer.answer_count();
        match found {
            Found::Missing => return self.missing(),
            Found::Branch => {}
            Found::Apex => self.write_apex(suffix),
            Found::Version => self.write_version(),
            Found::NameServer => self.write_name_server_addresses(),
            Found::Pod(address) => self.write_address(&address),
            Found::Reverse { address, uses } => self.write_pointers(address, uses),
            Found::Service { records, labels, filter } => self.write_service(records, labels, filter),
            Found::Endpoint { records, labels, host } => self.write_endpoint(records, labels, host),
        }
        if self.writer.answer_count() == before && !self.writer.is_cut() {
            return self.negative(rcode::NOERROR);
        }
        Outcome::Reply(self.writer.finish(rcode::NOERROR))
    }

    /// The name does not exist; before everything is known, that is no statement to make.
    fn missing(self) -> Outcome {
        let code = if self.context.synced { rcode::NXDOMAIN } else { rcode::SERVFAIL };
        self.negative(code)
    }

    fn negative(mut self, code: u16) -> Outcome {
        self.write_soa(Section::Authority);
        Outcome::Reply(self.writer.finish(code))
    }

    /// The SOA record of the zone that the name is in. Its serial is the zone's, its minimum the lifetime of denials.
    pub(super) fn write_soa(&mut self, section: Section) {
        let (ttl, serial) = (self.zone.config().ttl, self.zone.serial());
        let Ok(pointer) = pointer(self.tail) else { return };
        let mut record = SOA;
        for at in SOA_POINTERS {
            record[at..at + 2].copy_from_slice(&pointer);
        }
        for (at, number) in [(SOA_TTL, ttl.min(SOA_TTL_MAX)), (SOA_SERIAL, serial), (SOA_MINIMUM, ttl)] {
            record[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        self.writer.whole_record(section, &record);
    }

    fn write_service(&mut self, records: &ServiceRecords, labels: &[u8], filter: PortFilter<'_>) {
        match (self.query.qtype, &records.kind) {
            (rtype::A | rtype::AAAA, Kind::ClusterIps { addresses, .. }) => {
                addresses.as_slice().iter().for_each(|address| self.write_address(address));
            }
            (rtype::A | rtype::AAAA, Kind::Headless) => self.write_endpoint_addresses(records, filter),
            (rtype::SRV, Kind::ClusterIps { addresses, ports }) => {
                self.write_cluster_ip_srv(labels, addresses.as_slice(), ports, filter);
            }
            (rtype::SRV, Kind::Headless) => self.write_headless_srv(&records.endpoints, labels, filter),
            _ => {}
        }
    }

    fn write_endpoint(&mut self, records: &ServiceRecords, labels: &[u8], host: &[u8]) {
        let list = records.endpoints.by_name(host);
        match self.query.qtype {
            rtype::A | rtype::AAAA => {
                list.for_each(|endpoint| self.write_address(&endpoint.address));
            }
            rtype::SRV => self.write_endpoint_srv(&records.endpoints, labels, list),
            _ => {}
        }
    }

    /// All endpoints of one family, from a different one each time: many clients take the first.
    fn write_endpoint_addresses(&mut self, records: &ServiceRecords, filter: PortFilter<'_>) {
        let endpoints = &records.endpoints;
        let family = endpoints.family(self.query.qtype == rtype::AAAA);
        if family.is_empty() {
            return;
        }
        let middle = family.start + self.context.rotation as usize % family.len();
        let is_first =
            |position: usize| position == 0 || endpoints.address(position - 1) != endpoints.address(position);
        let positions = (middle..family.end).chain(family.start..middle);
        for position in positions.filter(|position| is_first(*position)) {
            let address = endpoints.address(position);
            let named = |endpoint: Endpoint<'_>| {
                endpoints.ports(endpoint).iter().any(|port| filter.matches(port.into()))
            };
            if !filter.is_any() && !endpoints.at(address).any(named) {
                continue;
            }
            self.write_address(&address);
            if self.writer.is_cut() {
                return;
            }
        }
    }

    /// The A or AAAA record for the name at `owner`, if its type is the one of the question. Reads no more of the address
    /// than it needs: an IPv4 address stands next to the key, the room for IPv6 lies behind it.
    fn write_address(&mut self, address: &IpAddr) {
        let owner = self.owner;
        match (address, self.query.qtype) {
            (IpAddr::V4(address), rtype::A) => {
                if let Ok(pointer) = pointer(owner) {
                    self.write_ipv4(Section::Answer, pointer, *address);
                }
            }
            (IpAddr::V6(_), rtype::AAAA) => {
                self.write_address_of(Section::Answer, *address, true, |writer| writer.pointer(owner));
            }
            _ => {}
        }
    }

    /// What nearly every positive answer is, in one piece.
    fn write_ipv4(&mut self, section: Section, owner: [u8; 2], address: Ipv4Addr) {
        let mut record = *b"\0\0\0\x01\0\x01\0\0\0\0\0\x04\0\0\0\0";
        record[..2].copy_from_slice(&owner);
        record[6..10].copy_from_slice(&self.zone.config().ttl.to_be_bytes());
        record[12..].copy_from_slice(&address.octets());
        self.writer.whole_record(section, &record);
    }

    pub(super) fn write_address_of(
        &mut self,
        section: Section,
        address: IpAddr,
        asked: bool,
        owner: impl FnOnce(&mut Writer<'b>) -> Result<(), Full>,
    ) {
        let (kind, ttl) = (if address.is_ipv4() { rtype::A } else { rtype::AAAA }, self.zone.config().ttl);
        if asked && kind != self.query.qtype {
            return;
        }
        self.writer.record(section, kind, ttl, owner, |writer| match address {
            IpAddr::V4(address) => writer.put(&address.octets()),
            IpAddr::V6(address) => writer.put(&address.octets()),
        });
    }

    /// PTR records of an address: to the Service whose virtual IP it is, else to every endpoint that has it.
    fn write_pointers(&mut self, address: IpAddr, uses: Uses<'_>) {
        if self.query.qtype != rtype::PTR {
            return;
        }
        let zone = self.zone;
        for (endpoint, key) in uses.iter() {
            if !endpoint {
                return self.write_pointer(None, key);
            }
            let Some(records) = zone.service(key.as_bytes()) else { continue };
            for endpoint in records.endpoints.at(address) {
                self.write_pointer(Some(endpoint), key);
            }
        }
    }

    fn write_pointer(&mut self, endpoint: Option<Endpoint<'_>>, key: &ServiceKey) {
        let Some(forward) = self.zone.config().forward_zone() else { return };
        let (owner, ttl) = (self.owner, self.zone.config().ttl);
        self.writer.record(
            Section::Answer,
            rtype::PTR,
            ttl,
            |writer| writer.pointer(owner),
            |writer| {
                if let Some(endpoint) = endpoint {
                    put_host(writer, endpoint)?;
                }
                writer.put(key.as_bytes())?;
                writer.put(b"\x03svc")?;
                writer.put(forward.name.as_wire())
            },
        );
    }
}

/// Writes the label that an endpoint is called by.
pub(super) fn put_host(writer: &mut Writer<'_>, endpoint: Endpoint<'_>) -> Result<(), Full> {
    with_host(endpoint, |host| writer.label(host))
}

/// Calls `use_` with the label that an endpoint is called by.
pub(super) fn with_host<T>(endpoint: Endpoint<'_>, use_: impl FnOnce(&[u8]) -> T) -> T {
    match endpoint.host {
        Some(host) => use_(host.as_bytes()),
        None => use_(Dashed::new(endpoint.address).as_bytes()),
    }
}
