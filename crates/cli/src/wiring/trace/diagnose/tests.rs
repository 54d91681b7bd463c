//! Each kind of "no", and the sentence for it.

use serde_json::{Value, json};

use super::*;
use crate::wiring::agent::explanation::EndpointView;
use crate::wiring::trace::cluster::Sender;
use crate::wiring::trace::question::{Kernel, Live, NameStep, Resolver};
use crate::wiring::trace::target::Target;

fn sender() -> Sender {
    Sender {
        namespace: Some("default".into()),
        name: Some("nginx".into()),
        address: "10.244.1.5".parse().ok(),
        node: "worker-1".into(),
        resolver: Resolver {
            policy: "ClusterFirst".into(),
            namespace: "default".into(),
            ..Resolver::default()
        },
        ..Sender::default()
    }
}

fn facts(services: &[Value], pods: &[Value]) -> Facts {
    let read = |values: &[Value]| Value::Array(values.to_vec());
    Facts {
        services: serde_json::from_value(read(services)).unwrap(),
        namespaces: vec!["default".into(), "shop".into()],
        pods: serde_json::from_value(read(pods)).unwrap(),
        slices: Vec::new(),
    }
}

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn web() -> Value {
    service(
        "default",
        "web",
        json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 9898}]}),
    )
}

