//! The zone as text, one line for each record set: what `sluice dump dns` prints and scenarios expect.
//!
//! Every line is the answer to a question that is really put, so the dump cannot say what the wire does not.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::{Dashed, Kind, Port, ServiceRecords, Zone};
use crate::message::records::kind_name;
use crate::message::rtype;
use crate::name::{labels, write_wire};

impl Zone {
    /// Lines such as `podinfo.default.svc.cluster.local A => 10.96.132.79`: the records of the Kubernetes DNS
    /// specification in the first zone that is no reverse zone, by namespace and Service, without lifetimes. Names that
    /// CoreDNS adds (endpoints of Services with a virtual IP) are left out: they exist, and say nothing new.
    #[must_use]
    pub fn dump(&self) -> Vec<String> {
        let Some(forward) = self.config.forward_zone() else { return Vec::new() };
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|records| {
            let (service, namespace) = parts(records);
            (namespace, service)
        });
        let mut lines = Vec::new();
        for records in services.into_iter().filter(|records| self.has_namespace(parts(records).1)) {
            let base = [records.key(), b"\x03svc", forward.name.as_wire()].concat();
            self.dump_service(records, &base, &mut lines);
        }
        lines
    }

    fn dump_service(&self, records: &ServiceRecords, base: &[u8], lines: &mut Vec<String>) {
        if matches!(records.kind, Kind::ExternalName(_)) {
            return self.dump_line(rtype::CNAME, base, lines);
        }
        self.dump_line(rtype::A, base, lines);
        self.dump_line(rtype::AAAA, base, lines);
        for (name, protocol) in port_names(records) {
            let label = |text: &str| [&[u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat();
            let name = [label(&format!("_{name}")), label(&format!("_{protocol}")), base.to_vec()].concat();
            self.dump_line(rtype::SRV, &name, lines);
        }
        let is_headless = matches!(records.kind, Kind::Headless);
        for host in hosts(records).into_iter().filter(|_| is_headless) {
            let name = [&[u8::try_from(host.len()).unwrap_or(0)], &host[..], base].concat();
            self.dump_line(rtype::A, &name, lines);
            self.dump_line(rtype::AAAA, &name, lines);
        }
        let endpoints = records.endpoints.iter().map(|endpoint| endpoint.address).filter(|_| is_headless);
        let addresses: BTreeSet<_> = records.cluster_ips().iter().copied().chain(endpoints).collect();
        for address in addresses.into_iter().filter(|address| self.points_to(*address, records)) {
            self.dump_line(rtype::PTR, &reverse_name(address), lines);
        }
    }

    /// True when this Service is the first that its address leads to: the line is printed once.
    fn points_to(&self, address: IpAddr, records: &ServiceRecords) -> bool {
        self.reverse.uses(address).iter().next().is_some_and(|(_, first)| first.as_bytes() == records.key())
    }

    fn dump_line(&self, kind: u16, name: &[u8], lines: &mut Vec<String>) {
        let found = self.lookup_wire(name, kind);
        if found.answers().is_empty() {
            return;
        }
        let mut text = String::new();
        if write_wire(&mut text, name).is_ok() {
            lines.push(format!("{} {} => {found}", text.trim_end_matches('.'), kind_name(kind)));
        }
    }
}

/// Service and namespace.
fn parts(records: &ServiceRecords) -> (&[u8], &[u8]) {
    let mut labels = labels(records.key());
    (labels.next().unwrap_or_default(), labels.next().unwrap_or_default())
}

/// Named ports with their protocols.
fn port_names(records: &ServiceRecords) -> BTreeSet<(&str, &'static str)> {
    let own = match &records.kind {
        Kind::ClusterIps { ports, .. } => Some(ports.iter()),
        _ => None,
    };
    let sets = records.endpoints.sets().filter(|_| matches!(records.kind, Kind::Headless));
    let ports = own.into_iter().flatten().chain(sets.flat_map(|(ports, _)| ports.iter().map(Port::from)));
    let named = ports.filter_map(|port| Some((std::str::from_utf8(port.name).ok()?, port.protocol.as_str())));
    named.filter(|(name, _)| !name.is_empty()).collect()
}

/// What the endpoints are called.
fn hosts(records: &ServiceRecords) -> BTreeSet<Vec<u8>> {
    let name = |endpoint: super::Endpoint<'_>| match endpoint.host {
        Some(host) => host.as_bytes().to_vec(),
        None => Dashed::new(endpoint.address).as_bytes().to_vec(),
    };
    records.endpoints.iter().map(name).collect()
}

/// The reverse name of an address in wire form.
fn reverse_name(address: IpAddr) -> Vec<u8> {
    let mut name = Vec::new();
    let mut push = |label: &str| {
        name.push(u8::try_from(label.len()).unwrap_or(0));
        name.extend(label.bytes());
    };
    match address {
        IpAddr::V4(address) => {
            address.octets().iter().rev().for_each(|octet| push(&octet.to_string()));
            push("in-addr");
        }
        IpAddr::V6(address) => {
            for octet in address.octets().iter().rev() {
                push(&format!("{:x}", octet & 15));
                push(&format!("{:x}", octet >> 4));
            }
            push("ip6");
        }
    }
    push("arpa");
    name.push(0);
    name
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dump().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
