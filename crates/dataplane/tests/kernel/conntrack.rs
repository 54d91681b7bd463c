//! The kernel's own connection tracking: filters, both families, and a table of the size that real nodes have.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::conntrack::generated::translated;
use dataplane::conntrack::{Conntrack, Filter, Flow, Sweep, Sweeper};
use dataplane::forwarding_table::FrontendKey;
use services::Protocol;
use testnet::harness::skip;

use crate::namespace::isolated;
use crate::objects::Proxy;
use crate::udp::Closing;

/// As many as a busy node tracks.
const MANY: u32 = 200_000;

fn flow(protocol: Protocol, client: &str, frontend: &str, endpoint: &str) -> Flow {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    translated(protocol, parse(client), parse(frontend), parse(endpoint))
}

fn key(frontend: &str) -> FrontendKey {
    let address: SocketAddr = frontend.parse().unwrap();
    FrontendKey::new(Protocol::Udp, address.ip(), address.port())
}

/// A sweep of frontends with one endpoint each.
fn sweep(frontends: &[(&str, &str)]) -> Sweep {
    Sweep::of(frontends.iter().map(|(frontend, endpoint)| (key(frontend), endpoint.parse())))
}

/// What is tracked, without what the namespace's own neighbour discovery and the like leave.
fn tracked(conntrack: &mut Conntrack, filter: &Filter) -> Vec<String> {
    let mut lines: Vec<String> =
        conntrack.flows(filter, 100).unwrap().iter().map(ToString::to_string).collect();
    lines.sort_unstable();
    lines
}

pub(crate) fn both_families_are_filtered_and_cut() {
    isolated("conntrack::both_families_are_filtered_and_cut", || {
        let mut conntrack = Conntrack::open().unwrap();
        let flows = [
            flow(Protocol::Udp, "10.244.1.5:4000", "10.96.1.1:53", "10.244.1.2:53"),
            flow(Protocol::Udp, "10.244.1.5:4001", "10.96.1.1:53", "10.244.1.3:53"),
            flow(Protocol::Udp, "10.244.1.5:4000", "10.96.1.2:53", "10.244.1.4:53"),
            flow(Protocol::Udp, "[fd00::5]:4000", "[fd00:96::1]:53", "[fd00::2]:53"),
            flow(Protocol::Udp, "[fd00::5]:4001", "[fd00:96::1]:53", "[fd00::3]:53"),
            flow(Protocol::Udp, "[fd00::5]:4000", "[fd00:96::2]:53", "[fd00::4]:53"),
            flow(Protocol::Udp, "[fd00::5]:4000", "[fd00:96::2]:54", "[fd00::4]:54"),
        ];
        assert_eq!(conntrack.insert(flows).unwrap(), flows.len());
        let of = |frontend| Filter::Frontend(key(frontend));
        for frontend in ["10.96.1.1:53", "[fd00:96::1]:53"] {
            let expected = flows.iter().filter(|flow| flow.frontend() == key(frontend));
            let expected: Vec<String> = expected.map(ToString::to_string).collect();
            assert_eq!(tracked(&mut conntrack, &of(frontend)), expected);
        }
        assert_eq!(tracked(&mut conntrack, &Filter::Protocol(Protocol::Udp)).len(), flows.len());

        let swept = conntrack.sweep(&sweep(&[("10.96.1.1:53", "10.244.1.2:53")])).unwrap();
        assert_eq!((swept.deleted, swept.dumps), (1, 1));
        assert_eq!(swept.sent, 2, "the kernel filters by address and port");
        let swept = conntrack.sweep(&sweep(&[("[fd00:96::1]:53", "[fd00::2]:53")])).unwrap();
        assert_eq!((swept.deleted, swept.dumps), (1, 1));
        assert_eq!(swept.sent, 3, "the kernel filters by port");
        let both = [("10.96.1.1:53", "10.244.1.9:53"), ("[fd00:96::2]:54", "[fd00::9]:54")];
        let swept = conntrack.sweep(&sweep(&both)).unwrap();
        assert_eq!((swept.deleted, swept.dumps, swept.unasked), (2, 2, 0));

        let left = conntrack.flows(&of("[fd00:96::2]:53"), 10).unwrap();
        assert!(conntrack.delete(&left[0]).unwrap());
        assert!(!conntrack.delete(&left[0]).unwrap(), "it is gone");
        assert_eq!(tracked(&mut conntrack, &Filter::All).len(), 2);
    });
}

