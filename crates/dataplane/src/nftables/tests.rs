//! Our messages against the bytes that nft 1.0.6 sends for the same table (`nft --debug=mnl`).
//!
//! They are compared as trees of attributes, without the set ids in lookups and element lists: nft gives both a set's name and its id
//! within the transaction, and the kernel looks at the name first. Left out are what nft 1.0.6 cannot be told although it prints it (a
//! key with the original port), the rule of the source ranges, to which it adds a change of byte order of one byte, the translation to
//! one endpoint, to which it adds a flag that the kernel sets anyway, and rules of TCP flags, to which it adds the operation that
//! is meant without one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use services::Protocol;

use super::affinity::Sticky;
use super::element::{Element, Found, address_key, endpoint_key, endpoint_value, service_key, source_range};
use super::family::{Family, IPV4, IPV6};
use super::message::{Layout, NEWSETELEM, SUBSYSTEM, read_comment};
use super::number::Number;
use super::rules::{Circumstances, FromPods, endpoint_chain, fixed_chains, sticky_chain};
use super::set::SETS;
use crate::conntrack::Flow;
use crate::forwarding_table::FrontendKey;
use crate::netlink::{Batch, messages};

/// Lines in pairs: message type and title, then the bytes behind the netlink header in hexadecimal.
const GOLDEN: [(&Family, &str); 2] =
    [(&IPV4, include_str!("golden-ip.txt")), (&IPV6, include_str!("golden-ip6.txt"))];
const NESTED: u16 = 0x8000;

/// Title to type and attributes.
type Messages = BTreeMap<String, (u16, String)>;

#[test]
fn messages_are_those_of_nft() {
    for (family, golden_text) in GOLDEN {
        let (ours, theirs) = (ours(family), golden(golden_text));
        assert!(theirs.len() > 30);
        for (title, (kind, tree)) in &theirs {
            let (our_kind, our_tree) =
                ours.get(title).unwrap_or_else(|| panic!("{title} is not among {:?}", ours.keys()));
            assert_eq!(our_kind, kind, "{title}");
            assert_eq!(our_tree, tree, "{family} {title}:\n{our_tree}instead of\n{tree}");
        }
    }
}

