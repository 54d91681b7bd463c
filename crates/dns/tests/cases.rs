//! Runs the recorded cases of cluster DNS (`cases/dns.json`) over real sockets, UDP and TCP, against the real server.
//! One trial for each case; a case of a profile that we do not serve is ignored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use dns::message::records::{Record, Response, rcode_name};
use dns::server::{Server, Sockets};
use dns::zone::{Pods, Suffix, Zone, ZoneConfig};
use serde_json::Value;
use support::{Upstream, ask_tcp, ask_udp, load, query, read};
use testnet::harness::{self, Outcome, Trial};

/// A server for one profile and fixture, with its upstream.
struct Subject {
    server: Server,
    _upstream: Option<Upstream>,
}

/// By profile and fixture, started when first asked for.
type Subjects = Mutex<HashMap<(String, String), Subject>>;

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn zone_config(profile: &Value) -> ZoneConfig {
    let zones = strings(&profile["zones"]);
    let falls =
        |zone: &str| profile["fallthrough"].as_array().is_some_and(|list| list.iter().any(|z| z == zone));
    ZoneConfig {
        zones: zones.iter().map(|zone| Suffix::new(zone, falls(zone)).unwrap()).collect(),
        ttl: u32::try_from(profile["ttl"].as_u64().unwrap()).unwrap(),
        pods: match profile["pods"].as_str().unwrap() {
            "insecure" => Pods::Insecure,
            "verified" => Pods::Verified,
            _ => Pods::Disabled,
        },
        namespaces: strings(&profile["namespaces"]).into_iter().collect(),
        ignore_empty_service: profile["ignore_empty_service"].as_bool().unwrap(),
        endpoint_pod_names: profile["endpoint_pod_names"].as_bool().unwrap(),
        local_addresses: profile["local_ips"].as_array().into_iter().flatten().map(address).collect(),
        udp_bytes_max: None,
    }
}

fn address(value: &Value) -> std::net::IpAddr {
    value.as_str().unwrap().parse().unwrap()
}

/// `www.example.com. A 192.0.2.53, AAAA 2001:db8::1`
fn upstream_of(profile: &Value) -> Option<Upstream> {
    let (name, rest) = profile["upstream"].as_str()?.split_once(' ')?;
    if !name.ends_with('.') {
        return None;
    }
    let records = rest.split(", ").map(|record| {
        let (kind, data) = record.split_once(' ').unwrap();
        (name.to_owned(), kind.to_owned(), data.to_owned())
    });
    Some(Upstream::with_records(records.collect()))
}

fn subject(file: &Value, profile: &str, fixture: &str) -> Subject {
    let profile = &file["profiles"][profile];
    let (model, pods) = load(file["fixtures"][fixture]["objects"].as_array().unwrap());
    let zone = Zone::build(Arc::new(zone_config(profile)), &model.snapshot(), 1_515_173_576).with_pods(pods);
    let upstream = upstream_of(profile);
    let upstreams: Vec<SocketAddr> = upstream.iter().map(|upstream| upstream.address).collect();
    let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let server = Server::start(Arc::new(zone), upstreams, vec![sockets]).unwrap();
    server.set_synced(profile["synced"].as_bool().unwrap());
    Subject { server, _upstream: upstream }
}

/// Compares sets of records; `*` stands for anything.
fn differences(section: &str, expected: &Value, records: &[Record]) -> Vec<String> {
    let mut left: Vec<String> =
        records.iter().filter(|record| record.kind != 41).map(ToString::to_string).collect();
    let mut missing = Vec::new();
    for expected in strings(expected) {
        match left.iter().position(|text| matches(&expected, text)) {
            Some(index) => drop(left.remove(index)),
            None => missing.push(format!("{section}: missing {expected}")),
        }
    }
    missing.extend(left.into_iter().map(|text| format!("{section}: too many: {text}")));
    missing
}

fn matches(expected: &str, text: &str) -> bool {
    let (mut expected, mut text) = (expected.split(' '), text.split(' '));
    loop {
        match (expected.next(), text.next()) {
            (None, None) => return true,
            (Some(expected), Some(text)) if expected == "*" || expected == text => {}
            _ => return false,
        }
    }
}

fn judge(case: &Value, response: &Response) -> Vec<String> {
    let mut wrong = Vec::new();
    if rcode_name(response.rcode) != case["rcode"] {
        wrong.push(format!("rcode: {} instead of {}", rcode_name(response.rcode), case["rcode"]));
    }
    wrong.extend(differences("answer", &case["answers"], &response.answers));
    wrong.extend(differences("authority", &case["authority"], &response.authority));
    // The specification leaves additional records open; CoreDNS's cases give all of them.
    if !case["name"].as_str().unwrap().starts_with("spec/") {
        wrong.extend(differences("extra", &case["extra"], &response.additional));
    }
    if !response.authoritative || response.recursion_available {
        wrong.push("header: AA must be set and RA must not".into());
    }
    if response.truncated != case["tc"].as_bool().unwrap_or(false) {
        wrong.push(format!("header: TC is {}", response.truncated));
    }
    wrong
}

/// Reason why a case is not judged here.
fn skipped(profile: &Value) -> Option<&'static str> {
    match () {
        () if profile["zonal"] == true => Some("zonal names are not served yet"),
        () if profile["multicluster_zones"].as_array().is_some_and(|zones| !zones.is_empty()) => {
            Some("multicluster names are not served yet")
        }
        () => None,
    }
}

fn main() -> ExitCode {
    let file: Arc<Value> = Arc::new(serde_json::from_str(include_str!("cases/dns.json")).unwrap());
    let subjects = Arc::new(Subjects::default());
    let count = file["cases"].as_array().unwrap().len();
    let trial = |index: usize| {
        let (file, subjects) = (Arc::clone(&file), Arc::clone(&subjects));
        let name = file["cases"][index]["name"].as_str().unwrap().to_owned();
        Trial::new(name, move || outcome(&file, &file["cases"][index], &subjects))
    };
    harness::run((0..count).map(trial).collect())
}

/// Asks over UDP and TCP.
fn outcome(file: &Value, case: &Value, subjects: &Subjects) -> Outcome {
    let [profile, fixture, qname, qtype] =
        ["profile", "fixture", "qname", "qtype"].map(|key| case[key].as_str().unwrap());
    if let Some(reason) = skipped(&file["profiles"][profile]) {
        return Outcome::Skipped(reason.to_owned());
    }
    let mut subjects = subjects.lock().unwrap();
    let subject = subjects
        .entry((profile.to_owned(), fixture.to_owned()))
        .or_insert_with(|| subject(file, profile, fixture));
    let server = subject.server.addresses()[0];
    let packet = query(qname, qtype, None);
    let over_udp = read(&ask_udp(server, &packet));
    let over_tcp = read(&ask_tcp(server, &[packet])[0]);
    let wrong: Vec<String> = [("UDP", over_udp), ("TCP", over_tcp)]
        .iter()
        .flat_map(|(transport, response)| {
            judge(case, response).into_iter().map(move |wrong| format!("over {transport}: {wrong}"))
        })
        .collect();
    if wrong.is_empty() { Outcome::Passed } else { Outcome::Failed(wrong.join("\n")) }
}
