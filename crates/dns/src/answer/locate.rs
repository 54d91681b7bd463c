//! What a name means: the zone it is in, and the object that it spells there.

use crate::message::QueryName;
use crate::zone::{
    self, Kind, Pods, PortFilter, ReverseName, ServiceRecords, Suffix, Uses, Zone, ZoneConfig,
};
use std::net::IpAddr;

/// What stands behind a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'z, 'q> {
    /// Nothing, and nothing below.
    Missing,
    /// Nothing itself, but names below it exist or may exist.
    Branch,
    /// The zone itself.
    Apex,
    /// `dns-version`.
    Version,
    /// `ns.dns`, the name in the SOA record.
    NameServer,
    /// A Service, or those of its ports that the filter means.
    Service { records: &'z ServiceRecords, labels: &'q [u8], filter: PortFilter<'q> },
    /// The endpoints of a Service that are called `host`.
    Endpoint { records: &'z ServiceRecords, labels: &'q [u8], host: &'q [u8] },
    /// A pod by its address.
    Pod(IpAddr),
    /// A reverse name of an address that is known, and who has it.
    Reverse { address: IpAddr, uses: Uses<'z> },
}

/// What the zone has of a name, as far as it is found by hashing: looked up for many names at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'z> {
    /// The Service of its [`service_labels`].
    pub(super) service: Option<&'z ServiceRecords>,
    /// What it spells in a reverse zone.
    pub(super) reverse: Option<ReverseName>,
    /// Who has the address that it spells.
    pub(super) uses: Uses<'z>,
}

impl<'z> Known<'z> {
    /// For one name.
    pub(super) fn of(zone: &'z Zone, suffix: &Suffix, name: &QueryName) -> Self {
        let reverse = reverse_name(suffix, name);
        let uses = reverse
            .and_then(ReverseName::address)
            .map_or(Uses::default(), |address| zone.reverse().uses(address));
        let service = service_labels(suffix, name).and_then(|labels| zone.service(labels));
        Self { service, reverse, uses }
    }
}

impl Found<'_, '_> {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Found::Missing)
    }
}

/// The zone that a name is in: the longest that matches.
pub(super) fn suffix_of<'z>(config: &'z ZoneConfig, name: &QueryName) -> Option<&'z Suffix> {
    let matching = config.zones.iter().filter(|suffix| {
        let own = name.label_count().checked_sub(suffix.labels);
        own.is_some_and(|own| name.suffix(own) == suffix.name.as_wire())
    });
    matching.max_by_key(|suffix| suffix.labels)
}

/// The labels `service.namespace` of a name below `svc` in the zone `suffix`.
pub(super) fn service_labels<'q>(suffix: &Suffix, name: &'q QueryName) -> Option<&'q [u8]> {
    let own = name.label_count() - suffix.labels;
    let is_service = own >= 3 && suffix.reversed.is_none() && name.label(own - 1) == b"svc";
    is_service.then(|| name.labels(own - 3..own - 1))
}

/// What a name in a reverse zone spells.
pub(super) fn reverse_name(suffix: &Suffix, name: &QueryName) -> Option<ReverseName> {
    suffix.reversed.and_then(|family| ReverseName::read(name, family))
}

/// What `name` means in the zone `suffix` that it is in.
pub(super) fn locate<'z, 'q>(
    zone: &'z Zone,
    suffix: &Suffix,
    name: &'q QueryName,
    known: Known<'z>,
) -> Found<'z, 'q> {
    let own = name.label_count() - suffix.labels;
    let label = |from_right: usize| own.checked_sub(from_right).map_or(&[][..], |index| name.label(index));
    match (own, label(1)) {
        (0, _) => Found::Apex,
        (1, b"dns") => Found::Branch,
        (2, b"dns") if label(2) == b"ns" => Found::NameServer,
        _ if suffix.reversed.is_some() => locate_reverse(zone, known),
        (1, b"svc" | b"pod") => Found::Branch,
        (1, b"dns-version") => Found::Version,
        (2, b"svc") if zone.has_namespace(label(2)) => Found::Branch,
        (3.., b"svc") => match known.service.filter(|_| zone.has_namespace(label(2))) {
            Some(records) => locate_service(records, name, own),
            None => Found::Missing,
        },
        (2.., b"pod") if zone.config().pods != Pods::Disabled && zone.has_namespace(label(2)) => {
            locate_pod(zone, label(2), label(3), own)
        }
        _ => Found::Missing,
    }
}

fn locate_service<'z, 'q>(records: &'z ServiceRecords, name: &'q QueryName, own: usize) -> Found<'z, 'q> {
    let labels = name.labels(own - 3..own - 1);
    let any = PortFilter::default();
    let filter = PortFilter { name: bare(name.label(0)), protocol: bare(name.label(1)) };
    match own {
        3 => Found::Service { records, labels, filter: any },
        // Any port of any protocol: the Service itself, also an alias.
        5 if filter.is_any() => Found::Service { records, labels, filter: any },
        _ if matches!(records.kind, Kind::ExternalName(_)) => Found::Missing,
        4 => locate_endpoint(records, labels, name.label(0)),
        5 if has_port(records, filter) => Found::Service { records, labels, filter },
        _ => Found::Missing,
    }
}

/// One label in front of a Service: an endpoint, or the protocol that port names lie below.
fn locate_endpoint<'z, 'q>(records: &'z ServiceRecords, labels: &'q [u8], host: &'q [u8]) -> Found<'z, 'q> {
    if records.endpoints.by_name(host).next().is_some() {
        return Found::Endpoint { records, labels, host };
    }
    let protocol = PortFilter { name: b"", protocol: bare(host) };
    let is_branch = host.first() == Some(&b'_') && has_port(records, protocol);
    if is_branch { Found::Branch } else { Found::Missing }
}

/// The label without the underscore that port and protocol may have.
fn bare(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

fn has_port(records: &ServiceRecords, filter: PortFilter<'_>) -> bool {
    match &records.kind {
        Kind::ClusterIps { ports, .. } => ports.iter().any(|port| filter.matches(port)),
        Kind::Headless => {
            let mut ports = records.endpoints.sets().flat_map(|(ports, _)| ports);
            ports.any(|port| filter.matches(port.into()))
        }
        Kind::ExternalName(_) => false,
    }
}

fn locate_pod<'z, 'q>(zone: &Zone, namespace: &[u8], pod: &[u8], own: usize) -> Found<'z, 'q> {
    match own {
        2 => return Found::Branch,
        3 => {}
        _ => return Found::Missing,
    }
    let address = zone::read_dashed(pod);
    let verified = zone.config().pods == Pods::Verified;
    let address = address.filter(|address| !verified || zone.pods().contains(namespace, *address));
    address.map_or(Found::Missing, Found::Pod)
}

fn locate_reverse<'z>(zone: &Zone, known: Known<'z>) -> Found<'z, 'static> {
    match known.reverse {
        Some(ReverseName::Address(address)) if !known.uses.is_empty() => {
            Found::Reverse { address, uses: known.uses }
        }
        Some(ReverseName::Range(first, last)) if zone.reverse().any_between(first..=last) => Found::Branch,
        _ => Found::Missing,
    }
}
