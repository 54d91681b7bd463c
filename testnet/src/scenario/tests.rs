//! What the parser refuses, with the position, and what it understands.

use std::net::Ipv4Addr;

use super::*;

const HEAD: &str = "# Title\n\n--- objects\n";

fn error(text: &str) -> String {
    Scenario::parse("x", text).unwrap_err().to_string()
}

fn assert_errors(cases: &[(&str, &str)]) {
    for (text, message) in cases {
        assert_eq!(error(text), *message, "of {text:?}");
    }
}

#[test]
fn errors_say_where_and_what() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    assert_errors(&[
        ("", "x:1:1: expected a heading comment that says what the scenario shows, found none"),
        ("# t\nfoo\n", "x:2:1: expected a `# comment` or a `--- section`, found `foo`"),
        ("# t\n", "x:1:1: expected a section `--- objects`, found the end of the file"),
        ("# t\n--- objcts\n", "x:2:5: expected `facts` or `objects`, found `objcts`"),
        ("# t\n--- apply\n", "x:2:5: expected `objects` as the first step, found `apply`"),
        (
            "# t\n--- facts\nnode a 1.2.3 10.0.0.0/8\n--- objects\n",
            "x:3:8: expected the node's addresses, found `1.2.3`",
        ),
        (
            "# t\n--- facts\nnode a 1.2.3.4 # x\n--- objects\n",
            "x:3:15: expected the node's pod networks, found the end of the line",
        ),
        (
            "# t\n--- facts\nnodes\n--- objects\n",
            "x:3:1: expected `node`, `namespace`, `cluster-cidr`, `service-cidr`, `detect-local`, `masquerade-all`, \
             `nodeport-addresses`, `domain` or `dns`, found `nodes`",
        ),
        (
            &format!("{HEAD}--- forwarding worker-3\n"),
            "x:4:16: expected the name of a node of `facts`, found `worker-3`",
        ),
        (&format!("{HEAD}--- wait 3\n"), "x:4:10: expected seconds, as in `3s`, found `3`"),
        (&format!("{HEAD}--- restart\nfoo\n"), "x:5:1: expected a section, found `foo`"),
        (
            "# t\n--- facts\ndetect-local PodCIDR\n--- objects\n",
            "x:3:14: expected `ClusterCIDR`, `NodeCIDR`, `BridgeInterface` or `InterfaceNamePrefix`, found `PodCIDR`",
        ),
        (
            &format!("{HEAD}--- dns\na.b AX => NODATA\n"),
            "x:5:5: expected a record type (A, AAAA, CNAME, SRV, PTR, TXT, SOA, NS, ANY), found `AX`",
        ),
        (
            &format!("{HEAD}--- delete\nService default.a\n"),
            "x:5:9: expected NAMESPACE/NAME, found `default.a`",
        ),
        (&format!("{HEAD}--- apply soon\n"), "x:4:11: expected the end of the line, found `soon`"),
        (
            &format!("{HEAD}--- objects\n"),
            "x:4:5: expected `apply` or `delete`: `objects` comes once, as the first step, found `objects`",
        ),
        (
            &format!("{HEAD}{service}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n"),
            "x:9:1: expected v1 Service, Node or Namespace, discovery.k8s.io/v1 EndpointSlice or networking.k8s.io/v1 \
             ServiceCIDR, found `v1 Pod`",
        ),
    ]);
}

#[test]
fn errors_of_packet_lines() {
    assert_errors(&[
        (
            &format!("{HEAD}--- packets\n10.9.9.9 -> tcp\n"),
            "x:5:1: expected an address of a node's pod network, found `10.9.9.9`",
        ),
        (
            &format!("{HEAD}--- packets\n10.244.1.5:4000 -> tcp 10.96.0.1:1 => drop\n"),
            "x:5:20: expected `udp`: only a UDP flow names its port, found `tcp`",
        ),
        (&format!("{HEAD}--- packets\n\n  10.244.1.5 => tcp\n"), "x:6:14: expected `->`, found `=>`"),
        (
            &format!("{HEAD}--- packets\nworker-1 -> icmp\n"),
            "x:5:13: expected `tcp`, `udp`, `sctp`, `udp-fragments`, `late-rst` or `late-fin`, found `icmp`",
        ),
        (
            &format!("{HEAD}--- packets\nworker-1 -> tcp 10.96.0.1 => drop\n"),
            "x:5:17: expected the destination as ADDRESS:PORT, found `10.96.0.1`",
        ),
        (
            &format!("{HEAD}--- packets\nworker-1 -> tcp 10.96.0.1:80 => dorp\n"),
            "x:5:33: expected `reject`, `drop`, `local`, `pass`, `refused-by` a target, or targets as ADDRESS:PORT [masq] \
             joined by `|`, with `sticky` or `kept` in front for one of them, found `dorp`",
        ),
        (
            &format!("{HEAD}--- packets\nworker-1 -> tcp 10.96.0.1:80 => drop masq\n"),
            "x:5:38: expected the end of the line, found `masq`",
        ),
        (
            &format!("{HEAD}--- packets\noutside via worker-3 -> tcp 10.96.0.1:80 => drop\n"),
            "x:5:13: expected the name of a node, found `worker-3`",
        ),
        (
            &format!("{HEAD}--- packets\noutside 10.244.1.5 -> tcp 10.96.0.1:80 => drop\n"),
            "x:5:9: expected an address outside of the cluster, found `10.244.1.5`",
        ),
        (
            &format!("{HEAD}--- packets\noutside -> tcp 10.96.0.1:80 => drop\n"),
            "x:5:16: expected a node's address, or `via NODE` before the `->`, found `10.96.0.1:80`",
        ),
        (
            &format!("{HEAD}--- packets\n10.244.1.5 -> tcp [fd00::1]:80 => drop\n"),
            "x:5:19: expected a destination of the sender's family, found `[fd00::1]:80`",
        ),
        (
            &format!("{HEAD}--- packets\n10.244.1.5 -> tcp 10.96.0.1:80 => sticky\n"),
            "x:5:41: expected a target as ADDRESS:PORT, found the end of the line",
        ),
        (
            &format!("{HEAD}--- packets\n10.244.3.5-9 -> tcp 10.96.0.1:80 => drop\n"),
            "x:5:1: expected addresses of a node's pod network, found `10.244.3.5-9`",
        ),
    ]);
}

