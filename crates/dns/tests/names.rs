//! What each name means, as tables: CoreDNS's contract beyond the recorded cases, and where we differ on purpose.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use dns::zone::{Pods, Suffix, Zone, ZoneConfig};
use serde_json::{Value, json};
use support::load;

fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}

fn service(name: &str, spec: Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({"kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn slice(service: &str, number: u32, ports: Value, endpoints: Value) -> Value {
    let (namespace, service) = service.split_once('/').unwrap();
    json!({"kind": "EndpointSlice", "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
           "metadata": {"namespace": namespace, "name": format!("{service}-{number}"),
                        "labels": {"kubernetes.io/service-name": service}}})
}

fn objects() -> Vec<Value> {
    let http = json!([{"name": "http", "port": 80}]);
    let endpoints = json!([{"addresses": ["10.244.1.2"]}, {"addresses": ["10.244.2.2"], "hostname": "Pet-0"},
                           {"addresses": ["10.244.3.2"], "conditions": {"ready": false}},
                           {"addresses": ["10.244.4.2"], "targetRef": {"kind": "Pod", "name": "web-7f"}}]);
    vec![
        namespace("default"),
        namespace("kube-system"),
        namespace("hidden"),
        service(
            "default/web",
            json!({"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80},
                                      {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]}),
        ),
        slice("default/web", 0, http.clone(), endpoints.clone()),
        service("default/empty", json!({"clusterIP": "10.96.0.21", "ports": http})),
        service("default/unnamed", json!({"clusterIP": "10.96.0.22", "ports": [{"port": 8080}]})),
        service("default/pets", json!({"clusterIP": "None", "ports": http})),
        slice("default/pets", 0, json!([{"name": "http", "port": 8080}]), endpoints),
        service("default/waiting", json!({"clusterIP": "None"})),
        service("hidden/web", json!({"clusterIP": "10.96.0.23", "ports": http})),
        service("absent/web", json!({"clusterIP": "10.96.0.24", "ports": http})),
        service(
            "kube-system/kube-dns",
            json!({"clusterIP": "10.96.0.10", "ports": [{"name": "dns", "port": 53}]}),
        ),
        slice(
            "kube-system/kube-dns",
            0,
            json!([]),
            json!([{"addresses": ["172.18.0.2"]}, {"addresses": ["172.18.0.3"]}]),
        ),
        service("default/out", json!({"type": "ExternalName", "externalName": "www.example.com"})),
        service(
            "default/in",
            json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}),
        ),
        service(
            "default/gone",
            json!({"type": "ExternalName", "externalName": "nope.default.svc.cluster.local"}),
        ),
        service(
            "default/self",
            json!({"type": "ExternalName", "externalName": "self.default.svc.cluster.local"}),
        ),
        service("default/number", json!({"type": "ExternalName", "externalName": "192.0.2.1"})),
    ]
}

fn zone(change: impl FnOnce(&mut ZoneConfig)) -> Zone {
    let mut config = ZoneConfig::cluster("cluster.local").unwrap();
    config.local_addresses = vec!["10.96.0.10".parse().unwrap(), "172.18.0.2".parse().unwrap()];
    change(&mut config);
    let (model, pods) = load(&objects());
    Zone::build(Arc::new(config), &model.snapshot(), 42).with_pods(pods)
}

