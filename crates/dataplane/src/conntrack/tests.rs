//! Sweeps over generated tables: what is cut, in how many dumps, and in how much memory.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use services::Protocol;

use super::generated::{Generated, translated};
use super::{Conntrack, Filter, Flow, Sweep};
use crate::forwarding_table::FrontendKey;

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn key(protocol: Protocol, text: &str) -> FrontendKey {
    let address = socket(text);
    FrontendKey::new(protocol, address.ip(), address.port())
}

fn udp(client: &str, frontend: &str, endpoint: &str) -> Flow {
    translated(Protocol::Udp, socket(client), socket(frontend), socket(endpoint))
}

/// A table of these flows, with confirmed deletions.
fn table(flows: Vec<Flow>) -> Conntrack {
    let count = flows.len() as u64;
    let dumps = Generated::new(count, move |number| flows[usize::try_from(number).unwrap()]);
    Conntrack::over(Box::new(dumps), Box::new(Generated::new(0, |_| unreachable!())))
}

/// Frontends with their endpoints.
type Frontends<'a> = &'a [(&'a str, &'a [&'a str])];

fn sweep(frontends: Frontends<'_>) -> Sweep {
    let endpoints = |list: &[&str]| list.iter().map(|text| socket(text)).collect::<Vec<_>>();
    Sweep::of(frontends.iter().map(|(frontend, list)| (key(Protocol::Udp, frontend), endpoints(list))))
}

#[test]
fn only_flows_to_endpoints_in_no_list_are_cut() {
    let flows = vec![
        udp("10.244.1.5:4000", "10.96.1.1:53", "10.244.1.2:53"),
        udp("10.244.1.5:4001", "10.96.1.1:53", "10.244.1.9:53"),
        // Never translated: there was no endpoint yet.
        udp("10.244.1.5:4002", "10.96.1.1:53", "10.96.1.1:53"),
        // Another port of the address, and another family.
        udp("10.244.1.5:4003", "10.96.1.1:54", "10.244.1.9:53"),
        udp("[fd00::5]:4000", "[fd00:96::1]:53", "[fd00::9]:53"),
        udp("[fd00::5]:4001", "[fd00:96::1]:53", "[fd00::2]:53"),
        // A node port, and an endpoint that only the second list has.
        udp("192.0.2.7:4000", "172.18.0.2:30053", "10.244.1.2:53"),
        udp("192.0.2.7:4001", "172.18.0.2:30053", "10.244.2.2:53"),
        udp("192.0.2.7:4002", "172.18.0.2:30053", "10.244.3.2:53"),
    ];
    let cases: [(&str, Frontends<'_>, usize, usize); 5] = [
        ("left", &[("10.96.1.1:53", &["10.244.1.2:53"])], 2, 1),
        ("none is left", &[("10.96.1.1:53", &[])], 3, 1),
        ("IPv6", &[("[fd00:96::1]:53", &["[fd00::2]:53"])], 1, 1),
        ("two lists", &[("172.18.0.2:30053", &["10.244.2.2:53", "10.244.1.2:53", "10.244.2.2:53"])], 1, 1),
        ("all", &[("10.96.1.1:53", &[]), ("[fd00:96::1]:53", &[]), ("172.18.0.2:30053", &[])], 8, 2),
    ];
    for (name, frontends, deleted, dumps) in cases {
        let swept = table(flows.clone()).sweep(&sweep(frontends)).unwrap();
        assert_eq!((swept.deleted, swept.dumps), (deleted, dumps), "{name}");
    }
}

#[test]
fn tcp_and_sctp_are_left_alone() {
    let targets = [Protocol::Tcp, Protocol::Sctp].map(|protocol| (key(protocol, "10.96.1.1:53"), []));
    assert!(Sweep::of(targets).is_empty());
    let tcp =
        translated(Protocol::Tcp, socket("10.244.1.5:4000"), socket("10.96.1.1:53"), socket("10.244.1.9:53"));
    let swept = table(vec![tcp]).sweep(&sweep(&[("10.96.1.1:53", &[])])).unwrap();
    assert_eq!((swept.deleted, swept.unasked), (0, 1));
}

#[test]
fn a_kernel_without_filters_is_noticed() {
    let flow = udp("10.244.1.5:4000", "10.96.1.1:53", "10.244.1.2:53");
    let other = udp("10.244.1.5:4000", "10.96.9.9:53", "10.244.1.2:53");
    let swept = table(vec![flow, other, other]).sweep(&sweep(&[("10.96.1.1:53", &[])])).unwrap();
    assert_eq!((swept.deleted, swept.sent, swept.unasked), (1, 3, 2));
    let flows = table(vec![flow, other]).flows(&Filter::Frontend(flow.frontend()), 10).unwrap();
    assert_eq!(flows, [flow]);
}

/// Tells the test binary that it runs for one measurement.
const MEASURING: &str = "SLUICE_TEST_MEASURING";

/// Most bytes of memory that the process has held so far, read in a process of its own: what other tests take is not in
/// it.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_stream_of_flows_takes_no_memory() {
    if std::env::var_os(MEASURING).is_some() {
        return stream_flows();
    }
    let name = "conntrack::tests::a_stream_of_flows_takes_no_memory";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MEASURING, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn stream_flows() {
    /// `bench conntrack` streams seven millions: this many take as long without optimisation.
    const FLOWS: u64 = 400_000;
    let frontend = socket("10.96.1.1:53");
    let dumps = Generated::new(FLOWS, move |number| {
        let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
        let endpoint = if number % 100 == 0 { [10, 244, 1, 9] } else { [10, 244, 1, 2] };
        translated(Protocol::Udp, ([10, a, b, c], 4000).into(), frontend, (endpoint, 53).into())
    });
    let mut conntrack = Conntrack::over(Box::new(dumps), Box::new(Generated::new(0, |_| unreachable!())));
    let (before, start) = (peak(), Instant::now());
    let swept = conntrack.sweep(&sweep(&[("10.96.1.1:53", &["10.244.1.2:53"])])).unwrap();
    let grown = peak() - before;
    println!("{FLOWS} flows in {:?}, {grown} bytes more than before", start.elapsed());
    assert_eq!((swept.sent, swept.deleted), (FLOWS, 4_000));
    // Held at once they would take 40 MB.
    assert!(grown < 4 << 20, "{grown} bytes more than before");
}
