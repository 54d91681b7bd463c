//! What must hold for every zone, every name and every packet: order of events never matters, answers fit and are well
//! formed, TC is set exactly when something is missing, hostile packets do no harm.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use dns::answer::{Context, Outcome, Transport, answer};
use dns::message::records::Response;
use dns::zone::{PodTable, Pods, Zone, ZoneConfig};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use services::{Model, ServiceName};
use support::{query, read};

const NAMESPACES: [&str; 2] = ["default", "apps"];
const SERVICES: [&str; 4] = ["a", "b", "podinfo", "x-1"];
const KINDS: [&str; 12] =
    ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "CNAME", "MX", "ANY", "AXFR", "TYPE65"];

/// One thing that happens to the model.
#[derive(Clone, Debug)]
enum Event {
    Service(usize, usize, u8),
    DeleteService(usize, usize),
    Slice(usize, usize, u8, Vec<(u8, u8)>),
    DeleteSlice(usize, usize, u8),
    Namespace(usize, bool),
    Pod(usize, u8, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let name = (0..NAMESPACES.len(), 0..SERVICES.len());
    prop_oneof![
        (name.clone(), 0..7_u8).prop_map(|((n, s), shape)| Event::Service(n, s, shape)),
        name.clone().prop_map(|(n, s)| Event::DeleteService(n, s)),
        (name.clone(), 0..3_u8, vec((0..12_u8, 0..6_u8), 0..5))
            .prop_map(|((n, s), i, e)| Event::Slice(n, s, i, e)),
        (name, 0..3_u8).prop_map(|((n, s), i)| Event::DeleteSlice(n, s, i)),
        (0..NAMESPACES.len(), any::<bool>()).prop_map(|(n, there)| Event::Namespace(n, there)),
        (0..NAMESPACES.len(), 0..6_u8, any::<bool>()).prop_map(|(n, host, there)| Event::Pod(n, host, there)),
    ]
}

fn service(namespace: &str, name: &str, shape: u8) -> Value {
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
                       {"name": "dns-tcp", "port": 53}]);
    let last = name.len() + namespace.len();
    let spec = match shape {
        0 => json!({"clusterIP": "None", "ports": ports}),
        1 => json!({"type": "ExternalName", "externalName": "www.example.com"}),
        2 => json!({"type": "ExternalName", "externalName": "a.apps.svc.cluster.local"}),
        3 => json!({"clusterIP": format!("10.96.0.{last}"), "ports": [{"port": 8080}]}),
        4 => json!({"clusterIPs": [format!("10.96.0.{last}"), format!("fd00::{last}")], "ports": ports}),
        5 => json!({"clusterIP": "10.96.0.10", "ports": ports}),
        _ => json!({"type": "ExternalName", "externalName": format!("{name}.{namespace}.svc.cluster.local")}),
    };
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn slice(namespace: &str, service: &str, index: u8, endpoints: &[(u8, u8)]) -> Value {
    let v6 = index == 2;
    let list: Vec<Value> = endpoints
        .iter()
        .map(|(host, shape)| {
            let address = if v6 { format!("fd01::{host:x}") } else { format!("10.244.{}.{host}", shape % 2) };
            let mut endpoint = json!({"addresses": [address], "conditions": {"ready": *shape != 5}});
            if *shape == 3 || *shape == 4 {
                endpoint["hostname"] = json!(format!("pet-{}", host % 3));
            }
            endpoint
        })
        .collect();
    let ports =
        if index == 1 { json!([]) } else { json!([{"name": "http", "port": 9898 + i32::from(index)}]) };
    json!({"metadata": {"namespace": namespace, "name": format!("{service}-{index}"),
                        "labels": {"kubernetes.io/service-name": service}},
           "addressType": if v6 { "IPv6" } else { "IPv4" }, "ports": ports, "endpoints": list})
}

