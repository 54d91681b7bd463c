//! Corefiles over real sockets: each plugin does what CoreDNS's does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::corefile::{Served, config};
use support::{Counting, Upstream};

const WEB: &str = "web.default.svc.cluster.local";

fn objects() -> Vec<Value> {
    vec![
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}}),
        json!({"kind": "Service", "metadata": {"name": "out", "namespace": "default"},
               "spec": {"type": "ExternalName", "externalName": "www.example.com"}}),
    ]
}

fn example() -> Counting {
    Counting::with_records(
        &[("www.example.com.", "A", "192.0.2.53"), ("www.example.com.", "AAAA", "2001:db8::1")],
        60,
    )
}

/// kubeadm's Corefile on any port, with this upstream.
fn kubeadm(upstream: &Counting) -> String {
    dns::corefile::kubeadm("cluster.local", &upstream.address().to_string()).replace(".:53", ".:0")
}

fn block(lines: &str) -> String {
    format!(".:0 {{\n{lines}\n}}\n")
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn kubeadms_corefile_end_to_end() {
    let upstream = example();
    let mut served = Served::start(&kubeadm(&upstream));
    assert!(served.instance.is_hot(), "the hot path answers the cluster's names by itself");
    assert!(!served.instance.is_ready());
    assert_eq!(served.ask("no.default.svc.cluster.local", "A").rcode, 2, "SERVFAIL until synced");
    let mut model = support::load(&objects()).0;
    served.instance.update(&model.snapshot(), &model.take_changes(), 1);
    assert!(served.instance.is_ready());
    assert_eq!(served.answers(WEB, "A"), [format!("{WEB}. 30 IN A 10.96.0.20")]);
    assert_eq!(served.ask_tcp(WEB, "A").answers.len(), 1);
    assert_eq!(
        served.answers("20.0.96.10.in-addr.arpa", "PTR"),
        [format!("20.0.96.10.in-addr.arpa. 30 IN PTR {WEB}.")]
    );
    assert_eq!(served.ask("no.default.svc.cluster.local", "A").rcode, 3);
    eventually("the probe of the loop plugin", || !upstream.take().is_empty());
    for _ in 0..3 {
        assert_eq!(
            served.answers("www.example.com", "A"),
            ["www.example.com. 30 IN A 192.0.2.53"],
            "TTL at most 30"
        );
        assert_eq!(served.ask("nope.example.com", "A").rcode, 3);
        assert_eq!(served.ask("1.2.0.192.in-addr.arpa", "PTR").rcode, 3, "reverse names fall through");
    }
    let mut asked = upstream.take();
    asked.sort();
    let once = ["1.2.0.192.in-addr.arpa. PTR", "nope.example.com. A", "www.example.com. A"];
    assert_eq!(asked, once, "each question goes out once");
    let alias = served.answers("out.default.svc.cluster.local", "A");
    assert_eq!(alias.len(), 2, "{alias:?}");
    assert_eq!(upstream.take().len(), 0, "the target of an alias comes from the cache too");
    let scope = r#"server="dns://:0",zone=".",view="""#;
    let hits = r#"coredns_cache_hits_total{server="dns://:0",type="denial""#;
    assert!(served.metric(hits).unwrap() >= 4.0);
    let forwarded = format!("coredns_dns_responses_total{{{scope},rcode=\"NOERROR\",plugin=\"forward\"}}");
    assert_eq!(served.metric(&forwarded), Some(1.0), "{}", served.metrics.render());
}

#[test]
fn equal_questions_at_one_time_are_asked_once() {
    let slow = Counting::start(|query| {
        std::thread::sleep(Duration::from_millis(200));
        support::answer_with(query, 7)
    });
    let served = Served::start(&block(&format!("cache\nforward . {}", slow.address())));
    let address = served.address();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || support::ask_udp(address, &support::query("a.example.com", "A", None)));
        }
    });
    assert_eq!(slow.take(), ["a.example.com. A"]);
}

