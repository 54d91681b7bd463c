//! The smaller plugins and options over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::Counting;
use support::corefile::Served;

const WEB: &str = "web.default.svc.cluster.local";

fn objects() -> Vec<Value> {
    vec![
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}}),
    ]
}

fn served(lines: &str) -> Served {
    Served::with_objects(&format!(".:0 {{\n{lines}\n}}\n"), &objects())
}

#[test]
fn the_machine_itself_is_known_to_local() {
    let served = served("local\nkubernetes cluster.local in-addr.arpa {\n fallthrough in-addr.arpa\n}");
    assert!(served.instance.is_hot());
    assert_eq!(served.answers("localhost", "A"), ["localhost. 604800 IN A 127.0.0.1"]);
    assert_eq!(
        served.answers("localhost.svc.cluster.local", "AAAA"),
        ["localhost.svc.cluster.local. 604800 IN AAAA ::1"]
    );
    assert_eq!(
        served.answers("1.0.0.127.in-addr.arpa", "PTR"),
        ["1.0.0.127.in-addr.arpa. 604800 IN PTR localhost."]
    );
    let nodata = served.ask("2.0.0.127.in-addr.arpa", "PTR");
    assert_eq!((nodata.rcode, nodata.answers.len(), nodata.authority.len()), (0, 0, 1));
    assert_eq!(served.answers(WEB, "A").len(), 1);
    assert_eq!(served.ask("no.default.svc.cluster.local", "A").rcode, 3);
}

#[test]
fn any_minimal_and_header_change_answers() {
    let lines = "any\nminimal\nheader {\n response set ra\n response clear aa\n}\nkubernetes cluster.local";
    let with = served(lines);
    assert!(!with.instance.is_hot());
    let all = with.ask(WEB, "ANY");
    assert_eq!(
        (all.answers[0].kind, all.answers[0].ttl, &all.answers[0].data[..4]),
        (13, 8482, &b"\x0dANY"[..])
    );
    let srv = format!("_http._tcp.{WEB}");
    assert_eq!(served("kubernetes cluster.local").ask(&srv, "SRV").additional.len(), 2, "address and OPT");
    let response = with.ask(&srv, "SRV");
    assert_eq!((response.answers.len(), response.additional.len()), (1, 1), "OPT");
    assert!(response.recursion_available && !response.authoritative);
    assert_eq!(with.ask("no.default.svc.cluster.local", "A").authority.len(), 1, "a denial needs its SOA");
}

#[test]
fn codes_are_rewritten() {
    let upstream = Counting::with_records(&[("www.example.com.", "A", "192.0.2.53")], 60);
    let lines = format!("rewrite rcode suffix .gone.test NXDOMAIN NOERROR\nforward . {}", upstream.address());
    let served = served(&lines);
    assert_eq!(served.ask("a.gone.test", "A").rcode, 0);
    assert_eq!(served.ask("gone.test", "A").rcode, 3, "not below it");
}

#[test]
fn no_data_goes_to_the_next_forward() {
    let empty = Counting::start(|query| {
        let mut answer = support::answer_with(query, 1);
        answer.truncate(answer.len() - 16);
        answer[7] = 0;
        answer
    });
    let good = Counting::with_records(&[("www.example.com.", "A", "192.0.2.53")], 60);
    let lines = format!(
        "forward . {} {{\n next_on_nodata\n source_address 127.0.0.1\n max_connect_attempts 3\n}}\nforward . {} {{\n max_age 1m\n \
         max_idle_conns 3\n}}",
        empty.address(),
        good.address()
    );
    assert_eq!(served(&lines).answers("www.example.com", "A").len(), 1);
}

#[test]
fn two_blocks_of_one_port_serve_zones_of_one_cluster() {
    let text = ".:0 {\n kubernetes cluster.local in-addr.arpa\n}\nother.org:0 {\n kubernetes other.org in-addr.arpa\n}\n";
    let served = Served::with_objects(text, &objects());
    assert!(served.instance.is_hot());
    assert_eq!(served.answers(WEB, "A").len(), 1);
    assert_eq!(served.answers("web.default.svc.other.org", "A").len(), 1);
    assert_eq!(served.answers("20.0.96.10.in-addr.arpa", "PTR").len(), 1);
    let mut served = served;
    let differing =
        support::corefile::config(&text.replace("other.org in-addr.arpa", "other.org {\n ttl 9\n }"));
    let error = served.instance.reload(differing).unwrap_err().to_string();
    assert!(
        error.starts_with("Corefile:5:2: a second kubernetes plugin on one port with other settings"),
        "{error}"
    );
    let labels = ".:53 {\n kubernetes a.b\n}\n.:54 {\n kubernetes a.b {\n labels x=y\n }\n}\n";
    let config = dns::corefile::read(labels, "Corefile", 53, &dns::corefile::NoSources).unwrap();
    assert!(
        config.unsupported[0].to_string().starts_with("Corefile:5:2: a second API, or a second selection")
    );
}

#[test]
fn several_sockets_share_an_address() {
    let served = served("multisocket 3\nkubernetes cluster.local");
    for _ in 0..12 {
        assert_eq!(served.answers(WEB, "A").len(), 1);
    }
}
