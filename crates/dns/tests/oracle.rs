//! Compares whole answers with a real CoreDNS that serves the same objects.
//!
//! ```text
//! kubectl get namespaces,services,endpointslices -A -o json > objects.json
//! coredns -conf Corefile   # kubernetes cluster.local in-addr.arpa ip6.arpa { pods insecure; ttl 30 }, bind to loopback
//! DNS_ORACLE=127.0.0.1:5353 DNS_ORACLE_OBJECTS=objects.json cargo test -p dns --test oracle
//! ```
//! Every name that exists, its suffixes and some prefixes of them are asked for every type; where we differ, one of the
//! reasons in [`deliberate`] must hold.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;

use dns::message::records::{Record, Response, rcode_name, read_response};
use dns::name::Name;
use dns::server::{Server, Sockets};
use dns::zone::{Suffix, Zone, ZoneConfig};
use serde_json::Value;
use services::Model;
use support::{ask_udp, frame, load, query, read_frame};
use testnet::harness;

const KINDS: [&str; 12] =
    ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "CNAME", "MX", "HINFO", "ANY", "TYPE65"];
const PREFIXES: [&str; 6] = ["x", "_tcp", "_http._tcp", "a.b", "dns-version", "_._udp"];

/// A question and what both said.
struct Difference<'a> {
    name: &'a str,
    kind: &'a str,
    ours: &'a Response,
    theirs: &'a Response,
}