#[test]
fn failures_are_kept_for_a_moment_and_answers_past_their_end_served() {
    let failing = Counting::start(|query| support::refuse(query, 2));
    let served =
        Served::start(&block(&format!("cache {{\n servfail 1s\n}}\nforward . {}", failing.address())));
    for _ in 0..5 {
        assert_eq!(served.ask("a.example.com", "A").rcode, 2);
    }
    assert_eq!(failing.take().len(), 1, "RFC 9520");
    std::thread::sleep(Duration::from_millis(1100));
    served.ask("a.example.com", "A");
    assert_eq!(failing.take().len(), 1);

    let upstream = example();
    let lines = format!(
        "cache {{\n success 100 1 0\n serve_stale 1h immediate\n}}\nforward . {}",
        upstream.address()
    );
    let served = Served::start(&block(&lines));
    assert_eq!(served.answers("www.example.com", "A"), ["www.example.com. 1 IN A 192.0.2.53"]);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(served.answers("www.example.com", "A"), ["www.example.com. 0 IN A 192.0.2.53"], "stale");
    eventually("the renewal", || upstream.asked.lock().unwrap().len() == 2);
    eventually("a fresh answer", || {
        served.answers("www.example.com", "A") == ["www.example.com. 1 IN A 192.0.2.53"]
    });
    assert!(served.metric("coredns_cache_served_stale_total").unwrap() >= 1.0);
}

#[test]
fn a_popular_answer_is_renewed_before_its_end() {
    let upstream = example();
    let lines =
        format!("cache {{\n success 100 2 0\n prefetch 2 1m 60%\n}}\nforward . {}", upstream.address());
    let served = Served::start(&block(&lines));
    served.ask("www.example.com", "A");
    std::thread::sleep(Duration::from_millis(1000));
    for _ in 0..3 {
        served.ask("www.example.com", "A");
    }
    eventually("the renewal", || upstream.asked.lock().unwrap().len() == 2);
    assert_eq!(served.metric("coredns_cache_prefetch_total"), Some(1.0));
}

#[test]
fn upstreams_policies_failures_and_bounds() {
    let (one, other) = (example(), example());
    let both = format!("{} {}", one.address(), other.address());
    let served = Served::start(&block(&format!("forward . {both} {{\n policy round_robin\n}}")));
    for _ in 0..4 {
        served.ask("www.example.com", "A");
    }
    assert_eq!((one.take().len(), other.take().len()), (2, 2));
    let served = Served::start(&block(&format!("forward . {both} {{\n policy sequential\n}}")));
    for _ in 0..4 {
        served.ask("www.example.com", "A");
    }
    assert_eq!((one.take().len(), other.take().len()), (4, 0));

    let silent = Counting::start(|_| Vec::new());
    let lines = format!(
        "errors\nprometheus\nforward . {} {} {{\n policy sequential\n read_timeout 200ms\n max_fails 1\n health_check 100ms\n}}",
        silent.address(),
        one.address()
    );
    let served = Served::start(&block(&lines));
    assert_eq!(served.answers("www.example.com", "A").len(), 1, "the next upstream is asked");
    eventually("the silent one counts as down", || {
        let start = Instant::now();
        served.ask("www.example.com", "A");
        start.elapsed() < Duration::from_millis(100)
    });

    let served =
        Served::start(&block(&format!("errors\nforward . {} {{\n read_timeout 100ms\n}}", silent.address())));
    assert_eq!(served.ask("www.example.com", "A").rcode, 2);
    let log = served.log.lock().unwrap().join("\n");
    assert!(log.contains("[ERROR] plugin/errors: 2 www.example.com. A: asking upstream"), "{log}");

    let served = Served::start(&block(&format!(
        "forward . {} {{\n max_concurrent 1\n read_timeout 500ms\n}}",
        silent.address()
    )));
    let address = served.address();
    let waiting = std::thread::spawn(move || support::ask_udp(address, &support::query("a.b", "A", None)));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(served.ask("c.d", "A").rcode, 5, "REFUSED beyond max_concurrent");
    waiting.join().unwrap();
}