pub(crate) fn tcp_flows_outlive_a_sweep() {
    isolated("conntrack::tcp_flows_outlive_a_sweep", || {
        let mut conntrack = Conntrack::open().unwrap();
        let stale = |protocol| flow(protocol, "10.244.1.5:4000", "10.96.1.1:53", "10.244.1.9:53");
        conntrack.insert([stale(Protocol::Udp), stale(Protocol::Tcp)]).unwrap();
        conntrack
            .sweep(&sweep(&[("10.96.1.1:53", "10.244.1.2:53"), ("10.96.1.2:54", "10.244.1.2:54")]))
            .unwrap();
        assert_eq!(tracked(&mut conntrack, &Filter::All), [stale(Protocol::Tcp).to_string()]);
    });
}

/// Flow `number` of a hundred frontends with two endpoints each.
fn one_of_many(number: u32) -> Flow {
    let [_, a, b, c] = number.to_be_bytes();
    let client = SocketAddr::from(([172, 16 + a, b, c], 4000));
    let frontend = SocketAddr::from(([10, 96, 1, (number % 100) as u8], 53));
    let endpoint = SocketAddr::from(([10, 244, 1, (number / 100 % 2) as u8], 53));
    translated(Protocol::Udp, client, frontend, endpoint)
}

/// A sweep of the first `count` of the hundred frontends, whose endpoint 10.244.1.1 has left.
fn sweep_of_many(count: u8) -> Sweep {
    let endpoint = SocketAddr::from(([10, 244, 1, 0], 53));
    Sweep::of((0..count).map(|host| (key(&format!("10.96.1.{host}:53")), [endpoint])))
}

/// Fills the table; on a machine whose table is smaller there is nothing to be tried.
fn fill(conntrack: &mut Conntrack) {
    let start = Instant::now();
    if let Err(error) = conntrack.insert((0..MANY).map(one_of_many)) {
        skip(format!("the kernel does not track {MANY} flows: {error:?}"));
    }
    eprintln!("{MANY} flows made in {:?}", start.elapsed());
}

/// What the calling thread has used of a core. Other work on the machine does not count.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

pub(crate) fn a_large_table_is_swept_within_a_second() {
    isolated("conntrack::a_large_table_is_swept_within_a_second", || {
        let mut conntrack = Conntrack::open().unwrap();
        fill(&mut conntrack);
        let before = resident();
        for (frontends, sent) in [(1, MANY / 100), (99, MANY), (100, MANY)] {
            let (start, busy) = (Instant::now(), processor_time());
            let swept = conntrack.sweep(&sweep_of_many(frontends)).unwrap();
            let busy = processor_time() - busy;
            eprintln!("{frontends} frontends: {swept:?} in {:?}, {busy:?} of a core", start.elapsed());
            assert_eq!((swept.dumps, swept.unasked), (1, 0), "many keys are one dump");
            assert!(swept.sent <= u64::from(sent), "{swept:?}");
            assert!(busy < Duration::from_secs(4), "{busy:?}, without optimisation");
        }
        let left = conntrack.flows(&Filter::Protocol(Protocol::Udp), MANY as usize).unwrap();
        assert_eq!(left.len(), MANY as usize / 2);
        let grown = resident().saturating_sub(before + size_of_val(&*left));
        assert!(grown < 8 << 20, "{grown} bytes more than before");
    });
}

pub(crate) fn programming_does_not_wait_for_sweeps() {
    isolated("conntrack::programming_does_not_wait_for_sweeps", || {
        let mut conntrack = Conntrack::open().unwrap();
        fill(&mut conntrack);
        let mut proxy = Proxy::open();
        proxy.service("web", "10.97.1.1", 80);
        proxy.sync();
        let sweeper = Sweeper::new();
        let mut longest = Duration::ZERO;
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| sweeper.run(&mut conntrack));
            let closing = Closing(&sweeper);
            for turn in 0..100u8 {
                sweeper.push(sweep_of_many(turn + 1));
                proxy.endpoints("web", &[&format!("10.244.1.{turn}")]);
                let start = Instant::now();
                proxy.sync();
                longest = longest.max(start.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            let start = Instant::now();
            drop(closing);
            sweeping.join().unwrap();
            eprintln!(
                "longest sync {longest:?}; the last sweep ended {:?} after the last change",
                start.elapsed()
            );
        });
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        let stale = |flow: &Flow| flow.reply.source.ip().to_string() == "10.244.1.1";
        let left = conntrack.flows(&Filter::Protocol(Protocol::Udp), MANY as usize).unwrap();
        assert_eq!(left.iter().filter(|flow| stale(flow)).count(), 0, "nothing is forgotten under churn");
    });
}