/// Why an answer may differ from CoreDNS's; `None` when it may not.
fn deliberate(d: &Difference<'_>) -> Option<&'static str> {
    let no_data = d.ours.rcode == 0 && d.ours.answers.is_empty();
    let missing = d.theirs.rcode == 3;
    let alias = |record: &Record| record.kind == 5;
    let is_pod = d.name.ends_with(".pod.cluster.local");
    match () {
        () if no_data && missing && d.name.ends_with(".arpa") => {
            Some("reverse names above or beside PTR are NODATA")
        }
        () if no_data && missing && d.name.starts_with('_') => {
            Some("an empty non-terminal is NODATA (RFC 8020)")
        }
        () if no_data && missing && d.name.ends_with("dns.cluster.local") => {
            Some("ns.dns exists, so does dns above it")
        }
        () if no_data && missing && d.name.starts_with("dns-version.") => {
            Some("a name with a TXT record exists")
        }
        () if no_data && missing && d.kind == "TXT" => {
            Some("the type asked for does not decide whether a name exists")
        }
        () if d.ours.rcode == 3 && d.kind == "SOA" => {
            Some("the type asked for does not decide whether a name exists")
        }
        () if d.ours.rcode == 3 && (is_pod || d.name.ends_with(".arpa")) => {
            Some("labels in front of an address count")
        }
        () if is_pod && d.kind == "SRV" => Some("a pod has no ports to point to"),
        () if d.ours.answers.iter().any(alias) => Some("aliases that lead nowhere are shown (RFC 2308)"),
        () if d.ours.rcode == 2 => Some("an alias to outside without an upstream is SERVFAIL"),
        () if d.name.contains("ns.dns.") || d.kind == "NS" => {
            Some("CoreDNS leaves its loopback address out of NS")
        }
        () => None,
    }
}

fn main() -> ExitCode {
    harness::run(testnet::trials![the_same_answers_as_coredns])
}

fn the_same_answers_as_coredns() {
    let (Ok(oracle), Ok(file)) = (std::env::var("DNS_ORACLE"), std::env::var("DNS_ORACLE_OBJECTS")) else {
        harness::skip("set DNS_ORACLE and DNS_ORACLE_OBJECTS to compare with a CoreDNS");
    };
    let objects: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (model, _) = load(objects["items"].as_array().unwrap());
    let server = serve(&model);
    let (ours, theirs) = (server.addresses()[0], oracle.parse::<SocketAddr>().unwrap());
    let (mut our_stream, mut their_stream) =
        (TcpStream::connect(ours).unwrap(), TcpStream::connect(theirs).unwrap());
    let (mut questions, mut reasons, mut wrong) = (0, BTreeMap::<_, u32>::new(), Vec::new());
    for name in names(&model, &server.zone()) {
        for kind in KINDS {
            questions += 1;
            let packet = query(&name, kind, None);
            let (our, their) = (ask(&mut our_stream, &packet), ask(&mut their_stream, &packet));
            if text(&our) == text(&their) {
                let cut = |server| read_response(&ask_udp(server, &packet)).unwrap().truncated;
                if cut(ours) != cut(theirs) {
                    wrong.push(format!("{name} {kind}: TC over UDP differs"));
                }
                continue;
            }
            match deliberate(&Difference { name: &name, kind, ours: &our, theirs: &their }) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => {
                    wrong.push(format!("{name} {kind}\n  ours   {}\n  theirs {}", text(&our), text(&their)))
                }
            }
        }
    }
    eprintln!("{questions} questions; deliberate differences: {reasons:#?}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn serve(model: &Model) -> Server {
    let mut config = ZoneConfig::cluster("cluster.local").unwrap();
    config.zones =
        ["cluster.local", "in-addr.arpa", "ip6.arpa"].map(|name| Suffix::new(name, false).unwrap()).to_vec();
    config.local_addresses = vec!["127.0.0.1".parse().unwrap()];
    let zone = Arc::new(Zone::build(Arc::new(config), &model.snapshot(), 1));
    let server =
        Server::start(zone, Vec::new(), vec![Sockets::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap()]);
    let server = server.unwrap();
    server.set_synced(true);
    server
}

/// Names that exist or nearly do, with their suffixes, and prefixes of all of these.
fn names(model: &Model, zone: &Zone) -> BTreeSet<String> {
    let dump = zone.to_string();
    let mut bases: Vec<String> =
        dump.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    for (key, state) in model.snapshot().services.iter() {
        let base = format!("{}.{}.svc.cluster.local", key.name(), key.namespace());
        for slice in &state.slices {
            for endpoint in &slice.endpoints {
                let dashed = endpoint.address.to_string().replace(['.', ':'], "-");
                bases.push(format!("{dashed}.{}.pod.cluster.local", key.namespace()));
                bases.push(format!("{dashed}.{base}"));
                bases.extend(endpoint.hostname.iter().map(|host| format!("{host}.{base}")));
            }
            bases.extend(slice.ports.iter().map(|port| format!("{}.{}.{base}", port.name, port.protocol)));
        }
        bases.push(base);
    }
    bases.extend(["dns-version.cluster.local", "ns.dns.cluster.local"].map(str::to_owned));
    let mut names = BTreeSet::new();
    for base in &bases {
        let suffixes = base.match_indices('.').map(|(at, _)| &base[at + 1..]).chain([&base[..]]);
        for name in suffixes
            .filter(|name| ["cluster.local", "addr.arpa", "ip6.arpa"].iter().any(|z| name.ends_with(z)))
        {
            names.insert(name.to_owned());
            names.extend(PREFIXES.map(|prefix| format!("{prefix}.{name}")));
        }
    }
    names.retain(|name| name.parse::<Name>().is_ok());
    names
}

fn ask(stream: &mut TcpStream, packet: &[u8]) -> Response {
    stream.write_all(&frame(packet)).unwrap();
    read_response(&read_frame(stream)).unwrap()
}

/// The answer by section, without the serial of SOA records.
fn text(response: &Response) -> String {
    let section = |records: &[Record]| {
        let mut texts: Vec<String> =
            records.iter().map(|record| without_serial(record.to_string())).collect();
        texts.sort();
        texts.join("; ")
    };
    let Response { answers, authority, additional, .. } = response;
    let sections = [answers, authority, additional].map(|records| section(records)).join(" | ");
    let flags = (response.authoritative, response.truncated, response.recursion_available);
    format!("{} {flags:?} | {sections}", rcode_name(response.rcode))
}

fn without_serial(text: String) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    if words.get(3) == Some(&"SOA") {
        words[6] = "*";
    }
    words.join(" ")
}
