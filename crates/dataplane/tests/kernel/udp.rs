//! UDP flows to endpoints that left.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use dataplane::conntrack::{Conntrack, Filter, Sweep, Sweeper};
use dataplane::forwarding_table::FrontendKey;
use dataplane::{Call, Faults};
use services::Protocol;

use crate::namespace::isolated;
use crate::node::{Pod, set_up};
use crate::objects::Proxy;

const WEB: &str = "10.96.1.1:80";
/// A stale flow goes on for at most a second; on a loaded machine this test's own threads wait, too.
const CUT: Duration = Duration::from_secs(3);

/// A client with one source port for all that it sends.
struct Client(UdpSocket);

impl Client {
    fn new(port: u16) -> Self {
        let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
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
