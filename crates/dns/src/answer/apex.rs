//! The zone's own records: SOA, NS with glue, the schema version.
//!
//! The name server is the Service that has one of the server's own addresses (kube-dns), as virtual IP or as endpoint;
//! while none is known, it is `ns.dns.<zone>` with those addresses.

use std::net::IpAddr;

use super::respond::{Responder, put_host};
use crate::message::{Full, Section, Writer, rtype};
use crate::zone::{Endpoint, Kind, ServiceKey, ServiceRecords, Suffix, Zone};

/// Version of the DNS specification that the zone follows, as a TXT string.
const SCHEMA_VERSION: &[u8] = b"\x051.1.0";
/// Its lifetime in seconds, as the specification's example.
const SCHEMA_VERSION_TTL: u32 = 28_800;

/// A name server of the zone, one address at a time.
#[derive(Clone, Copy)]
enum NameServer<'z> {
    /// A Service, or one endpoint of a headless one.
    Service(&'z ServiceKey, Option<Endpoint<'z>>, IpAddr),
    /// The server itself.
    Own(IpAddr),
}

impl NameServer<'_> {
    fn address(&self) -> IpAddr {
        match self {
            Self::Service(_, _, address) | Self::Own(address) => *address,
        }
    }

    fn is_same_name(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(key, endpoint, _), Self::Service(other_key, other_endpoint, _)) => {
                key == other_key
                    && endpoint.map(|e| (e.host, e.address)) == other_endpoint.map(|e| (e.host, e.address))
            }
            (Self::Own(_), Self::Own(_)) => true,
            _ => false,
        }
    }
}

/// Calls `each` for every address of every name server.
fn for_each_name_server<'z>(zone: &'z Zone, mut each: impl FnMut(NameServer<'z>)) {
    let locals = &zone.config().local_addresses;
    let mut found = false;
    for (index, local) in locals.iter().enumerate() {
        for (_, key) in zone.reverse().uses(*local).iter() {
            let known = locals[..index]
                .iter()
                .any(|earlier| zone.reverse().uses(*earlier).iter().any(|(_, other)| other == key));
            let Some(records) = zone.service(key.as_bytes()) else { continue };
            found = true;
            for_each_address(records, key, *local, known, &mut each);
        }
    }
    if !found {
        locals.iter().for_each(|local| each(NameServer::Own(*local)));
    }
}

fn for_each_address<'z>(
    records: &'z ServiceRecords,
    key: &'z ServiceKey,
    local: IpAddr,
    known: bool,
    each: &mut impl FnMut(NameServer<'z>),
) {
    match &records.kind {
        Kind::ClusterIps { addresses, .. } if !known => {
            addresses.as_slice().iter().for_each(|address| each(NameServer::Service(key, None, *address)));
        }
        Kind::Headless => {
            let endpoints = records.endpoints.at(local);
            endpoints.for_each(|endpoint| each(NameServer::Service(key, Some(endpoint), endpoint.address)));
        }
        _ => {}
    }
}

impl<'b> Responder<'_, '_, 'b> {
    pub(super) fn write_apex(&mut self, suffix: &Suffix) {
        match self.query.qtype {
            rtype::SOA => self.write_soa(Section::Answer),
            rtype::NS => self.write_name_servers(suffix),
            _ => {}
        }
    }

    pub(super) fn write_version(&mut self) {
        if self.query.qtype == rtype::TXT {
            let owner = self.owner;
            let text = |writer: &mut Writer<'b>| writer.put(SCHEMA_VERSION);
            let name = |writer: &mut Writer<'b>| writer.pointer(owner);
            self.writer.record(Section::Answer, rtype::TXT, SCHEMA_VERSION_TTL, name, text);
        }
    }

    /// The addresses of `ns.dns`, the primary that the SOA record names.
    pub(super) fn write_name_server_addresses(&mut self) {
        let (zone, owner) = (self.zone, self.owner);
        for_each_name_server(zone, |server| {
            self.write_address_of(Section::Answer, server.address(), true, |writer| writer.pointer(owner));
        });
    }

    fn write_name_servers(&mut self, suffix: &Suffix) {
        let zone = self.zone;
        // Names of Services lie in the forward zone, also when a reverse zone is asked.
        let other =
            suffix.reversed.and_then(|_| zone.config().forward_zone()).map(|forward| forward.name.as_wire());
        let (owner, tail, ttl) = (self.owner, self.tail, zone.config().ttl);
        let mut previous: Option<NameServer<'_>> = None;
        for_each_name_server(zone, |server| {
            if !previous.is_some_and(|previous| previous.is_same_name(&server)) {
                let name = |writer: &mut Writer<'b>| writer.pointer(owner);
                let data = |writer: &mut Writer<'b>| put_name(writer, &server, other, tail);
                self.writer.record(Section::Answer, rtype::NS, ttl, name, data);
            }
            previous = Some(server);
        });
        for_each_name_server(zone, |server| {
            let name = |writer: &mut Writer<'b>| put_name(writer, &server, other, tail);
            self.write_address_of(Section::Additional, server.address(), false, name);
        });
    }
}

fn put_name(
    writer: &mut Writer<'_>,
    server: &NameServer<'_>,
    other: Option<&[u8]>,
    tail: usize,
) -> Result<(), Full> {
    match server {
        NameServer::Own(_) => {
            writer.put(b"\x02ns\x03dns")?;
            writer.pointer(tail)
        }
        NameServer::Service(key, endpoint, _) => {
            if let Some(endpoint) = endpoint {
                put_host(writer, *endpoint)?;
            }
            writer.put(key.as_bytes())?;
            writer.put(b"\x03svc")?;
            match other {
                Some(other) => writer.put(other),
                None => writer.pointer(tail),
            }
        }
    }
}