fn check(zone: &Zone, table: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(name, kind, expected)| (name, kind, expected, zone.lookup(name, kind).unwrap().to_string()))
        .filter(|(_, _, expected, found)| *expected != found)
        .map(|(name, kind, expected, found)| format!("{name} {kind} => {found}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn services_endpoints_and_ports() {
    check(
        &zone(|_| {}),
        &[
            ("web.default.svc.cluster.local", "A", "10.96.0.20"),
            ("web.default.svc.cluster.local", "ANY", "NODATA"),
            ("web.default.svc.cluster.local", "MX", "NODATA"),
            (
                "web.default.svc.cluster.local",
                "SRV",
                "0 33 53 web.default.svc.cluster.local. | 0 33 80 web.default.svc.cluster.local.",
            ),
            ("http.tcp.web.default.svc.cluster.local", "SRV", "0 100 80 web.default.svc.cluster.local."),
            ("_._udp.web.default.svc.cluster.local", "SRV", "0 100 53 web.default.svc.cluster.local."),
            ("_http._udp.web.default.svc.cluster.local", "SRV", "NXDOMAIN"),
            ("_http._tcp.web.default.svc.cluster.local", "TXT", "NODATA"),
            ("10-244-1-2.web.default.svc.cluster.local", "A", "10.244.1.2"),
            ("pet-0.web.default.svc.cluster.local", "A", "10.244.2.2"),
            ("10-244-2-2.web.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("10-244-3-2.web.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("pet-0.web.default.svc.cluster.local", "SRV", "0 100 80 pet-0.web.default.svc.cluster.local."),
            ("pet-0.web.default.svc.cluster.local", "AAAA", "NODATA"),
            ("a.b.c.web.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("unnamed.default.svc.cluster.local", "SRV", "0 100 8080 unnamed.default.svc.cluster.local."),
            ("empty.default.svc.cluster.local", "A", "10.96.0.21"),
            ("pets.default.svc.cluster.local", "A", "10.244.1.2 | 10.244.2.2 | 10.244.4.2"),
            ("_http._tcp.pets.default.svc.cluster.local", "A", "10.244.1.2 | 10.244.2.2 | 10.244.4.2"),
            ("_https._tcp.pets.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("waiting.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("web.absent.svc.cluster.local", "A", "NXDOMAIN"),
            ("absent.svc.cluster.local", "A", "NXDOMAIN"),
            ("web.default.cluster.local", "A", "NXDOMAIN"),
            ("dns-version.cluster.local", "A", "NODATA"),
            ("svc.cluster.local.cluster.local", "A", "NXDOMAIN"),
        ],
    );
}

#[test]
fn names_above_names_are_no_data() {
    check(
        &zone(|_| {}),
        &[
            ("_tcp.web.default.svc.cluster.local", "SRV", "NODATA"),
            ("_udp.web.default.svc.cluster.local", "A", "NODATA"),
            ("_sctp.web.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("_tcp.pets.default.svc.cluster.local", "A", "NODATA"),
            ("_udp.pets.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("dns.cluster.local", "A", "NODATA"),
            ("ns.dns.cluster.local", "A", "10.96.0.10"),
            ("0.96.10.in-addr.arpa", "PTR", "NODATA"),
            ("96.10.in-addr.arpa", "NS", "NODATA"),
            ("10.in-addr.arpa", "A", "NODATA"),
        ],
    );
}

#[test]
fn reverse_names_point_to_virtual_ips_then_to_endpoints() {
    check(
        &zone(|_| {}),
        &[
            ("20.0.96.10.in-addr.arpa", "PTR", "web.default.svc.cluster.local."),
            ("20.0.96.10.in-addr.arpa", "A", "NODATA"),
            (
                "2.1.244.10.in-addr.arpa",
                "PTR",
                "10-244-1-2.pets.default.svc.cluster.local. | 10-244-1-2.web.default.svc.cluster.local.",
            ),
            ("2.3.244.10.in-addr.arpa", "PTR", "forward"),
            ("99.0.96.10.in-addr.arpa", "PTR", "forward"),
            ("020.0.96.10.in-addr.arpa", "PTR", "forward"),
            ("1.2.3.4.5.in-addr.arpa", "PTR", "forward"),
            ("1.0.0.0.ip6.arpa", "PTR", "forward"),
        ],
    );
    let strict = zone(|config| {
        config.zones =
            ["cluster.local", "96.10.in-addr.arpa"].map(|name| Suffix::new(name, false).unwrap()).to_vec()
    });
    check(
        &strict,
        &[
            ("20.0.96.10.in-addr.arpa", "PTR", "web.default.svc.cluster.local."),
            ("99.0.96.10.in-addr.arpa", "PTR", "NXDOMAIN"),
            ("0.96.10.in-addr.arpa", "PTR", "NODATA"),
            ("1.96.10.in-addr.arpa", "PTR", "NXDOMAIN"),
            ("x.96.10.in-addr.arpa", "PTR", "NXDOMAIN"),
            ("2.1.244.10.in-addr.arpa", "PTR", "forward"),
        ],
    );
}

#[test]
fn aliases() {
    let zone = zone(|_| {});
    check(
        &zone,
        &[
            ("out.default.svc.cluster.local", "CNAME", "www.example.com."),
            ("out.default.svc.cluster.local", "A", "CNAME www.example.com."),
            ("out.default.svc.cluster.local", "SRV", "NODATA"),
            ("out.default.svc.cluster.local", "MX", "NODATA"),
            ("x.out.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("_http._tcp.out.default.svc.cluster.local", "SRV", "NXDOMAIN"),
            ("in.default.svc.cluster.local", "A", "10.96.0.20 | CNAME web.default.svc.cluster.local."),
            ("in.default.svc.cluster.local", "AAAA", "CNAME web.default.svc.cluster.local."),
            ("self.default.svc.cluster.local", "A", "NODATA"),
            ("number.default.svc.cluster.local", "A", "NXDOMAIN"),
        ],
    );
    let gone = zone.lookup("gone.default.svc.cluster.local", "A").unwrap();
    assert_eq!((gone.response.rcode, gone.answers().len(), gone.response.authority.len()), (3, 1, 1));
    let outside = zone.lookup("out.default.svc.cluster.local", "A").unwrap();
    assert_eq!(outside.source, dns::lookup::Source::Chase);
}

#[test]
fn a_chain_of_aliases_has_ten_links_at_most() {
    let mut objects = vec![namespace("default")];
    for link in 0..12 {
        let target = format!("l{}.default.svc.cluster.local", link + 1);
        objects.push(service(
            &format!("default/l{link}"),
            json!({"type": "ExternalName", "externalName": target}),
        ));
    }
    objects.push(service("default/l12", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]})));
    let zone =
        Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &load(&objects).0.snapshot(), 1);
    let answers = |name: &str| zone.lookup(name, "A").unwrap().answers().len();
    assert_eq!(answers("l2.default.svc.cluster.local"), 11);
    assert_eq!(answers("l1.default.svc.cluster.local"), 0);
}

#[test]
fn pods() {
    let pod = "10-244-1-9.default.pod.cluster.local";
    check(
        &zone(|config| config.pods = Pods::Insecure),
        &[
            (pod, "A", "10.244.1.9"),
            (pod, "AAAA", "NODATA"),
            ("fd00--9.default.pod.cluster.local", "AAAA", "fd00::9"),
            ("x.default.pod.cluster.local", "A", "NXDOMAIN"),
            ("default.pod.cluster.local", "A", "NODATA"),
            ("10-244-1-9.absent.pod.cluster.local", "A", "NXDOMAIN"),
            ("x.10-244-1-9.default.pod.cluster.local", "A", "NXDOMAIN"),
        ],
    );
    check(
        &zone(|config| config.pods = Pods::Disabled),
        &[
            (pod, "A", "NXDOMAIN"),
            ("default.pod.cluster.local", "A", "NXDOMAIN"),
            ("pod.cluster.local", "A", "NODATA"),
        ],
    );
    let verified = zone(|config| config.pods = Pods::Verified);
    check(&verified, &[(pod, "A", "NXDOMAIN")]);
    let mut table = dns::zone::PodTable::default();
    table.insert("default", "10.244.1.9".parse().unwrap());
    check(&verified.with_pods(table.clone()), &[(pod, "A", "10.244.1.9")]);
    table.remove("default", "10.244.1.9".parse().unwrap());
    check(&verified.with_pods(table), &[(pod, "A", "NXDOMAIN")]);
}

#[test]
fn options_change_what_exists() {
    check(
        &zone(|config| config.ignore_empty_service = true),
        &[
            ("empty.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("web.default.svc.cluster.local", "A", "10.96.0.20"),
        ],
    );
    check(
        &zone(|config| config.endpoint_pod_names = true),
        &[
            ("web-7f.web.default.svc.cluster.local", "A", "10.244.4.2"),
            ("10-244-4-2.web.default.svc.cluster.local", "A", "NXDOMAIN"),
            ("10-244-1-2.web.default.svc.cluster.local", "A", "10.244.1.2"),
            ("pet-0.web.default.svc.cluster.local", "A", "10.244.2.2"),
        ],
    );
    check(
        &zone(|config| config.namespaces = ["default".to_owned()].into()),
        &[
            ("web.default.svc.cluster.local", "A", "10.96.0.20"),
            ("web.hidden.svc.cluster.local", "A", "NXDOMAIN"),
            ("hidden.svc.cluster.local", "A", "NXDOMAIN"),
            ("23.0.96.10.in-addr.arpa", "PTR", "forward"),
        ],
    );
    check(
        &zone(|config| config.zones.insert(0, Suffix::new("Example.ORG", false).unwrap())),
        &[
            ("web.default.svc.example.org", "A", "10.96.0.20"),
            ("web.default.svc.cluster.local", "A", "10.96.0.20"),
            ("20.0.96.10.in-addr.arpa", "PTR", "web.default.svc.example.org."),
        ],
    );
}

#[test]
fn the_name_server_is_the_service_that_has_our_address() {
    check(
        &zone(|_| {}),
        &[
            ("cluster.local", "NS", "kube-dns.kube-system.svc.cluster.local."),
            ("in-addr.arpa", "NS", "kube-dns.kube-system.svc.cluster.local."),
        ],
    );
    let only_node = zone(|config| config.local_addresses = vec!["172.18.0.3".parse().unwrap()]);
    let answer = only_node.lookup("cluster.local", "NS").unwrap();
    assert_eq!(answer.to_string(), "kube-dns.kube-system.svc.cluster.local.");
    assert_eq!(
        answer.response.additional[0].to_string(),
        "kube-dns.kube-system.svc.cluster.local. 30 IN A 10.96.0.10"
    );
    check(
        &zone(|config| config.local_addresses = vec!["192.0.2.9".parse().unwrap()]),
        &[("cluster.local", "NS", "ns.dns.cluster.local."), ("ns.dns.cluster.local", "A", "192.0.2.9")],
    );
    check(&zone(|config| config.local_addresses.clear()), &[("cluster.local", "NS", "NODATA")]);
}

#[test]
fn the_dump_has_the_records_of_the_specification() {
    let mut objects = objects();
    objects.retain(|object| {
        ["default", "web", "pets", "out"].contains(&object["metadata"]["name"].as_str().unwrap())
            || object["metadata"]["name"] == "pets-0"
    });
    objects.retain(|object| {
        object["metadata"]["namespace"] != "hidden" && object["metadata"]["namespace"] != "absent"
    });
    let zone =
        Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &load(&objects).0.snapshot(), 1);
    let expected = "\
out.default.svc.cluster.local CNAME => www.example.com.
pets.default.svc.cluster.local A => 10.244.1.2 | 10.244.2.2 | 10.244.4.2
_http._tcp.pets.default.svc.cluster.local SRV => 0 33 8080 10-244-1-2.pets.default.svc.cluster.local. | 0 33 8080 10-244-4-2.pets.default.svc.cluster.local. | 0 33 8080 pet-0.pets.default.svc.cluster.local.
10-244-1-2.pets.default.svc.cluster.local A => 10.244.1.2
10-244-4-2.pets.default.svc.cluster.local A => 10.244.4.2
pet-0.pets.default.svc.cluster.local A => 10.244.2.2
2.1.244.10.in-addr.arpa PTR => 10-244-1-2.pets.default.svc.cluster.local.
2.2.244.10.in-addr.arpa PTR => pet-0.pets.default.svc.cluster.local.
2.4.244.10.in-addr.arpa PTR => 10-244-4-2.pets.default.svc.cluster.local.
web.default.svc.cluster.local A => 10.96.0.20
_dns._udp.web.default.svc.cluster.local SRV => 0 100 53 web.default.svc.cluster.local.
_dns-tcp._tcp.web.default.svc.cluster.local SRV => 0 100 53 web.default.svc.cluster.local.
_http._tcp.web.default.svc.cluster.local SRV => 0 100 80 web.default.svc.cluster.local.
20.0.96.10.in-addr.arpa PTR => web.default.svc.cluster.local.
";
    assert_eq!(zone.to_string(), expected);
}

#[test]
fn the_serial_moves_only_with_visible_changes() {
    let (mut model, _) = load(&objects());
    let zone = Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &model.snapshot(), 1);
    model.take_changes();
    let not_ready = slice(
        "default/waiting",
        0,
        json!([]),
        json!([{"addresses": ["10.244.9.9"], "conditions": {"ready": false}}]),
    );
    model.apply_slice(&serde_json::from_value(not_ready).unwrap()).unwrap();
    let zone = zone.update(&model.snapshot(), &model.take_changes(), 2);
    assert_eq!(zone.serial(), 1);
    model.delete_service(&services::ServiceName::new("default", "web"));
    assert_eq!(zone.update(&model.snapshot(), &model.take_changes(), 3).serial(), 3);
}
