//! One packet followed through the chains, and the elements that decide on it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use dataplane::conntrack::{Conntrack, Filter};
use dataplane::forwarding_table::FrontendKey;
use dataplane::packet_trace::{Flow, PacketTrace, Step, Verdict};
use dataplane::table_elements::elements_of;
use services::Protocol;

use crate::namespace::isolated;
use crate::node::set_up;
use crate::objects::{Proxy, web};

const SILENCE: Duration = Duration::from_millis(100);

pub(crate) fn a_packet_is_followed_to_its_endpoint() {
    isolated("trace::a_packet_is_followed_to_its_endpoint", || {
        let (client, _servers, _proxy) = web([2]);
        let destination: SocketAddr = "10.96.1.1:80".parse().unwrap();
        let socket = client.namespace.run(|| UdpSocket::bind("10.244.1.5:40000").unwrap());
        let source = socket.local_addr().unwrap();
        let trace = PacketTrace::start(Flow { protocol: Protocol::Udp, source, destination }).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.send_to(b"?", destination).unwrap();
        // Another flow is none of the trace's business.
        client.ask("10.96.1.1:80").server();
        socket.recv(&mut [0; 64]).unwrap();
        let steps = trace.finish(SILENCE).unwrap();

        let chosen = steps.iter().any(|step| step.rule.as_deref() == Some("one of 1"));
        assert!(chosen && steps.iter().all(|step| step.table == "sluice"), "{steps:#?}");
        let seen: Vec<SocketAddr> = steps.iter().filter_map(|step| Some(step.headers?.destination)).collect();
        assert_eq!(seen.first(), Some(&destination));
        assert_eq!(seen.last(), Some(&"10.244.1.2:9898".parse().unwrap()), "after the translation");
        let ended = |step: &Step| matches!(step.verdict, Verdict::Accept | Verdict::Continue);
        assert!(steps.last().is_some_and(ended), "{steps:#?}");
        nothing_is_left();

        let key = FrontendKey::new(Protocol::Udp, destination.ip(), destination.port());
        let flows = Conntrack::open().unwrap().flows(&Filter::Frontend(key), 10).unwrap();
        assert!(flows.iter().any(|flow| flow.original.source == source), "{flows:?}");
    });
}

pub(crate) fn a_refused_packet_shows_where_it_ended() {
    isolated("trace::a_refused_packet_shows_where_it_ended", || {
        set_up();
        let mut proxy = Proxy::open();
        proxy.service("empty", "10.96.1.1", 80);
        proxy.sync();
        let (source, destination) = ("172.18.0.2:40000".parse().unwrap(), "10.96.1.1:80".parse().unwrap());
        let trace = PacketTrace::start(Flow { protocol: Protocol::Tcp, source, destination }).unwrap();
        // A second one at the same time is refused, and harms nothing.
        assert!(PacketTrace::start(Flow { protocol: Protocol::Udp, source, destination }).is_err());
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        let own = nix::sys::socket::SockaddrIn::new(172, 18, 0, 2, 40000);
        nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &own).unwrap();
        let peer = nix::sys::socket::SockaddrIn::new(10, 96, 1, 1, 80);
        let refused = nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &peer);
        assert_eq!(refused, Err(nix::errno::Errno::ECONNREFUSED));
        drop(TcpStream::from(socket));
        let steps = trace.finish(SILENCE).unwrap();
        let last = steps.last().unwrap();
        assert_eq!((last.chain.as_str(), &last.verdict), ("refuse", &Verdict::Drop), "{steps:#?}");
        nothing_is_left();
    });
}

pub(crate) fn elements_are_shown_as_nft_would() {
    isolated("trace::elements_are_shown_as_nft_would", || {
        set_up();
        let address = "10.96.1.1".parse().unwrap();
        assert_eq!(elements_of(Protocol::Tcp, address, 80).unwrap(), [], "there is no table");
        let mut proxy = Proxy::open();
        proxy.service("web", "10.96.1.1", 80);
        proxy.service("other", "10.96.1.11", 80);
        proxy.endpoints("web", &["10.244.1.2", "10.244.1.3"]);
        proxy.sync();
        let elements = elements_of(Protocol::Tcp, address, 80).unwrap();
        let texts: Vec<String> =
            elements.iter().map(|element| format!("{} {}", element.set, element.text)).collect();
        assert!(texts.iter().any(|text| text == "services tcp . 10.96.1.1 . 80 : 5c00:2"), "{texts:?}");
        assert!(texts.iter().any(|text| text == "chains 5c00:2 : goto n2"), "{texts:?}");
        let endpoint = "endpoints tcp . 10.96.1.1 . 80 . 1 : 10.244.1.3 . 9898";
        assert!(texts.iter().any(|text| text == endpoint), "{texts:?}");
        assert!(texts.iter().all(|text| !text.contains("10.96.1.11")), "{texts:?}");
    });
}

fn nothing_is_left() {
    let Ok(listed) = Command::new("nft").args(["list", "tables"]).output() else { return };
    let tables = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!tables.contains("sluice-trace"), "{tables}");
}
