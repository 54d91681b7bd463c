//! Corefiles: what people write is understood, and a mistake is told with its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dns::corefile::{self, Config, NoSources, Policy, Sources, System, To};
use dns::zone::Pods;

fn read(text: &str) -> Result<Config, String> {
    corefile::read(text, "Corefile", 53, &NoSources).map_err(|error| error.to_string())
}

/// A block around these lines.
fn block(lines: &str) -> Result<Config, String> {
    read(&format!(".:53 {{\n{lines}\n}}\n"))
}

#[test]
fn kubeadms_own_corefile_is_read_in_full() {
    let config = read(&corefile::kubeadm("cluster.local", "/etc/resolv.conf")).unwrap();
    assert!(config.unsupported.is_empty());
    let [block] = &config.blocks[..] else { panic!("one block") };
    assert_eq!((block.keys[0].zone.to_string(), block.keys[0].port), (".".into(), 53));
    let health = block.health.as_ref().unwrap();
    assert_eq!((&health.address[..], health.lameduck), (":8080", Duration::from_secs(5)));
    assert_eq!(block.ready.as_ref().unwrap().address, ":8181");
    assert_eq!(block.prometheus.as_deref(), Some(":9153"));
    let kubernetes = block.kubernetes.as_ref().unwrap();
    let names = |names: &[dns::name::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&kubernetes.zones), ["cluster.local.", "in-addr.arpa.", "ip6.arpa."]);
    assert_eq!(names(&kubernetes.fallthrough), ["in-addr.arpa.", "ip6.arpa."]);
    assert_eq!((kubernetes.pods, kubernetes.ttl), (Pods::Insecure, 30));
    let forward = &block.forward[0];
    assert_eq!(forward.to, [To::File("/etc/resolv.conf".into())]);
    assert_eq!((forward.concurrent_max, forward.policy, forward.fails_max), (Some(1000), Policy::Random, 2));
    let cache = block.cache.as_ref().unwrap();
    assert_eq!((cache.success.ttl_max, cache.denial.ttl_max, cache.success.capacity), (30, 30, 9984));
    assert_eq!(names(&cache.success.disabled), ["cluster.local."]);
    assert_eq!(names(&cache.denial.disabled), ["cluster.local."]);
    assert!(block.detect_loops && block.loadbalance && block.errors.is_some());
    assert_eq!(block.reload.unwrap().interval, Duration::from_secs(30));
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_was_expected() {
    let long = format!("{}\n", "x".repeat(70));
    for (text, expected) in [
        (
            ".:53 {\n  cache x y {\n    success\n  }\n}",
            "Corefile:3:5: \"success\" is not complete: expected a number of entries",
        ),
        (
            ".:53 {\n  kubernetes cluster.local {\n    pods sometimes\n  }\n}",
            "Corefile:3:10: found \"sometimes\", expected one of disabled, insecure, verified",
        ),
        (
            ".:53 {\n  forward .\n}",
            "Corefile:2:11: \"forward\" is not complete: expected at least one resolver",
        ),
        (
            ".:53 {\n  forward . 1.2.3.4 {\n    policy best\n  }\n}",
            "Corefile:3:12: found \"best\", expected one of random, round_robin, sequential",
        ),
        (".:53 {\n  forward . nowhere\n}", "Corefile:2:13: found \"nowhere\", expected an address"),
        (".:53 {\n  errors\n", "Corefile:1:1: the block that \".:53\" opens is never closed"),
        (".:53 {\n}\n}\n", "Corefile:3:1: found \"}\", expected a zone"),
        (".:53 {\n  log \"abc\n}", "Corefile:2:7: the quotation that begins here is never closed"),
        (
            ".:53 {\n  cache 30\n  cache 40\n}",
            "Corefile:3:3: \"cache\" is there twice, first at Corefile:2:3",
        ),
        (".:53 {\n}\n.:53 {\n}", "Corefile:3:1: \".:53\" is there twice, first at Corefile:1:1"),
        (".:53 {\n  import nowhere\n}", "Corefile:2:10: cannot import \"nowhere\""),
        ("(a) {\n import a\n}\n. {\n import a\n}", "cannot import \"a\": more than 1000 imports"),
        (
            ".:53 {\n  rewrite name regex ( a\n}",
            "Corefile:2:22: found \"(\", expected a regular expression (unclosed group",
        ),
        (
            ".:53 {\n  rewrite name regex (a) {2}\n}",
            "Corefile:2:26: found \"{2}\", expected no group above {1}",
        ),
        (
            ".:53 {\n  template IN A {\n   answer \"{{ if }}\"\n  }\n}",
            "Corefile:3:11: found \"{{ if }}\", expected {{ .Name }}",
        ),
        (".:53 {\n  loop now\n}", "Corefile:2:8: \"loop\" takes no further argument \"now\""),
        (".:53 {\n  health 8080\n}", "Corefile:2:10: found \"8080\", expected an address such as :8080"),
        (".:53 {\n  reload 1s\n}", "Corefile:2:10: found \"1s\", expected an interval of at least 2s"),
        (&long, "Corefile:1:1: found \"xxx"),
        ("https://. {\n}", "Corefile:1:1: found \"https://.\", expected plain DNS"),
        ("a,\n{\n}", "Corefile:2:1: \"a,\" is not complete: expected another key"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
    }
}

#[test]
fn what_is_not_served_is_named_with_its_line_and_advice() {
    let config =
        block(" acl {\n allow net 10.0.0.0/8\n }\n forward . 1.2.3.4 {\n doh_method GET\n }\n nonsense a b")
            .unwrap();
    let told: Vec<String> = config.unsupported.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "Corefile:2:2: plugin \"acl\" is not served here: restrict the clients with a NetworkPolicy or a firewall",
            "Corefile:6:2: option \"doh_method\" of forward is not served here: remove it; upstreams are asked over UDP, TCP \
             or TLS",
            "Corefile:8:2: plugin \"nonsense\" is not served here: remove the line, or run CoreDNS built with it",
        ]
    );
    assert_eq!(config.blocks[0].forward.len(), 1, "the rest is read");
}