fn pod(name: &str, app: &str, status: Value) -> Value {
    json!({"metadata": {"namespace": "default", "name": name, "labels": {"app": app}}, "status": status,
           "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 9898, "name": "http"}]}]}})
}

/// A trace that ended with this delivery.
fn delivered(host: &str, port: u16, delivery: Delivery) -> Report {
    let view = ServiceView { namespace: "default".into(), name: "web".into(), port_name: String::new() };
    Report {
        sender: sender(),
        target: Target { host: host.into(), port, protocol: "tcp".into() },
        delivery: Some(Delivery { service: Some(view), source_allowed: true, ..delivery }),
        verdict: Verdict::Refused,
        ..Report::default()
    }
}

/// A trace whose name has no address.
fn unnamed(host: &str, answers: &[&str]) -> Report {
    let step = |answer: &&str| NameStep {
        name: format!("{host}.default.svc.cluster.local"),
        answer: (*answer).into(),
        answered_by: "10.96.0.10 (worker-1)".into(),
        ..NameStep::default()
    };
    Report {
        sender: sender(),
        target: Target { host: host.into(), port: 80, protocol: "tcp".into() },
        names: answers.iter().map(step).collect(),
        verdict: Verdict::NoAddress,
        ..Report::default()
    }
}

#[track_caller]
fn told(mut report: Report, facts: &Facts) -> Problem {
    explain(&mut report, facts);
    report.problem.expect("a problem")
}

fn endpoint(standing: Standing, node: &str) -> EndpointView {
    EndpointView {
        address: "10.244.2.2".into(),
        port: Some(9898),
        node: Some(node.into()),
        pod: Some("web-0".into()),
        standing,
        ..EndpointView::default()
    }
}

#[test]
fn names_without_an_address() {
    let shop = service("shop", "cart", json!({"clusterIP": "10.96.1.2", "ports": [{"port": 80}]}));
    let headless = service("default", "db", json!({"clusterIP": "None"}));
    let alias = service("default", "out", json!({"type": "ExternalName", "externalName": "a.invalid"}));
    let facts = facts(&[web(), shop, headless, alias], &[]);
    let cases = [
        (
            "cart",
            "There is no Service cart in namespace default; there is one in shop, whose name from here is cart.shop.",
        ),
        ("wbe", "There is no Service wbe in namespace default; did you mean web?"),
        ("nothing-like-it", "There is no Service nothing-like-it in namespace default, nor in any other."),
        (
            "cart.shup.svc",
            "There is no Service cart in namespace shup; there is one in shop, whose name from here is cart.shop.",
        ),
        ("x.shup.svc", "There is no namespace shup, so there is no Service x in it."),
        (
            "example.com",
            "The name example.com is not known: neither as a Service of the cluster nor to the name servers outside of it.",
        ),
        (
            "db",
            "Service default/db is headless, so its name stands for the addresses of its ready pods, and it has none.",
        ),
        (
            "out",
            "Service default/out is an alias (ExternalName) for a.invalid, and that name has no address.",
        ),
        ("web", "Service default/web has no IPv4 address, and the sender has only IPv4."),
    ];
    for (host, expected) in cases {
        assert_eq!(told(unnamed(host, &["NXDOMAIN", "NXDOMAIN"]), &facts).why, expected, "{host}");
    }
    let right = told(unnamed("cart", &["NXDOMAIN"]), &facts);
    assert_eq!(right.commands, ["sluice trace nginx cart.shop:80"]);
    let silent = told(unnamed("nope", &["no answer"]), &facts);
    assert!(silent.why.starts_with("The DNS server 10.96.0.10 (worker-1) did not answer"), "{}", silent.why);
    let failed = told(unnamed("example.com", &["NXDOMAIN", "SERVFAIL"]), &facts);
    assert!(failed.why.contains("says SERVFAIL to example.com"), "{}", failed.why);
    let mut plain = unnamed("nope", &["NXDOMAIN"]);
    plain.sender.resolver.policy = "Default".into();
    assert!(told(plain, &facts).why.starts_with("The pod's dnsPolicy is Default"));
}

#[test]
fn services_without_an_endpoint() {
    let refused = |kind| Delivery { kind, fate: Fate::Refused, ..Delivery::default() };
    let report = || delivered("web", 80, refused(DestinationKind::ClusterIp));
    let waiting = json!({"containerStatuses": [{"name": "c", "ready": false, "state": {"waiting": {"reason": "ErrImagePull"}},
                         "image": "", "imageID": "", "restartCount": 0}]});
    let pending = json!({"phase": "Pending", "conditions":
                        [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]});
    let bare = service("default", "web", json!({"ports": [{"port": 80}]}));
    let cases = [
        (
            facts(&[bare], &[]),
            "Service default/web has no selector, and nobody has made an EndpointSlice with a ready address for it.",
        ),
        (
            facts(&[web()], &[pod("wbe-0", "wbe", json!({}))]),
            "Service default/web selects pods with the labels app=web, and no pod of namespace default has them. Pod wbe-0 comes near, with app=wbe.",
        ),
        (
            facts(&[web()], &[pod("web-0", "web", waiting), pod("web-1", "web", pending)]),
            "None of the pods of Service default/web is ready: web-0 waits (ErrImagePull); web-1 is on no node (no nodes).",
        ),
        (facts(&[], &[]), "Service default/web has just been deleted."),
    ];
    for (facts, expected) in cases {
        assert_eq!(told(report(), &facts).why, expected);
    }
}

#[test]
fn a_target_port_that_no_container_has() {
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]});
    let facts = facts(&[service("default", "web", spec)], &[pod("web-0", "web", json!({}))]);
    let delivery = Delivery {
        kind: DestinationKind::ClusterIp,
        fate: Fate::Refused,
        endpoints: vec![EndpointView { port: None, ..endpoint(Standing::OtherPort, "worker-1") }],
        ..Delivery::default()
    };
    let why = told(delivered("web", 80, delivery), &facts).why;
    let expected = "Service default/web sends to the port named \"web\" of its pods, and their containers define http (9898).";
    assert_eq!(why, expected);
}

