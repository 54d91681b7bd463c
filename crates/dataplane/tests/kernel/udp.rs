//! UDP flows to endpoints that left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dataplane::conntrack::{Conntrack, Filter, Sweep, Sweeper};
use dataplane::forwarding_table::FrontendKey;
use dataplane::{Call, Faults};
use services::Protocol;

use serde_json::json;

use crate::namespace::isolated;
use crate::node::{NODE, NODE6, Pod, set_up, set_up_dual_stack};
use crate::objects::{self, Proxy, dual_stack_facts};

const WEB: &str = "10.96.1.1:80";
/// A stale flow goes on for at most a second; on a loaded machine this test's own threads wait, too.
const CUT: Duration = Duration::from_secs(3);

/// A client with one source port for all that it sends.
struct Client(UdpSocket);

impl Client {
    fn new(port: u16) -> Self {
        Self::bound_to(SocketAddr::from(([0, 0, 0, 0], port)))
    }

    fn bound_to(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        Self(socket)
    }

    /// The server that answers; none after a while or when refused.
    fn ask(&self, to: &str) -> Option<String> {
        let mut buffer = [0; 64];
        self.0.send_to(b"?", to).ok()?;
        let length = self.0.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.split(' ').next().map(str::to_owned)
    }
}

/// Ends a sweeper's thread, also when the test fails: the scope waits for it.
pub(crate) struct Closing<'a>(pub(crate) &'a Sweeper);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn proxy_with_two_pods() -> (Pod, Pod, Pod, Proxy) {
    set_up();
    let (client, first, second) = (Pod::new(5), Pod::new(2), Pod::new(3));
    first.serve();
    second.serve();
    let mut proxy = Proxy::open();
    proxy.service("web", "10.96.1.1", 80);
    proxy.service("other", "10.96.1.2", 80);
    proxy.endpoints("web", &["10.244.1.2"]);
    proxy.endpoints("other", &["10.244.1.2"]);
    proxy.sync();
    (client, first, second, proxy)
}

pub(crate) fn a_client_with_a_fixed_port_follows_the_endpoints() {
    isolated("udp::a_client_with_a_fixed_port_follows_the_endpoints", || {
        let (pod, _first, _second, mut proxy) = proxy_with_two_pods();
        let (client, other) = pod.namespace.run(|| (Client::new(4000), Client::new(4001)));
        assert_eq!(client.ask(WEB).as_deref(), Some("10.244.1.2"));
        assert_eq!(other.ask("10.96.1.2:80").as_deref(), Some("10.244.1.2"));

        let mut conntrack = Conntrack::open().unwrap();
        let web = FrontendKey::new(Protocol::Udp, "10.96.1.1".parse().unwrap(), 80);
        let flows = conntrack.flows(&Filter::Frontend(web), 10).unwrap();
        let expected = "udp 10.244.1.5:4000 -> 10.96.1.1:80, reply 10.244.1.2:9898 -> 10.244.1.5:4000";
        assert_eq!(flows.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        assert!(flows[0].is_translated());

        proxy.endpoints("web", &["10.244.1.3"]);
        let stale = proxy.sync().stale;
        assert_eq!(stale, [web]);
        assert_eq!(client.ask(WEB).as_deref(), Some("10.244.1.2"), "the flow is still there");
        assert_eq!(conntrack.sweep(&Sweep::new(&proxy.table, &stale)).unwrap().deleted, 1);
        assert_eq!(client.ask(WEB).as_deref(), Some("10.244.1.3"));

        proxy.delete("web");
        let stale = proxy.sync().stale;
        assert_eq!(conntrack.sweep(&Sweep::new(&proxy.table, &stale)).unwrap().deleted, 1);
        assert_eq!(client.ask(WEB), None);
        let others = FrontendKey::new(Protocol::Udp, "10.96.1.2".parse().unwrap(), 80);
        assert_eq!(conntrack.flows(&Filter::Frontend(others), 10).unwrap().len(), 1, "not ours to cut");
    });
}

pub(crate) fn the_sweeper_works_beside_the_syncs() {
    isolated("udp::the_sweeper_works_beside_the_syncs", || {
        let (pod, _first, _second, mut proxy) = proxy_with_two_pods();
        let client = pod.namespace.run(|| Client::new(4000));
        let sweeper = Sweeper::new();
        let mut conntrack = Conntrack::open().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| sweeper.run(&mut conntrack));
            let sweeper = Closing(&sweeper);
            for turn in 0..4 {
                let endpoint = ["10.244.1.2", "10.244.1.3"][turn % 2];
                proxy.endpoints("web", &[endpoint]);
                let stale = proxy.sync().stale;
                sweeper.0.push(Sweep::new(&proxy.table, &stale));
                let end = Instant::now() + CUT;
                while client.ask(WEB).as_deref() != Some(endpoint) {
                    assert!(Instant::now() < end, "turn {turn}: the flow goes on");
                }
            }
            // Enough service ports for one dump of all.
            let keys: Vec<_> = (1..=20)
                .map(|host| FrontendKey::new(Protocol::Udp, ([10, 96, 1, host]).into(), 80))
                .collect();
            proxy.endpoints("web", &[]);
            proxy.sync();
            sweeper.0.push(Sweep::new(&proxy.table, &keys));
        });
        assert_eq!(client.ask(WEB), None);
    });
}

