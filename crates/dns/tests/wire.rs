//! Bytes: flags, EDNS, refusals, case, truncation, weights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use dns::answer::{Context, Outcome, Transport, answer};
use dns::message::records::{Response, read_response};
use dns::zone::{Zone, ZoneConfig};
use serde_json::{Value, json};
use support::{load, query, read};

const NAME: &str = "web.default.svc.cluster.local";

fn zone() -> Zone {
    let endpoints: Vec<Value> =
        (0..200).map(|last| json!({"addresses": [format!("10.244.1.{last}")]})).collect();
    let objects = [
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}}),
        json!({"kind": "Service", "metadata": {"name": "many", "namespace": "default"}, "spec": {"clusterIP": "None"}}),
        json!({"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
               "ports": [{"name": "http", "port": 80}],
               "metadata": {"namespace": "default", "name": "many-0",
                            "labels": {"kubernetes.io/service-name": "many"}}}),
    ];
    Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &load(&objects).0.snapshot(), 42)
}

fn ask(packet: &[u8], transport: Transport, synced: bool, rotation: u32) -> (Outcome, Vec<u8>) {
    let mut buffer = vec![0; 65_535];
    let outcome = answer(&zone(), packet, Context { transport, synced, rotation }, &mut buffer);
    if let Outcome::Reply(length) = outcome {
        buffer.truncate(length);
    }
    (outcome, buffer)
}

fn reply(packet: &[u8]) -> Response {
    let (outcome, bytes) = ask(packet, Transport::Udp, true, 0);
    assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
    read_response(&bytes).unwrap()
}

/// The packet with one byte changed.
fn with(mut packet: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    packet[at] = byte;
    packet
}

#[test]
fn flags_of_an_answer() {
    for (flags, expected) in
        [([0x01, 0x00], [0x85, 0x00]), ([0x00, 0x10], [0x84, 0x10]), ([0x01, 0x20], [0x85, 0x00])]
    {
        let mut packet = query(NAME, "A", None);
        packet[2..4].copy_from_slice(&flags);
        let (_, bytes) = ask(&packet, Transport::Udp, true, 0);
        assert_eq!(bytes[2..4], expected, "RD and CD are copied, AA is set, RA and AD are not");
    }
}

#[test]
fn odd_queries_get_the_right_code() {
    let plain = || query(NAME, "A", None);
    let class = plain().len() - 1;
    let edns = || query(NAME, "A", Some(1232));
    let version = edns().len() - 5;
    for (what, packet, code) in [
        ("opcode STATUS", with(plain(), 2, 0x11), 4),
        ("opcode UPDATE", with(plain(), 2, 0x28), 4),
        ("class CH", with(plain(), class, 3), 5),
        ("class ANY", with(plain(), class, 255), 5),
        ("AXFR", query("cluster.local", "AXFR", None), 5),
        ("IXFR", query("cluster.local", "IXFR", None), 5),
        ("EDNS version 1", with(edns(), version, 1), 16),
        ("no question", with(plain(), 5, 0), 2),
        ("two questions", with(plain(), 5, 2), 1),
        ("a record that is not there", with(plain(), 7, 1), 1),
        ("pointer in the question", with(plain(), 12, 0xc0), 1),
        ("reserved label type", with(plain(), 12, 0x40), 1),
        ("cut in the name", plain()[..20].to_vec(), 1),
        ("cut in the type", plain()[..class - 2].to_vec(), 1),
        ("OPT cut", edns()[..version].to_vec(), 1),
    ] {
        let response = reply(&packet);
        assert_eq!((response.rcode, response.answers.len()), (code, 0), "{what}");
    }
    let two = [edns(), edns()[edns().len() - 11..].to_vec()].concat();
    assert_eq!(reply(&with(two, 11, 2)).rcode, 1, "two OPT records");
    let trailing = [plain(), vec![1, 2, 3]].concat();
    assert_eq!(reply(&trailing).rcode, 0, "bytes after the message do no harm");
}

#[test]
fn what_is_no_query_gets_no_reply() {
    let answer = with(query(NAME, "A", None), 2, 0x81);
    for packet in [&answer[..], &[], &[1, 2, 3], &answer[..11]] {
        assert_eq!(ask(packet, Transport::Udp, true, 0).0, Outcome::Silent);
    }
}