#[test]
fn ports_policies_and_addresses() {
    let facts = facts(&[web()], &[]);
    let with = |kind, fate| Delivery { kind, fate, ..Delivery::default() };
    let undefined = Delivery {
        defined_ports: vec!["80/TCP".into(), "53/UDP dns".into()],
        ..with(DestinationKind::UndefinedPort, Fate::Refused)
    };
    let problem = told(delivered("web", 9898, undefined.clone()), &facts);
    assert_eq!(
        problem.why,
        "Service default/web has no port 9898/TCP; it defines 80/TCP, 53/UDP dns. 9898 is the port of its pods; the Service's own is 80."
    );
    assert_eq!(problem.commands, ["sluice trace nginx web:80", "sluice trace nginx web:53 --proto udp"]);
    let other = told(delivered("web", 53, undefined), &facts).why;
    assert!(other.ends_with("Port 53 is there, but not for TCP."), "{other}");

    let local = Delivery {
        policy_field: Some("internalTrafficPolicy".into()),
        endpoints: vec![endpoint(Standing::OtherNode, "worker-2")],
        ..with(DestinationKind::ClusterIp, Fate::Dropped)
    };
    let why = told(delivered("web", 80, local), &facts).why;
    assert!(why.contains("internalTrafficPolicy: Local") && why.ends_with("they are on worker-2."), "{why}");

    let mut ranges = delivered("192.0.2.1", 80, with(DestinationKind::LoadBalancer, Fate::Dropped));
    if let Some(delivery) = &mut ranges.delivery {
        (delivery.source_allowed, delivery.source_ranges) = (false, vec!["203.0.113.0/24".into()]);
    }
    let why = told(ranges, &facts).why;
    assert!(
        why.starts_with("10.244.1.5 may not use this address") && why.contains("203.0.113.0/24"),
        "{why}"
    );

    let why = told(delivered("10.96.7.7", 80, with(DestinationKind::Unallocated, Fate::Dropped)), &facts).why;
    assert!(why.starts_with("No Service has the address 10.96.7.7"), "{why}");
    let why = told(delivered("10.96.7.7", 80, with(DestinationKind::LeftAlone, Fate::Untouched)), &facts).why;
    assert!(why.contains("leaves it to another proxy"), "{why}");
}

#[test]
fn a_headless_services_port_is_its_pods() {
    let headless =
        service("default", "db", json!({"clusterIP": "None", "ports": [{"port": 80, "targetPort": 5432}]}));
    let mut facts = facts(&[headless], &[]);
    facts.slices = vec![
        serde_json::from_value(
            json!({"addressType": "IPv4", "metadata": {}, "endpoints": [], "ports": [{"port": 5432}]}),
        )
        .unwrap(),
    ];
    let direct = |port| Report { verdict: Verdict::Unknown, ..delivered("db", port, Delivery::default()) };
    let why = told(direct(80), &facts).why;
    assert!(why.contains("serve port 5432, not 80, and a headless Service translates no ports"), "{why}");
    let mut right = direct(5432);
    explain(&mut right, &facts);
    assert_eq!((right.verdict, right.problem), (Verdict::Connects, None));
}

#[test]
fn what_only_the_packet_shows() {
    let facts = facts(&[web()], &[]);
    let forwarded = Delivery {
        kind: DestinationKind::ClusterIp,
        fate: Fate::Forwarded,
        endpoints: vec![endpoint(Standing::In, "worker-2")],
        ..Delivery::default()
    };
    let mut report = delivered("web", 80, forwarded);
    report.live = Some(Live {
        outcome: LiveOutcome::Refused,
        endpoint: Some("10.244.2.2:9898".into()),
        ..Live::default()
    });
    let why = told(report.clone(), &facts).why;
    assert!(why.contains("pod web-0 (10.244.2.2:9898) refused it"), "{why}");
    report.live = None;
    report.verdict = Verdict::Unknown;
    report.kernel = Some(Kernel::default());
    let why = told(report.clone(), &facts).why;
    assert!(why.starts_with("The kernel of worker-1 does not hold"), "{why}");
    report.unsynced = Some("DNS is not synced".into());
    assert!(told(report, &facts).why.contains("(DNS is not synced)"));
}

#[test]
fn letters_that_differ() {
    let cases = [("web", "web", 0), ("wbe", "web", 1), ("", "web", 3), ("podinf", "podinfo", 1)];
    for (left, right, expected) in cases {
        assert_eq!(names::distance(left, right), expected, "{left} {right}");
    }
}