#[test]
fn failover_next_and_except() {
    let (refusing, good) = (Counting::start(|query| support::refuse(query, 5)), example());
    let lines = format!(
        "forward . {} {} {{\n policy sequential\n failover REFUSED\n except local.example.com\n}}",
        refusing.address(),
        good.address()
    );
    let served = Served::start(&block(&lines));
    assert_eq!(served.answers("www.example.com", "A").len(), 1);
    assert_eq!(served.ask("a.local.example.com", "A").rcode, 2, "nobody answers what is excepted");
    let lines =
        format!("forward . {} {{\n next REFUSED\n}}\nforward . {}", refusing.address(), good.address());
    let served = Served::start(&block(&lines));
    assert_eq!(served.answers("www.example.com", "A").len(), 1);
}

#[test]
fn hosts_from_the_corefile_and_from_a_file() {
    let upstream = example();
    let file = std::env::temp_dir().join(format!("sluice-hosts-{}", std::process::id()));
    std::fs::write(&file, "10.0.0.1 a.test # one\n2001:db8::5 a.test\nnonsense\n").unwrap();
    let lines = format!(
        "kubernetes cluster.local\nhosts {} {{\n 10.0.0.2 b.test web.example.com\n ttl 60\n reload 100ms\n fallthrough\n}}\nforward . {}",
        file.display(),
        upstream.address()
    );
    let served = Served::with_objects(&block(&lines), &objects());
    assert!(served.instance.is_hot());
    assert_eq!(served.answers("a.test", "A"), ["a.test. 60 IN A 10.0.0.1"]);
    assert_eq!(served.answers("A.tEsT", "AAAA"), ["A.tEsT. 60 IN AAAA 2001:db8::5"], "in the asked case");
    assert_eq!(served.answers("web.example.com", "A"), ["web.example.com. 60 IN A 10.0.0.2"]);
    assert_eq!(served.ask("b.test", "AAAA").rcode, 0, "no data, not NXDOMAIN");
    assert_eq!(served.answers("2.0.0.10.in-addr.arpa", "PTR").len(), 2);
    assert_eq!(served.answers("www.example.com", "A").len(), 1, "falls through");
    std::fs::write(&file, "10.0.0.9 a.test\n").unwrap();
    eventually("the file is read again", || served.answers("a.test", "A") == ["a.test. 60 IN A 10.0.0.9"]);
    std::fs::remove_file(file).unwrap();
    let served = Served::with_objects(&block(&lines.replace("b.test", WEB)), &objects());
    assert!(!served.instance.is_hot(), "the file speaks about a name of the cluster");
    assert_eq!(served.answers(WEB, "A"), [format!("{WEB}. 60 IN A 10.0.0.2")]);
}

#[test]
fn names_are_rewritten_and_answers_back() {
    let upstream = example();
    let lines = format!(
        "rewrite name exact web.corp.test {WEB}\n\
         rewrite stop {{\n name regex (.*)\\.short\\.test {{1}}.default.svc.cluster.local\n answer auto\n}}\n\
         rewrite name suffix .old.test .example.com answer auto\n\
         rewrite name prefix x www\n\
         rewrite name substring foo example\n\
         rewrite type ANY A\n\
         kubernetes cluster.local\nforward . {}",
        upstream.address()
    );
    let served = Served::with_objects(&block(&lines), &objects());
    assert_eq!(
        served.answers("web.corp.test", "A"),
        ["web.corp.test. 5 IN A 10.96.0.20"],
        "exact is taken back"
    );
    assert_eq!(served.answers("web.short.test", "A"), ["web.short.test. 5 IN A 10.96.0.20"]);
    assert_eq!(served.answers("www.old.test", "A"), ["www.old.test. 60 IN A 192.0.2.53"]);
    assert_eq!(
        served.answers("x.example.com", "A"),
        ["www.example.com. 60 IN A 192.0.2.53"],
        "without answer auto"
    );
    assert_eq!(served.answers("www.foo.com", "A"), ["www.example.com. 60 IN A 192.0.2.53"]);
    assert_eq!(served.answers(WEB, "ANY").len(), 1, "another type");
    assert_eq!(served.answers(WEB, "A").len(), 1, "untouched");
}