fn apply(model: &mut Model, event: &Event) {
    match event {
        Event::Service(n, s, shape) => {
            let object = service(NAMESPACES[*n], SERVICES[*s], *shape);
            model.apply_service(&serde_json::from_value(object).unwrap()).unwrap();
        }
        Event::DeleteService(n, s) => model.delete_service(&ServiceName::new(NAMESPACES[*n], SERVICES[*s])),
        Event::Slice(n, s, index, endpoints) => {
            let object = slice(NAMESPACES[*n], SERVICES[*s], *index, endpoints);
            model.apply_slice(&serde_json::from_value(object).unwrap()).unwrap();
        }
        Event::DeleteSlice(n, s, index) => {
            model.delete_slice(&ServiceName::new(NAMESPACES[*n], format!("{}-{index}", SERVICES[*s])));
        }
        Event::Namespace(n, true) => model.apply_namespace(NAMESPACES[*n]),
        Event::Namespace(n, false) => model.delete_namespace(NAMESPACES[*n]),
        // Pods are no part of the model.
        Event::Pod(..) => {}
    }
}

/// The pods after an event.
fn move_pod(pods: &mut BTreeSet<(usize, u8)>, table: &mut PodTable, event: &Event) {
    let Event::Pod(n, host, there) = event else { return };
    let address = pod_address(*host);
    if *there {
        pods.insert((*n, *host));
        table.insert(NAMESPACES[*n], address);
    } else {
        pods.remove(&(*n, *host));
        table.remove(NAMESPACES[*n], address);
    }
}

/// Addresses that the names below ask for.
fn pod_address(host: u8) -> IpAddr {
    if host == 1 { "fd01::1".parse().unwrap() } else { IpAddr::from([10, 244, 0, host]) }
}

fn config_with(pods: Pods) -> Arc<ZoneConfig> {
    let mut config = ZoneConfig::clone(&config());
    config.pods = pods;
    Arc::new(config)
}

fn config() -> Arc<ZoneConfig> {
    let mut config = ZoneConfig::cluster("cluster.local").unwrap();
    config.local_addresses = vec!["10.96.0.10".parse().unwrap(), "172.18.0.2".parse().unwrap()];
    Arc::new(config)
}

fn zone_of(events: &[Event]) -> Zone {
    let mut model = Model::new();
    NAMESPACES.iter().for_each(|namespace| model.apply_namespace(namespace));
    events.iter().for_each(|event| apply(&mut model, event));
    Zone::build(config(), &model.snapshot(), 7)
}

/// Names that exist, nearly exist, or are odd.
fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        Just("_http"),
        Just("_tcp"),
        Just("_udp"),
        Just("_dns"),
        Just("_"),
        Just("pet-1"),
        Just("10-244-0-3"),
        Just("fd01--1"),
        Just("a"),
        Just("podinfo"),
        Just("x-1"),
        Just("nope"),
        Just("DNS"),
        Just("ns"),
    ];
    let tail = prop_oneof![
        Just("default.svc.cluster.local"),
        Just("apps.svc.cluster.local"),
        Just("Default.SVC.Cluster.Local"),
        Just("default.pod.cluster.local"),
        Just("nowhere.svc.cluster.local"),
        Just("svc.cluster.local"),
        Just("cluster.local"),
        Just("dns.cluster.local"),
        Just("3.0.244.10.in-addr.arpa"),
        Just("244.10.in-addr.arpa"),
        Just("10.0.96.10.in-addr.arpa"),
        Just("ip6.arpa"),
        Just("example.com"),
    ];
    (vec(label, 0..4), tail)
        .prop_map(|(labels, tail)| labels.into_iter().chain([tail]).collect::<Vec<_>>().join("."))
}

fn context(transport: Transport, rotation: u32) -> Context {
    Context { transport, synced: true, rotation }
}