#[test]
fn errors_in_yaml_keep_their_line() {
    let text = format!(
        "{HEAD}apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n  ports: [{{port: eighty}}]\n"
    );
    assert!(
        error(&text).starts_with("x:8:18: expected a Kubernetes object, found a mistake in its YAML: "),
        "{}",
        error(&text)
    );
    let text =
        format!("{HEAD}apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{clusterIp: None}}\n");
    let message = "x:7:8: expected a Service of Kubernetes, found unknown field \"spec.clusterIp\"";
    assert_eq!(error(&text), message);
    let text = format!("{HEAD}\n---\nkind: [\n");
    assert!(error(&text).starts_with("x:6:"), "{}", error(&text));
}

/// What is said of a cluster of both families.
const DUAL: &str = "# t\n--- facts\nnode a 172.18.0.2,fd00:18::2 10.244.1.0/24,fd00:10:244:1::/64 zone=z\n\
    service-cidr 10.96.0.0/16 fd00:10:96::/112\ncluster-cidr 10.244.0.0/16 fd00:10:244::/48\n\
    detect-local ClusterCIDR\nmasquerade-all\nnodeport-addresses 172.18.0.0/24\n--- objects\n--- packets\n";

#[test]
fn packet_lines_print_as_they_are_read() {
    let lines = [
        ("fd00:10:244:1::5 -> tcp [fd00:10:96::1]:80 => [fd00:10:244:1::6]:9898 masq", ""),
        ("[fd00:10:244:1::5]:4000 -> udp [fd00:10:96::1]:80 => pass", ""),
        ("a -> sctp [fd00:10:96::1]:80 => refused-by [fd00:10:244:1::6]:9898", ""),
        ("a:4000 -> udp 10.96.0.1:53 => kept 10.244.1.6:53", ""),
        (
            "outside 198.51.100.7:4000 via a -> udp 172.18.0.2:30053 => sticky 10.244.1.6:53 | 10.244.1.7:53",
            "",
        ),
        (
            "outside -> tcp 172.18.0.2:30080 => drop",
            "outside 192.0.2.1 via a -> tcp 172.18.0.2:30080 => drop",
        ),
        (
            "outside via a -> tcp [2001:db8::7]:80 => drop",
            "outside 2001:db8::1 via a -> tcp [2001:db8::7]:80 => drop",
        ),
        (
            "outside via a -> udp-fragments 10.96.0.1:53 => local",
            "outside 192.0.2.1 via a -> udp-fragments 10.96.0.1:53 => local",
        ),
    ];
    for (line, printed) in lines {
        let scenario = Scenario::parse("x", &format!("{DUAL}{line}\n")).unwrap();
        let printed = if printed.is_empty() { line } else { printed };
        assert_eq!(scenario.steps[0].packets[0].to_string(), printed);
    }
}

#[test]
fn a_step_may_be_silence_or_a_restart() {
    let text = format!("{DUAL}--- wait 3s: the memory ends\n--- restart\n");
    let scenario = Scenario::parse("x", &text).unwrap();
    let steps: Vec<_> = scenario.steps.iter().map(|step| (step.pause.as_secs(), step.restart)).collect();
    assert_eq!(steps, [(0, false), (3, false), (0, true)]);
    assert_eq!(scenario.steps[1].title, "the memory ends");
}

#[test]
fn a_whole_scenario() {
    let text = "# Title\n# more\n\n--- facts\ndns 10.96.0.10 worker-1\n\n--- objects\napiVersion: v1\nkind: Service\n\
        metadata: {name: a, namespace: b}\n--- services\none\n\ntwo\n\n--- delete: it goes\nService b/a  # gone\n\
        --- packets\n10.244.1.5 -> udp 10.96.0.1:80 => 10.244.2.1:1 masq | 10.244.1.1:1\n\
        --- dns\na. SRV => 0 50 80 b. | 0 50 80 a.\n";
    let scenario = Scenario::parse("x", text).unwrap();
    assert_eq!(scenario.title, "Title");
    assert_eq!(scenario.facts.dns, Some((Ipv4Addr::new(10, 96, 0, 10), vec!["worker-1".to_owned()])));
    assert_eq!(scenario.steps.len(), 2);
    let dump = &scenario.steps[0].dumps[0];
    assert_eq!(
        (dump.lines.as_slice(), dump.body.clone()),
        (["one".to_owned(), String::new(), "two".to_owned()].as_slice(), 11..14)
    );
    assert_eq!(scenario.steps[1].title, "it goes");
    assert_eq!(scenario.steps[1].events[0].key().to_string(), "Service b/a");
    let packet = &scenario.steps[1].packets[0];
    assert_eq!(packet.to_string(), "10.244.1.5 -> udp 10.96.0.1:80 => 10.244.1.1:1 | 10.244.2.1:1 masq");
    assert_eq!(scenario.steps[1].queries[0].to_string(), "a SRV => 0 50 80 a. | 0 50 80 b.");
    let new = Rewrite { body: dump.body.clone(), lines: vec!["three".to_owned()] };
    assert!(rewrite(text, vec![new]).contains("--- services\nthree\n\n--- delete"));
}
