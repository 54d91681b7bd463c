//! What to ask about a set: every name that exists, its suffixes, prefixes of all of them, near misses, and other letters'
//! case, each with every type.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dns::message::records::kind_number;
use dns::name::Name;
use serde_json::Value;

use super::objects::ObjectSet;

/// The types that every name is asked for.
pub const KINDS: [&str; 12] =
    ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "CNAME", "MX", "HINFO", "ANY", "TYPE65"];
const PREFIXES: [&str; 6] = ["_tcp", "_http._tcp", "a.b", "dns-version", "_._udp", "*"];
const ZONE: &str = "cluster.local";

/// The names to ask for.
#[must_use]
pub fn names(set: &ObjectSet) -> BTreeSet<String> {
    let bases = bases(set);
    let mut names = BTreeSet::new();
    for base in &bases {
        names.extend(suffixes(base).map(str::to_owned));
        names.insert(in_other_case(base));
        names.insert(format!("x.{base}"));
    }
    // Names that Services, namespaces and zones have themselves.
    let short = |name: &&String| name.split('.').count() <= 5;
    for name in names.clone().iter().filter(short) {
        names.extend(PREFIXES.iter().map(|prefix| format!("{prefix}.{name}")));
        names.extend(near(name));
    }
    names.retain(|name| name.parse::<Name>().is_ok());
    names
}

/// A query packet with recursion desired, its name in the case given.
#[must_use]
pub fn packet(name: &str, kind: &str) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len().min(63) as u8);
        packet.extend(label.bytes().take(63));
    }
    packet.push(0);
    packet.extend(kind_number(kind).unwrap_or_default().to_be_bytes());
    packet.extend([0, 1]);
    packet
}

/// Names that exist, or would if the objects were other.
fn bases(set: &ObjectSet) -> BTreeSet<String> {
    let mut bases: BTreeSet<String> =
        ["dns-version", "ns.dns", "nothing.nowhere.svc", "1-2-3-4.default.pod", "--1.apps.pod"]
            .iter()
            .map(|name| format!("{name}.{ZONE}"))
            .collect();
    bases.insert("9.9.9.10.in-addr.arpa".to_owned());
    for object in &set.objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        match object["kind"].as_str().unwrap_or_default() {
            "Namespace" => bases.extend([format!("{name}.svc.{ZONE}"), format!("{name}.pod.{ZONE}")]),
            "Service" => {
                bases.insert(format!("{name}.{namespace}.svc.{ZONE}"));
                bases.extend(
                    list(&object["spec"]["clusterIPs"]).filter_map(Value::as_str).filter_map(reverse),
                );
                bases.extend(ports(&object["spec"]["ports"], &format!("{name}.{namespace}.svc.{ZONE}")));
            }
            "EndpointSlice" => bases.extend(names_of_slice(object, namespace)),
            "Pod" => {
                let address = text("/status/podIP");
                bases.insert(format!("{}.{namespace}.pod.{ZONE}", dashed(address)));
                bases.extend(reverse(address));
            }
            _ => {}
        }
    }
    bases
}

fn names_of_slice(slice: &Value, namespace: &str) -> BTreeSet<String> {
    let service = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
    let base = format!("{service}.{namespace}.svc.{ZONE}");
    let mut names: BTreeSet<String> = ports(&slice["ports"], &base).collect();
    // A few endpoints show what all do.
    for endpoint in list(&slice["endpoints"]).take(4) {
        for address in list(&endpoint["addresses"]).filter_map(Value::as_str) {
            names.insert(format!("{}.{base}", dashed(address)));
            names.insert(format!("{}.{namespace}.pod.{ZONE}", dashed(address)));
            names.extend(reverse(address));
        }
        let called = [&endpoint["hostname"], &endpoint["targetRef"]["name"]];
        names.extend(called.iter().filter_map(|name| name.as_str()).map(|name| format!("{name}.{base}")));
    }
    names
}

fn ports<'a>(ports: &'a Value, base: &'a str) -> impl Iterator<Item = String> + 'a {
    list(ports).flat_map(move |port| {
        let text = |field: &str| port[field].as_str().unwrap_or_default().to_lowercase();
        let (name, protocol) = (text("name"), text("protocol"));
        [
            format!("_{name}._{protocol}.{base}"),
            format!("{name}.{protocol}.{base}"),
            format!("_{name}._.{base}"),
        ]
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn dashed(address: &str) -> String {
    address.replace(['.', ':'], "-")
}

fn reverse(address: &str) -> Option<String> {
    match address.parse().ok()? {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Some(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            Some(nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa")
        }
    }
}

/// The name and what it lies in; of a long one only some.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    let zones = [ZONE, "in-addr.arpa", "ip6.arpa"];
    let all = starts.map(|at| &name[at..]).filter(move |rest| zones.iter().any(|zone| rest.ends_with(zone)));
    let long = name.ends_with("ip6.arpa");
    all.enumerate().filter(move |(index, _)| !long || [0, 1, 16].contains(index)).map(|(_, name)| name)
}

/// One letter more, one less, in the first label and in the second; another third label.
fn near(name: &str) -> Vec<String> {
    let Some((first, rest)) = name.split_once('.') else { return Vec::new() };
    let shorter = first.get(1..).filter(|label| !label.is_empty()).map(|label| format!("{label}.{rest}"));
    let longer = [format!("{first}0.{rest}"), format!("{first}.0{rest}")];
    let swapped =
        [name.replace(".svc.", ".pod."), name.replace(".pod.", ".svc."), name.replace(".svc.", ".")];
    shorter.into_iter().chain(longer).chain(swapped).collect()
}

/// Some letters in upper case, always the same of a name.
fn in_other_case(name: &str) -> String {
    let change = |(at, letter): (usize, char)| match (at * 7 + name.len()) % 3 {
        0 => letter.to_ascii_uppercase(),
        _ => letter,
    };
    name.chars().enumerate().map(change).collect()
}