/// Lets a transaction take effect, and says that it did not.
#[derive(Debug)]
struct LostVerdict(bool);

impl Faults for LostVerdict {
    fn strike(&mut self, call: Call) -> Option<i32> {
        (call == Call::Verdict && !std::mem::replace(&mut self.0, true)).then_some(libc::ENOBUFS)
    }
}

pub(crate) fn stale_flows_are_known_after_a_failure() {
    isolated("udp::stale_flows_are_known_after_a_failure", || {
        let mut proxy = Proxy::open();
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2"]);
        proxy.sync();
        proxy.reconciler.set_faults(Some(Box::new(LostVerdict(false))));
        proxy.endpoints("web", &["10.244.1.3"]);
        let synced = proxy.sync();
        assert_eq!(synced.elements, 0, "the lost transaction had done it all");
        assert_eq!(synced.stale, [FrontendKey::new(Protocol::Udp, "10.96.1.1".parse().unwrap(), 80)]);
        assert!(proxy.sync().stale.is_empty());
    });
}

const NODE_PORT: u16 = 30053;

/// A Service of every kind, in both families: its frontends, and whether they are for clients outside.
fn frontends() -> Vec<(SocketAddr, bool)> {
    let of = |addresses: [IpAddr; 2], port, outside| {
        addresses.map(|address| (SocketAddr::new(address, port), outside))
    };
    let parse = |addresses: [&str; 2]| addresses.map(|address| address.parse().unwrap());
    [
        of(parse(CLUSTER_IP), 53, false),
        of(parse(LOAD_BALANCER), 53, true),
        of(parse(EXTERNAL_IP), 53, true),
        of([NODE.into(), NODE6.into()], NODE_PORT, true),
    ]
    .concat()
}

const CLUSTER_IP: [&str; 2] = ["10.96.1.1", "fd00:96::1:1"];
const LOAD_BALANCER: [&str; 2] = ["198.51.100.7", "2001:db8:100::7"];
const EXTERNAL_IP: [&str; 2] = ["198.51.100.200", "2001:db8:100::200"];

pub(crate) fn flows_to_every_kind_of_frontend_are_cut() {
    isolated("udp::flows_to_every_kind_of_frontend_are_cut", || {
        set_up_dual_stack();
        let servers = [Pod::dual_stack(1, 2), Pod::dual_stack(1, 3)];
        servers.iter().for_each(Pod::serve_dual_stack);
        let (inside, outside) = (Pod::dual_stack(1, 5), Pod::outside(2));
        let clients: Vec<(Client, SocketAddr)> = (4000..)
            .zip(frontends())
            .map(|(port, (to, is_outside))| {
                let any: IpAddr =
                    if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
                let pod = if is_outside { &outside } else { &inside };
                (pod.namespace.run(move || Client::bound_to(SocketAddr::new(any, port))), to)
            })
            .collect();
        let asked = |expected: Option<&Pod>| {
            for (client, to) in &clients {
                let expected = expected.map(|pod| pod.ip(to.is_ipv6()).to_string());
                assert_eq!(client.ask(&to.to_string()), expected, "{to}");
            }
        };
        let mut proxy = Proxy::with_facts(dual_stack_facts());
        proxy.sync();
        // Flows that nobody translates: they are there when the first endpoint comes.
        asked(None);
        let mut conntrack = Conntrack::open().unwrap();
        let untranslated = conntrack.flows(&Filter::Protocol(Protocol::Udp), 100).unwrap();
        assert!(untranslated.iter().any(|flow| flow.original.destination.port() == NODE_PORT));

        let spec = json!({
            "type": "LoadBalancer", "clusterIPs": CLUSTER_IP, "externalIPs": EXTERNAL_IP,
            "ports": [{"name": "udp", "port": 53, "protocol": "UDP", "nodePort": NODE_PORT}],
        });
        objects::apply(&mut proxy, "web", &spec, &LOAD_BALANCER);
        for server in &servers {
            proxy.endpoints_of_both("web", &[server.ip(false).to_string(), server.ip(true).to_string()]);
            let stale = proxy.sync().stale;
            assert_eq!(stale.len(), clients.len());
            let swept = conntrack.sweep(&Sweep::new(&proxy.table, &stale)).unwrap();
            assert_eq!(swept.dumps, 2, "one for each family");
            asked(Some(server));
        }
        proxy.endpoints_of_both("web", &[]);
        let stale = proxy.sync().stale;
        let swept = conntrack.sweep(&Sweep::new(&proxy.table, &stale)).unwrap();
        assert_eq!((swept.deleted, swept.deleted_ipv6), (clients.len(), clients.len() / 2));
        asked(None);
    });
}