fn golden(text: &str) -> Messages {
    let mut lines = text.lines();
    let mut found = Messages::new();
    while let (Some(head), Some(bytes)) = (lines.next(), lines.next()) {
        let (kind, title) = head.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..bytes.len() / 2)
            .map(|index| u8::from_str_radix(&bytes[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let (kind, mut tree) = (kind.parse().unwrap(), tree(&bytes[4..]));
        if kind == NEWSETELEM {
            tree = tree.split_inclusive('\n').filter(|line| !line.starts_with("4: ")).collect();
        }
        found.insert(title.to_owned(), (kind, tree));
    }
    found
}

fn ours(family: &'static Family) -> Messages {
    let layout = Layout::plain(family, "sluice");
    let mut batch = Batch::new(SUBSYSTEM);
    layout.new_table(&mut batch);
    // nft numbers sets from 1 in the order of its input; maps that hold nothing are numbered all the same.
    for (id, name) in (1..).zip(SET_ORDER) {
        let set = SETS.iter().find(|set| set.name == name).unwrap();
        layout.new_set(&mut batch, set, id);
    }
    let pods = [FromPods::ByAddress, FromPods::Bridge("cni0".into()), FromPods::Interface("veth".into())];
    for pods in pods {
        let circumstances = Circumstances { pods: Some(pods), masquerade_all: false, late_refusal: false };
        for chain in fixed_chains(family, &circumstances) {
            layout.new_chain(&mut batch, &chain);
            layout.new_rules(&mut batch, &chain);
        }
    }
    elements(&layout, &mut batch);
    sticky(&layout, &mut batch);
    let bytes = batch.finish().to_vec();
    let numbered = messages(&bytes).filter(|message| message.kind >> 8 == SUBSYSTEM);
    let titled = numbered.map(|message| {
        let title = batch.label(message.sequence).trim_start_matches(|letter: char| letter.is_numeric());
        let title = if title.starts_with("table") { "table" } else { title.trim() };
        (title.to_owned(), (message.kind & 0xff, tree(&message.body[4..])))
    });
    titled.collect()
}

const SET_ORDER: [&str; 15] = [
    "services",
    "inside",
    "outside",
    "endpoints",
    "endpoints-outside",
    "guarded",
    "sources",
    "service-ips",
    "service-cidrs",
    "pods",
    "hairpins",
    "answered",
    "elsewhere",
    "chains",
    "by-client",
];

fn elements(layout: &Layout, batch: &mut Batch) {
    let addresses = if layout.family.is_ipv4() {
        ["10.96.0.1", "10.244.1.2", "10.96.0.0", "10.97.0.0"]
    } else {
        ["fd00:96::1", "fd00:244::2", "fd00:96::", "fd00:96::1:0"]
    };
    let [vip, pod, start, end] = addresses.map(|text| text.parse::<IpAddr>().unwrap());
    let key = FrontendKey::new(Protocol::Tcp, vip, 80);
    let endpoint = Element::data(endpoint_key(&key, 1), endpoint_value(SocketAddr::new(pod, 9898)));
    layout.add_elements(batch, "endpoints", &[endpoint]);
    let one = Number::of_count(1);
    let service = Element::data(service_key(&key), one.bytes());
    layout.add_elements(batch, "services", &[service.commented("default/x")]);
    layout.add_elements(batch, "chains", &[Element::verdict(one.bytes(), one.verdict())]);
    let bounds = [Element::key(address_key(start)), Element::interval_end(address_key(end))];
    layout.add_elements(batch, "service-cidrs", &bounds);
    let sources = if layout.family.is_ipv4() { "192.0.2.0/24" } else { "2001:db8::/32" };
    let sources: ipnet::IpNet = sources.parse().unwrap();
    layout.add_elements(batch, "sources", &[source_range(&key, (sources.network(), sources.broadcast()))]);
}

/// A list of three, of which nft's example has the first of each kind of rule.
fn sticky(layout: &Layout, batch: &mut Batch) {
    let of_chain = Sticky::of_chain("sticky-default/x/tcp/http").unwrap();
    let hosts = if layout.family.is_ipv4() {
        ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    } else {
        ["fd00:244::2", "fd00:244::3", "fd00:244::4"]
    };
    let endpoints = hosts.map(|host| SocketAddr::new(host.parse().unwrap(), 9898));
    layout.new_clients(batch, &of_chain.group.set(endpoints[0]), 14);
    let chain = endpoint_chain(layout.family, &of_chain.group, endpoints[0], Protocol::Tcp, 10_800);
    for chain in [chain, sticky_chain(layout.family, &of_chain, &endpoints)] {
        layout.new_chain(batch, &chain);
        layout.new_rules(batch, &chain);
    }
}

/// Attributes as indented lines of type and value. Their order means nothing, except in lists, whose members are all
/// of one type.
fn tree(bytes: &[u8]) -> String {
    subtree(bytes, "", None)
}

/// `set_id` is the attribute that is left out.
fn subtree(mut bytes: &[u8], indent: &str, set_id: Option<u16>) -> String {
    let mut inner_id = None;
    let mut lines: Vec<(u16, String)> = Vec::new();
    while let Some(header) = bytes.get(..4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let value = &bytes[4..length];
        match value {
            b"lookup\0" => inner_id = Some(4),
            b"dynset\0" => inner_id = Some(2),
            _ => {}
        }
        let number = kind & !NESTED;
        if kind & NESTED != 0 {
            let inner = subtree(value, &format!("{indent}  "), inner_id);
            lines.push((number, format!("{indent}{number}:\n{inner}")));
        } else if set_id != Some(kind) {
            lines.push((number, format!("{indent}{number}: {}\n", hex(value))));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    lines.sort_by_key(|(number, _)| *number);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    /// Whatever bytes come from the socket: they are read to their end or left, never past it.
    #[test]
    fn garbage_is_left_out(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let mut valid = ours_bytes();
        valid.truncate(cut);
        for bytes in [bytes, valid] {
            for message in messages(&bytes) {
                let attributes = message.attributes();
                let _ = Flow::parse(&attributes);
                for (_, value) in attributes.nested(3) {
                    let Some(found) = Found::parse(value) else { continue };
                    for family in [&IPV4, &IPV6] {
                        let _ = (found.service(family), found.number(family), found.endpoint(family));
                        let _ = found.sources(family);
                    }
                }
                for kind in 0..32 {
                    let _ = attributes.get(kind).and_then(read_comment);
                    let _ = (attributes.text(kind), attributes.u32(kind));
                }
            }
        }
    }
}

/// A batch with elements, as it would come back in a dump.
fn ours_bytes() -> Vec<u8> {
    let mut batch = Batch::new(SUBSYSTEM);
    for family in [&IPV4, &IPV6] {
        elements(&Layout::plain(family, "sluice"), &mut batch);
    }
    batch.finish().to_vec()
}