/// Two variables and no file.
struct Variables;

impl Sources for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        let known = [("ZONE", "example.org"), ("PORT", "1053")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn files(&self, _: &str, _: &str) -> std::io::Result<Vec<(String, String)>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn variables_snippets_and_several_keys() {
    let text = "(out) {\n  forward . {$NAME} 192.0.2.1 {\n    policy sequential\n  }\n}\n\
                {$ZONE}:{$PORT}, b.org\n10.0.0.0/24 {\n}\n";
    let config = corefile::read(text, "Corefile", 53, &Variables).unwrap();
    assert_eq!(
        config.unsupported[0].what, "plugin \"10.0.0.0/24\"",
        "without a comma the keys end with the line"
    );
    let text = "(out) {\n  forward . 192.0.2.1 {\n    policy sequential\n  }\n}\n\
                {$ZONE}:{$PORT}, b.org,\n10.0.0.0/23 {\n  import out\n  cache\n}\n:54 {\n import out\n}";
    let config = corefile::read(text, "Corefile", 53, &Variables).unwrap();
    let keys: Vec<String> =
        config.blocks[0].keys.iter().map(|key| format!("{}:{}", key.zone, key.port)).collect();
    assert_eq!(
        keys,
        ["example.org.:1053", "b.org.:53", "0.0.10.in-addr.arpa.:53", "1.0.10.in-addr.arpa.:53"]
    );
    assert_eq!(config.blocks[0].forward[0].policy, Policy::Sequential);
    assert!(config.blocks[0].cache.is_some(), "what follows an import is read");
    assert_eq!((config.blocks[1].keys[0].port, config.blocks[1].forward.len()), (54, 1));
}

#[test]
fn a_server_without_braces_and_an_empty_file() {
    let config = read("example.org\nerrors\nforward . 192.0.2.1\n").unwrap();
    assert_eq!((config.blocks.len(), config.blocks[0].forward.len()), (1, 1));
    assert!(read("# nothing\n").unwrap().blocks.is_empty());
    let config = read(".:53\n{\n health { lameduck 3s }\n}").unwrap();
    assert_eq!(config.blocks[0].health.as_ref().unwrap().lameduck, Duration::from_secs(3));
}

#[test]
fn files_are_imported_relative_to_the_importer() {
    let folder = std::env::temp_dir().join(format!("sluice-corefile-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("custom")).unwrap();
    std::fs::write(folder.join("custom/a.server"), "a.org {\n import ../one\n}\n").unwrap();
    std::fs::write(folder.join("custom/b.server"), "b.org {\n log\n cache 0\n}\n").unwrap();
    std::fs::write(folder.join("one"), "errors\n").unwrap();
    let main = folder.join("Corefile").display().to_string();
    let read =
        corefile::read(". {\n import none/*.override\n}\nimport custom/*.server\n", &main, 53, &System);
    let error = read.unwrap_err().to_string();
    assert!(error.contains("b.server:3:8"), "{error}");
    std::fs::write(folder.join("custom/b.server"), "b.org {\n log\n}\n").unwrap();
    let config = corefile::read("import custom/*.server\n", &main, 53, &System).unwrap();
    assert!(config.blocks[0].errors.is_some() && config.blocks[1].log.len() == 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn options_of_every_plugin() {
    let config = block(
        " bind 127.0.0.1 eth0 {\n except 127.0.0.2\n }\n bufsize 1400\n log a. b. \"{common} x\" {\n class denial error\n }\n \
         kubernetes c.local {\n endpoint http://a:8080\n kubeconfig f ctx\n tls a b c\n namespaces a b\n labels x in (a, b)\n \
         endpoint_pod_names\n noendpoints\n ignore empty_service\n startup_timeout 5s\n fallthrough\n }\n \
         forward . tls://1.1.1.1%one:8853 dns://[::1]:54 9.9.9.9 {\n except a.org 10.0.0.0/8\n health_check 1s no_rec domain a.\n \
         max_fails 0\n expire 1m\n force_tcp\n prefer_udp\n failover SERVFAIL refused\n tls ca.pem\n }\n \
         cache {\n success 10 20 1\n denial 5\n prefetch 3 1m 20%\n serve_stale 1h verify 500ms 30s\n servfail 1s\n keepttl\n }\n \
         hosts f.txt a.org {\n 10.0.0.1 a.org b.a.org\n ttl 60\n reload 1s\n no_reverse\n fallthrough a.org\n }\n \
         rewrite stop {\n name regex (.*)\\.a\\.org {1}.b.org\n answer name (.*)\\.b\\.org {1}.a.org\n }\n \
         rewrite continue type AAAA A\n rewrite name suffix a.org b.org answer auto\n rewrite ttl a.org 30-60\n \
         template IN ANY a.org {\n match \"^x[.]\" y\n answer \"{{ .Name }} 60 IN A 1.2.3.4\"\n rcode NXDOMAIN\n fallthrough\n }\n \
         autopath a.org @kubernetes\n loadbalance round_robin\n reload 10s 5s\n prometheus 127.0.0.1:9153\n ready :81\n errors {\n \
         consolidate 5m \".* timeout$\" warning\n }",
    )
    .unwrap();
    assert!(config.unsupported.is_empty(), "{:?}", config.unsupported);
    let block = &config.blocks[0];
    assert_eq!((block.bind.len(), block.bind_except.len(), block.bufsize), (2, 1, Some(1400)));
    assert_eq!((block.log.len(), block.log[0].classes.len()), (2, 2));
    assert!(block.log[0].format.ends_with("{duration} x"));
    let kubernetes = block.kubernetes.as_ref().unwrap();
    assert_eq!(kubernetes.labels.as_deref(), Some("x in (a, b)"));
    assert_eq!((kubernetes.ttl, kubernetes.fallthrough[0].to_string()), (5, ".".into()));
    let forward = &block.forward[0];
    assert_eq!(
        forward.to,
        [
            To::Tls("1.1.1.1:8853".parse().unwrap(), Some("one".into())),
            To::Dns("[::1]:54".parse().unwrap()),
            To::Dns("9.9.9.9:53".parse().unwrap()),
        ]
    );
    assert_eq!((forward.except.len(), &forward.failover[..]), (2, &[2, 5][..]));
    let cache = block.cache.as_ref().unwrap();
    assert_eq!((cache.success.capacity, cache.success.ttl_max, cache.success.ttl_min), (10, 20, 1));
    let stale = cache.serve_stale.unwrap();
    assert_eq!((stale.verify, stale.patience, stale.ttl), (true, Some(Duration::from_millis(500)), 30));
    let hosts = block.hosts.as_ref().unwrap();
    assert_eq!((&hosts.inline[..], hosts.ttl), (&["10.0.0.1 a.org b.a.org".to_owned()][..], 60));
    assert_eq!((block.rewrite.len(), block.template.len()), (4, 1));
    assert!(block.rewrite[1].proceed && !block.rewrite[0].proceed);
}

/// Every construct that is read.
const RICH: &str = "(common) {\n  errors\n  log . \"{remote} {rcode}\" {\n    class denial\n  }\n}\n.:53 10.0.0.0/23:54, a.org {\n  import common\n  \
    bind 127.0.0.1 eth0\n  rewrite name regex (.*)\\.a {1}.b answer auto\n  template IN A t.org {\n    match \"^(?P<a>x)[.]\"\n    \
    answer \"{{ .Name }} 60 IN A {{ .Group.a }}\"\n  }\n  hosts f {\n    10.0.0.1 a b\n    fallthrough\n  }\n  cache 30 {\n    \
    prefetch 3 1m 20%\n    serve_stale 1h verify 1s\n  }\n  forward . tls://1.1.1.1%a:853 [::1]:53 {\n    health_check 1s domain a.\n  }\n}\n";

#[test]
fn damaged_files_are_refused_at_a_line_that_is_there() {
    let words = [
        "{",
        "}",
        "\"",
        "#",
        ",",
        "\n",
        "import common",
        "(common) {",
        "{$HOME}",
        "10.0.0.0/8",
        "\u{feff}",
        "ä",
        ":",
        "{{",
        "99999999999",
    ];
    for text in [RICH, &corefile::kubeadm("cluster.local", "/etc/resolv.conf")] {
        assert!(read(text).is_ok());
        let characters: Vec<char> = text.chars().collect();
        for _ in 0..4000 {
            let mut damaged = characters.clone();
            for _ in 0..rand::random_range(1..4) {
                if damaged.len() < 2 {
                    break;
                }
                let at = rand::random_range(0..damaged.len());
                let word = words[rand::random_range(0..words.len())];
                match rand::random_range(0..3) {
                    0 => drop(damaged.remove(at)),
                    1 => damaged.truncate(at.max(1)),
                    _ => drop(damaged.splice(at..at, word.chars())),
                }
            }
            let damaged: String = damaged.into_iter().collect();
            let Err(error) = corefile::read(&damaged, "Corefile", 53, &NoSources) else { continue };
            let lines = u32::try_from(damaged.matches('\n').count()).unwrap() + 1;
            assert!((1..=lines).contains(&error.position.line), "{error}\n{damaged}");
        }
    }
}