/// The answer, if the zone gives one.
fn ask(zone: &Zone, packet: &[u8], transport: Transport, buffer: &mut [u8]) -> Option<usize> {
    match answer(zone, packet, context(transport, 3), buffer) {
        Outcome::Reply(length) | Outcome::Chase(length) => Some(length),
        Outcome::Silent | Outcome::Forward => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_of_events_gives_the_zone_built_from_scratch(
        events in vec((event(), any::<bool>()), 1..40), names in vec(name(), 8), verified in any::<bool>(),
    ) {
        let config = config_with(if verified { Pods::Verified } else { Pods::Insecure });
        let (mut model, mut pods, mut table) = (Model::new(), BTreeSet::new(), PodTable::default());
        let mut zone = Zone::empty(Arc::clone(&config));
        for (event, publish) in &events {
            apply(&mut model, event);
            move_pod(&mut pods, &mut table, event);
            if *publish {
                zone = zone.update(&model.snapshot(), &model.take_changes(), 1).with_pods(table.clone());
            }
        }
        zone = zone.update(&model.snapshot(), &model.take_changes(), 1).with_pods(table);
        let mut table = PodTable::default();
        pods.iter().for_each(|(n, host)| table.insert(NAMESPACES[*n], pod_address(*host)));
        let fresh = Zone::build(config, &model.snapshot(), 2).with_pods(table);
        prop_assert_eq!(zone.dump(), fresh.dump());
        let (mut one, mut other) = (vec![0; 65_535], vec![0; 65_535]);
        for (name, kind) in names.iter().flat_map(|name| KINDS.map(|kind| (name, kind))) {
            let packet = query(name, kind, None);
            let read_from = |zone: &Zone, buffer: &mut [u8]| {
                ask(zone, &packet, Transport::Tcp, buffer).map(|length| read(&buffer[..length]))
            };
            let (one, other) = (read_from(&zone, &mut one), read_from(&fresh, &mut other));
            // All but the serial, which says when.
            let parts = |response: &Response| (response.rcode, response.answers.clone(), response.additional.clone());
            if kind != "SOA" {
                prop_assert_eq!(one.as_ref().map(parts), other.as_ref().map(parts), "{} {}", name, kind);
            }
        }
        prop_assert_eq!(zone, fresh);
    }

    #[test]
    fn answers_fit_and_tc_says_exactly_what_is_missing(
        events in vec(event(), 1..40), names in vec(name(), 8), size in prop::option::of(0..2000_u16),
    ) {
        let zone = zone_of(&events);
        let (mut small, mut large) = (vec![0; 4096], vec![0; 65_535]);
        for (index, name) in names.iter().enumerate() {
            let packet = query(name, KINDS[(index + events.len()) % KINDS.len()], size);
            let Some(length) = ask(&zone, &packet, Transport::Udp, &mut small) else { continue };
            let whole_length = ask(&zone, &packet, Transport::Tcp, &mut large).unwrap();
            let (part, whole) = (read(&small[..length]), read(&large[..whole_length]));
            let limit = usize::from(size.map_or(512, |size| size.max(512)));
            prop_assert!(length <= limit, "{} bytes for a client that takes {}", length, limit);
            prop_assert_eq!(part.truncated, whole_length > limit, "{}", name);
            prop_assert!(!whole.truncated);
            prop_assert_eq!(part.rcode, whole.rcode);
            prop_assert_eq!(part.additional.iter().any(|record| record.kind == 41), size.is_some());
            for (part, whole) in [(&part.answers, &whole.answers), (&part.authority, &whole.authority)] {
                prop_assert!(part.iter().all(|record| whole.contains(record)));
            }
        }
    }

    #[test]
    fn a_negative_answer_has_one_soa_and_a_positive_one_none(events in vec(event(), 1..30), names in vec(name(), 8)) {
        let zone = zone_of(&events);
        let mut buffer = vec![0; 65_535];
        for (index, name) in names.iter().enumerate() {
            let packet = query(name, KINDS[index % KINDS.len()], None);
            let Some(length) = ask(&zone, &packet, Transport::Tcp, &mut buffer) else { continue };
            let response = read(&buffer[..length]);
            let negative = matches!(response.rcode, 0 | 3) && response.answers.iter().all(|record| record.kind == 5);
            let chased = response.answers.last().is_some_and(|record| record.data.ends_with(b"\x07example\x03com\0"));
            let is_the_answer = KINDS[index % KINDS.len()] == "CNAME" && !response.answers.is_empty();
            let expected = usize::from(negative && !chased && !is_the_answer);
            prop_assert_eq!(response.authority.len(), expected, "{} {:?}", name, response);
        }
    }
}

/// A packet that a client might send, then bytes of it changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let well_formed = (name(), 0..KINDS.len(), prop::option::of(any::<u16>()))
        .prop_map(|(name, kind, size)| query(&name, KINDS[kind], size));
    (
        well_formed,
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut packet, changes, end, cut)| {
            for (at, byte) in changes {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            if cut {
                packet.truncate(end.index(packet.len() + 1));
            }
            packet
        })
}