#[test]
fn a_rewrite_elsewhere_leaves_the_hot_path_alone() {
    let hot = |rule: &str| {
        Served::start(&block(&format!("{rule}\nkubernetes cluster.local in-addr.arpa"))).instance.is_hot()
    };
    assert!(hot("rewrite name web.corp.test web.default.svc.cluster.local"));
    assert!(hot("rewrite name suffix .corp.test .svc.cluster.local answer auto"));
    assert!(!hot("rewrite name a.svc.cluster.local b.svc.cluster.local"));
    assert!(!hot("rewrite name suffix .local .svc.cluster.local"));
    assert!(!hot("rewrite name regex (.*) {1}"));
    assert!(hot("log"));
    assert!(hot("bufsize 1232"));
    assert!(hot("log . {\n class error\n}"));
    assert!(hot("template ANY ANY internal.cloudapp.net {\n rcode NXDOMAIN\n}"));
    assert!(!hot("template ANY AAAA {\n rcode NOERROR\n}"));
}

#[test]
fn templates_make_records() {
    let upstream = example();
    let lines = format!(
        "template IN A ip.test {{\n match \"^ip-([0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)[.]ip[.]test[.]$\"\n \
         answer \"{{{{ .Name }}}} 60 IN A {{{{ index .Match 1 }}}}.{{{{ .Group.b }}}}.{{{{ .Group.c }}}}.{{{{ .Group.d }}}}\"\n fallthrough\n}}\n\
         template ANY AAAA example.com {{\n authority \"example.com. 60 IN SOA ns.example.com. h.example.com. 1 60 60 60 60\"\n}}\n\
         template IN A alias.test {{\n answer \"{{{{ .Name }}}} 60 IN CNAME www.example.com.\"\n}}\n\
         template IN ANY gone.test {{\n rcode NXDOMAIN\n}}\nforward . {}",
        upstream.address()
    );
    let served = Served::start(&block(&lines));
    assert_eq!(served.answers("ip-10-0-0-7.ip.test", "A"), ["ip-10-0-0-7.ip.test. 60 IN A 10.0.0.7"]);
    assert_eq!(served.ask("other.ip.test", "A").rcode, 3, "falls through to the upstream");
    let blocked = served.ask("www.example.com", "AAAA");
    assert_eq!((blocked.rcode, blocked.answers.len(), blocked.authority.len()), (0, 0, 1));
    assert_eq!(served.answers("www.example.com", "A").len(), 1);
    assert_eq!(served.answers("a.alias.test", "A").len(), 2, "an alias is chased");
    assert_eq!(served.ask("x.gone.test", "TXT").rcode, 3);
}

#[test]
fn the_search_list_is_walked_in_one_query() {
    let upstream = example();
    let lines = format!(
        "autopath @kubernetes\nprometheus\nkubernetes cluster.local {{\n pods verified\n}}\ncache\nforward . {}",
        upstream.address()
    );
    let served = Served::with_objects(&block(&lines), &objects());
    assert!(served.instance.is_hot());
    let walked = "www.example.com.default.svc.cluster.local";
    assert_eq!(
        served.answers(walked, "A"),
        [format!("{walked}. 60 IN CNAME www.example.com."), "www.example.com. 60 IN A 192.0.2.53".into()]
    );
    assert_eq!(upstream.take().last().map(String::as_str), Some("www.example.com. A"));
    let service = served.answers("web.default.default.svc.cluster.local", "A");
    assert!(service.contains(&format!("{WEB}. 5 IN A 10.96.0.20")), "a Service goes first: {service:?}");
    assert_eq!(served.ask("nowhere.test.default.svc.cluster.local", "A").rcode, 3);
    assert_eq!(
        served.ask("www.example.com.nospace.svc.cluster.local", "A").rcode,
        3,
        "no such namespace: no walk"
    );
    assert_eq!(served.ask("www.example.com.svc.cluster.local", "A").rcode, 3, "not the first of a walk");
    assert_eq!(served.answers(WEB, "A").len(), 1);
    assert_eq!(served.metric("coredns_autopath_success_total"), Some(2.0));
}