#[test]
fn names_outside_are_forwarded() {
    for name in ["example.com", "local", "xcluster.local", "1.0.0.127.in-addr.arpa", "."] {
        assert_eq!(ask(&query(name, "A", None), Transport::Udp, true, 0).0, Outcome::Forward, "{name}");
    }
}

#[test]
fn the_case_of_the_question_is_kept() {
    let response = reply(&query("_HtTp._TcP.WeB.dEfault.SVC.cLuStEr.LoCaL", "SRV", None));
    let texts: Vec<String> =
        response.answers.iter().chain(&response.additional).map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "_HtTp._TcP.WeB.dEfault.SVC.cLuStEr.LoCaL. 30 IN SRV 0 100 80 web.default.svc.cLuStEr.LoCaL.",
            "web.default.svc.cLuStEr.LoCaL. 30 IN A 10.96.0.20",
        ]
    );
    let negative = reply(&query("Nope.Default.svc.Cluster.LOCAL", "A", None));
    assert_eq!(
        negative.authority[0].to_string(),
        "Cluster.LOCAL. 30 IN SOA ns.dns.Cluster.LOCAL. hostmaster.Cluster.LOCAL. 42 7200 1800 86400 30"
    );
}

#[test]
fn edns_is_answered_with_edns_only() {
    assert!(reply(&query(NAME, "A", None)).additional.is_empty());
    let opt = &reply(&query(NAME, "A", Some(4096))).additional[0];
    assert_eq!((opt.kind, opt.class, opt.ttl), (41, 1232, 0));
    let mut dnssec = query(NAME, "A", Some(4096));
    let flags = dnssec.len() - 4;
    dnssec[flags] = 0x80;
    assert_eq!(reply(&dnssec).additional[0].ttl, 0x8000, "DO is copied");
}

#[test]
fn an_answer_fits_what_the_client_takes() {
    let name = "many.default.svc.cluster.local";
    for (size, limit) in [(None, 512), (Some(100), 512), (Some(1232), 1232), (Some(4096), 4096)] {
        let (_, bytes) = ask(&query(name, "A", size), Transport::Udp, true, 7);
        let response = read(&bytes);
        assert!(bytes.len() <= limit && bytes.len() > limit.min(3000) - 40, "{} of {limit}", bytes.len());
        assert_eq!(response.truncated, limit < 3000);
    }
    let (_, whole) = ask(&query(name, "A", None), Transport::Tcp, true, 7);
    assert_eq!(read(&whole).answers.len(), 200);
}

#[test]
fn each_query_starts_with_another_endpoint() {
    let packet = query("many.default.svc.cluster.local", "A", None);
    let first = |rotation| read(&ask(&packet, Transport::Udp, true, rotation).1).answers[0].data.clone();
    assert_ne!(first(0), first(1));
    assert_eq!(first(0), first(200));
}

#[test]
fn srv_weights_share_a_hundred_and_are_never_zero() {
    let (_, bytes) =
        ask(&query("_http._tcp.many.default.svc.cluster.local", "SRV", None), Transport::Tcp, true, 0);
    let response = read(&bytes);
    assert_eq!((response.answers.len(), response.additional.len()), (200, 200));
    assert_eq!(
        response.answers[3].to_string(),
        "_http._tcp.many.default.svc.cluster.local. 30 IN SRV 0 1 80 10-244-1-3.many.default.svc.cluster.local."
    );
    assert_eq!(
        response.additional[199].to_string(),
        "10-244-1-199.many.default.svc.cluster.local. 30 IN A 10.244.1.199"
    );
}

#[test]
fn before_everything_is_known_a_missing_name_is_servfail() {
    for (name, code) in [(NAME, 0), ("nope.default.svc.cluster.local", 2), ("9.9.9.9.in-addr.arpa", 2)] {
        let (_, bytes) = ask(&query(name, "A", None), Transport::Udp, false, 0);
        assert_eq!(read_response(&bytes).unwrap().rcode, code, "{name}");
    }
}