proptest! {
    // Each case puts fifty packets: 100,000 in all.
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn hostile_packets_are_refused_or_ignored(
        mutated in vec(mutated(), 50), random in vec(vec(any::<u8>(), 0..80), 50), synced in any::<bool>(),
    ) {
        let zone = hostile_zone();
        let mut buffer = [0; 4096];
        for packet in mutated.iter().chain(&random) {
            for transport in [Transport::Udp, Transport::Tcp] {
                let context = Context { transport, synced, rotation: 9 };
                if let Outcome::Reply(length) | Outcome::Chase(length) = answer(zone, packet, context, &mut buffer) {
                    prop_assert_eq!(&buffer[..2], &packet[..2]);
                    prop_assert!(buffer[2] & 0x80 != 0, "a reply says so");
                    prop_assert!(dns::message::records::read_response(&buffer[..length]).is_some());
                    prop_assert!(hickory_proto::op::Message::from_vec(&buffer[..length]).is_ok());
                    // Nobody's packets are made much larger: what is not understood comes back no longer than it was.
                    let read = dns::message::parse_query(packet);
                    let takes = read.map_or(packet.len(), |query| query.edns.map_or(512, |edns| edns.udp_size.into()));
                    prop_assert!(transport == Transport::Tcp || length <= takes, "{} bytes for {}", length, takes);
                }
            }
        }
    }

    #[test]
    fn upstream_answers_of_any_kind_do_no_harm(
        mut upstream in vec(any::<u8>(), 0..300), flip in any::<bool>(),
    ) {
        let packet = query("www.default.svc.cluster.local", "A", None);
        if flip && upstream.len() > 12 {
            let question = packet.len().min(upstream.len());
            upstream[12..question].copy_from_slice(&packet[12..question]);
            upstream[2] |= 0x80;
            upstream[4..12].copy_from_slice(&[0, 1, 0, 2, 0, 1, 0, 1]);
        }
        let parsed = dns::message::parse_query(&packet).unwrap();
        for partial in [None, Some(&upstream[..])] {
            let answer = dns::chain::passed_on(&parsed, partial, &upstream, 512);
            prop_assert!(answer.len() <= 512);
            prop_assert!(dns::message::records::read_response(&answer).is_some());
        }
    }
}

/// A zone with something of everything.
fn hostile_zone() -> &'static Zone {
    static ZONE: std::sync::OnceLock<Zone> = std::sync::OnceLock::new();
    ZONE.get_or_init(|| {
        let mut events = Vec::new();
        for namespace in 0..NAMESPACES.len() {
            for service in 0..SERVICES.len() {
                events.push(Event::Service(
                    namespace,
                    service,
                    u8::try_from(namespace * 3 + service).unwrap() % 7,
                ));
                let endpoints = (0..12).map(|host| (host, host % 6)).collect();
                events.push(Event::Slice(namespace, service, u8::try_from(service % 3).unwrap(), endpoints));
            }
        }
        zone_of(&events)
    })
}