#[test]
fn an_upstream_that_leads_back_is_left_out() {
    // Two servers that forward to each other.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = Served::start(&format!(".:{free} {{\n loop\n forward . 127.0.0.1:{free}\n}}\n"));
    eventually("the loop is found", || first.ask("a.example.com", "A").rcode == 2);
    let start = Instant::now();
    assert_eq!(first.ask("b.example.com", "A").rcode, 2);
    assert!(start.elapsed() < Duration::from_secs(1), "and not asked again");
}

#[test]
fn stub_domains_blocks_and_ports() {
    let (stub, rest) = (
        Counting::start(|query| support::answer_with(query, 1)),
        Counting::start(|query| support::answer_with(query, 2)),
    );
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        ".:0 {{\n forward . {}\n}}\ncorp.test:0 {{\n forward . {}\n}}\n.:{other} {{\n template ANY ANY {{\n rcode REFUSED\n }}\n}}\n",
        rest.address(),
        stub.address()
    );
    let served = Served::start(&text);
    assert_eq!(served.answers("a.corp.test", "A"), ["a.corp.test. 60 IN A 192.0.2.1"]);
    assert_eq!(served.answers("acorp.test", "A"), ["acorp.test. 60 IN A 192.0.2.2"]);
    let second = served.instance.addresses().into_iter().find(|address| address.port() == other).unwrap();
    assert_eq!(support::read(&support::ask_udp(second, &support::query("a.b", "A", None))).rcode, 5);
    let only = Served::start("corp.test:0 {\n template ANY ANY {\n rcode NXDOMAIN\n }\n}\n");
    assert_eq!(only.ask("other.test", "A").rcode, 5, "REFUSED: nobody's zone");
}

#[test]
fn a_reload_keeps_the_sockets_and_a_bad_one_changes_nothing() {
    let upstream = example();
    let mut served = Served::with_objects(&kubeadm(&upstream), &objects());
    let address = served.address();
    served.reload(&kubeadm(&upstream).replace("ttl 30", "ttl 7"));
    assert_eq!(served.address(), address, "the port stays");
    assert_eq!(
        served.answers(WEB, "A"),
        [format!("{WEB}. 7 IN A 10.96.0.20")],
        "and the zone is there at once"
    );
    let bad = config(&block("bind nosuchinterface\nforward . 127.0.0.1"));
    let error = served.instance.reload(bad).unwrap_err().to_string();
    assert!(error.contains("nosuchinterface"), "{error}");
    assert_eq!(served.answers(WEB, "A").len(), 1);
    let mut model = support::load(&objects()).0;
    model.apply_namespace("more");
    served.instance.update(&model.snapshot(), &model.take_changes(), 2);
    assert_eq!(served.answers(WEB, "A").len(), 1, "updates reach the new plugins");
}

#[test]
fn queries_are_logged_in_coredns_form() {
    let upstream = example();
    let lines = format!(
        "log\nlog . \"only {{rcode}}\" {{\n class denial\n}}\nkubernetes cluster.local\nforward . {}",
        upstream.address()
    );
    let served = Served::with_objects(&block(&lines), &objects());
    assert!(served.instance.is_hot(), "the hot path logs for itself");
    served.ask(WEB, "A");
    served.ask("nope.example.com", "A");
    let log = served.log.lock().unwrap().clone();
    assert_eq!(log.len(), 3, "{log:?}");
    let form = regex::Regex::new(
        r#"^\[INFO\] 127\.0\.0\.1:\d+ - 4660 "A IN web\.default\.svc\.cluster\.local\. udp 58 false 1232" NOERROR qr,aa,rd \d+ 0\.\d{9}s$"#,
    );
    assert!(form.unwrap().is_match(&log[0]), "{}", log[0]);
    assert_eq!(log[2], "[INFO] only NXDOMAIN");
    served.ask_tcp("no.default.svc.cluster.local", "A");
    let log = served.log.lock().unwrap().clone();
    assert!(log[3].contains("no.default.svc.cluster.local. tcp ") && log[4] == log[2], "{log:?}");
}

#[test]
fn bufsize_bounds_what_the_hot_path_sends() {
    let endpoints: Vec<Value> = (1..=60).map(|n| json!({"addresses": [format!("10.1.0.{n}")]})).collect();
    let mut objects = objects();
    objects.push(json!({"kind": "Service", "metadata": {"name": "many", "namespace": "default"},
                        "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}));
    objects.push(json!({"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
                        "metadata": {"name": "many-1", "namespace": "default",
                                     "labels": {"kubernetes.io/service-name": "many"}}}));
    let name = "many.default.svc.cluster.local";
    let whole = Served::with_objects(&block("kubernetes cluster.local"), &objects);
    assert!(!whole.ask(name, "A").truncated, "the client takes 1232 bytes");
    let served = Served::with_objects(&block("bufsize 600\nkubernetes cluster.local"), &objects);
    assert!(served.instance.is_hot());
    assert!(served.ask(name, "A").truncated);
    assert_eq!(served.ask_tcp(name, "A").answers.len(), 60);
}

#[test]
fn who_asks_what_is_counted_while_somebody_watches() {
    let upstream = example();
    let lines = "hosts {\n 192.0.2.7 seven.test\n fallthrough\n}\nkubernetes cluster.local\ncache\nforward .";
    let served = Served::with_objects(&block(&format!("{lines} {}", upstream.address())), &objects());
    served.ask(WEB, "A");
    let tap = served.metrics.tap();
    assert!(!tap.is_watched());
    assert_eq!(tap.read(9).queries, 0, "what was before is no part of it");
    served.ask(WEB, "A");
    served.ask(WEB, "AAAA");
    served.ask_tcp("no.default.svc.cluster.local", "A");
    served.ask("seven.test", "A");
    served.ask("www.example.com", "A");
    served.ask("www.example.com", "A");
    // A query that went the slow way is counted when its answer is on its way already.
    eventually("all are counted", || tap.read(9).queries == 6);
    let reading = tap.read(9);
    let sorted = |mut list: Vec<(String, u64)>| {
        list.sort();
        list
    };
    assert_eq!(reading.codes, [("NOERROR".to_owned(), 5), ("NXDOMAIN".to_owned(), 1)]);
    let plugins = [("cache", 1), ("forward", 1), ("hosts", 1), ("kubernetes", 3)];
    assert_eq!(sorted(reading.plugins), plugins.map(|(name, count)| (name.to_owned(), count)));
    let names: Vec<_> = reading.names.iter().map(|busy| (&busy.who[..], busy.queries, busy.denied)).collect();
    assert_eq!(
        names,
        [
            ("web.default.svc.cluster.local.", 2, 0),
            ("www.example.com.", 2, 0),
            ("no.default.svc.cluster.local.", 1, 1),
            ("seven.test.", 1, 0)
        ]
    );
    assert_eq!((&reading.clients[0].who[..], reading.clients[0].queries), ("127.0.0.1", 6));
}

#[test]
fn a_large_answer_comes_over_tcp_whole() {
    let upstream = Upstream::start(|query| support::cut(support::answer_with(query, 1)));
    let served = Served::start(&block(&format!("cache\nforward . {}", upstream.address)));
    let response = served.ask("big.example.com", "A");
    assert!(response.truncated, "the upstream has no TCP: its cut answer is passed on");
}

#[test]
fn addresses_come_in_random_order_behind_their_aliases() {
    use dns::message::rtype;
    let upstream = Counting::start(|query| {
        let end = dns::message::parse_query(query).unwrap().question_end;
        let mut answer = query[..end].to_vec();
        answer[2] |= 0x80;
        answer[6..12].copy_from_slice(&[0, 5, 0, 0, 0, 0]);
        answer.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0c");
        for octet in 1..5 {
            answer.extend([1, b'b', 0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, octet]);
        }
        answer
    });
    let served = Served::start(&block(&format!("cache\nloadbalance\nforward . {}", upstream.address())));
    let mut orders = std::collections::HashSet::new();
    for _ in 0..40 {
        let response = served.ask("a.test", "A");
        assert_eq!(response.answers[0].kind, rtype::CNAME);
        orders.insert(response.answers.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    assert!(orders.len() > 3);
    assert_eq!(upstream.take().len(), 1);
}
