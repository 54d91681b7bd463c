//! The server over real sockets: publishing, forwarding, TCP, limits, bad packets, stopping.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dns::chain::Chain;
use dns::corefile::To;
use dns::server::{Server, Sockets};
use dns::zone::{Zone, ZoneConfig};
use serde_json::{Value, json};
use support::{
    PATIENCE, Upstream, answer_with, ask_tcp, ask_udp, cut, frame, load, query, read, read_frame, refuse,
};

const WEB: &str = "web.default.svc.cluster.local";
const OUT: &str = "out.default.svc.cluster.local";

fn objects(address: &str) -> Vec<Value> {
    vec![
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}}),
        json!({"kind": "Service", "metadata": {"name": "out", "namespace": "default"},
               "spec": {"type": "ExternalName", "externalName": "www.example.com"}}),
    ]
}

fn zone(address: &str) -> Arc<Zone> {
    let config = Arc::new(ZoneConfig::cluster("cluster.local").unwrap());
    Arc::new(Zone::build(config, &load(&objects(address)).0.snapshot(), 1))
}

fn start(upstreams: &[SocketAddr]) -> (Server, SocketAddr) {
    let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let server = Server::start(zone("10.96.0.20"), upstreams.to_vec(), vec![sockets]).unwrap();
    server.set_synced(true);
    let address = server.addresses()[0];
    (server, address)
}

/// The server asks these resolvers from now on.
fn exchange_upstreams(server: &Server, upstreams: Vec<To>) {
    server.set_chain(Chain::forwarding(upstreams).unwrap());
}

fn example() -> Upstream {
    let record = |name: &str, kind: &str, data: &str| (name.to_owned(), kind.to_owned(), data.to_owned());
    Upstream::with_records(vec![
        record("www.example.com.", "A", "192.0.2.53"),
        record("www.example.com.", "AAAA", "2001:db8::1"),
    ])
}

fn answers(bytes: &[u8]) -> Vec<String> {
    read(bytes).answers.iter().map(ToString::to_string).collect()
}

#[test]
fn a_published_zone_answers_the_next_query() {
    let (server, address) = start(&[]);
    let packet = query(WEB, "A", None);
    for last in 1..50 {
        server.publish(zone(&format!("10.96.1.{last}")));
        assert_eq!(answers(&ask_udp(address, &packet)), [format!("{WEB}. 30 IN A 10.96.1.{last}")]);
    }
    server.set_synced(false);
    assert_eq!(read(&ask_udp(address, &query("no.default.svc.cluster.local", "A", None))).rcode, 2);
    assert!(server.counts().replies >= 50);
}

/// Queries that wait before the server starts are one batch, whose answers to one peer leave as one message.
#[test]
fn answers_to_one_peer_arrive_as_datagrams_of_their_own() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let sockets = Sockets::bind(address.parse().unwrap(), 1).unwrap();
        let client = UdpSocket::bind(address).unwrap();
        client.connect(sockets.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let kinds = ["A", "AAAA", "A", "A", "AAAA", "SRV", "A", "AAAA", "SOA", "A", "A"];
        for (id, kind) in (0_u8..).zip(kinds) {
            let mut packet = query(WEB, kind, None);
            packet[1] = id;
            client.send(&packet).unwrap();
        }
        let _server = Server::start(zone("10.96.0.20"), Vec::new(), vec![sockets]).unwrap();
        let mut came = Vec::new();
        for _ in kinds {
            let mut answer = [0; 512];
            let length = client.recv(&mut answer).unwrap();
            let id = answer[1];
            let expected =
                if kinds[usize::from(id)] == "A" || kinds[usize::from(id)] == "SRV" { 1 } else { 0 };
            assert_eq!(read(&answer[..length]).answers.len(), expected, "{}", kinds[usize::from(id)]);
            came.push(id);
        }
        came.sort_unstable();
        assert!((0..).zip(came).all(|(expected, id)| expected == id), "one answer to each");
    }
}

#[test]
fn names_outside_go_to_the_upstream_over_udp_and_tcp() {
    let upstream = example();
    let (_server, address) = start(&[upstream.address]);
    let packet = query("www.example.com", "A", Some(1232));
    for answer in [ask_udp(address, &packet), ask_tcp(address, std::slice::from_ref(&packet)).remove(0)] {
        assert_eq!(answer[..2], packet[..2], "the client's id comes back");
        assert_eq!(answers(&answer), ["www.example.com. 60 IN A 192.0.2.53"]);
    }
    assert_eq!(read(&ask_udp(address, &query("nope.example.com", "A", None))).rcode, 3);
}

#[test]
fn an_alias_to_outside_is_completed() {
    let upstream = example();
    let (_server, address) = start(&[upstream.address]);
    for (kind, data) in [("A", "A 192.0.2.53"), ("AAAA", "AAAA 2001:db8::1")] {
        let expected =
            [format!("{OUT}. 30 IN CNAME www.example.com."), format!("www.example.com. 60 IN {data}")];
        let packet = query(OUT, kind, None);
        assert_eq!(answers(&ask_udp(address, &packet)), expected);
        assert_eq!(answers(&ask_tcp(address, &[packet])[0]), expected);
    }
    assert_eq!(answers(&ask_udp(address, &query(OUT, "CNAME", None))).len(), 1);
}

#[test]
fn an_alias_says_what_the_upstream_says() {
    let missing = Upstream::start(|query| refuse(query, 3));
    let (server, address) = start(&[missing.address]);
    let response = read(&ask_udp(address, &query(OUT, "A", None)));
    assert_eq!((response.rcode, response.answers.len()), (3, 1), "NXDOMAIN behind an alias keeps the alias");
    let failing = Upstream::start(|query| refuse(query, 2));
    exchange_upstreams(&server, vec![To::Dns(failing.address)]);
    let response = read(&ask_udp(address, &query(OUT, "A", None)));
    assert_eq!((response.rcode, response.answers.len()), (2, 0), "an alias alone would read as: no address");
    let short = Upstream::start(|query| cut(answer_with(query, 1)));
    exchange_upstreams(&server, vec![To::Dns(short.address)]);
    let response = read(&ask_udp(address, &query(OUT, "A", None)));
    assert_eq!((response.truncated, response.answers.len()), (true, 2), "TC of the upstream is copied");
}

#[test]
fn without_an_upstream_the_failure_is_immediate() {
    let (_server, address) = start(&[]);
    let start = Instant::now();
    for (name, kind) in [("www.example.com", "A"), (OUT, "A"), ("1.2.0.192.in-addr.arpa", "PTR")] {
        assert_eq!(read(&ask_udp(address, &query(name, kind, None))).rcode, 2, "{name}");
        assert_eq!(read(&ask_tcp(address, &[query(name, kind, None)])[0]).rcode, 2, "{name}");
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_silent_upstream_is_passed_over_and_then_avoided() {
    let (silent, speaking) = (Upstream::start(|_| Vec::new()), example());
    let (_server, address) = start(&[silent.address, speaking.address]);
    let packet = query("www.example.com", "A", None);
    let first = Instant::now();
    assert_eq!(answers(&ask_udp(address, &packet)).len(), 1);
    assert!(first.elapsed() >= Duration::from_secs(2));
    let second = Instant::now();
    assert_eq!(answers(&ask_udp(address, &packet)).len(), 1);
    assert!(second.elapsed() < Duration::from_secs(1));
}

#[test]
fn forged_answers_are_ignored() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (_server, address) = start(&[upstream.local_addr().unwrap()]);
    let liar = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, peer) = upstream.recv_from(&mut buffer).unwrap();
        let right = answer_with(&buffer[..length], 53);
        let mut wrong_id = answer_with(&buffer[..length], 66);
        wrong_id[0] ^= 1;
        let mut wrong_name = answer_with(&buffer[..length], 66);
        wrong_name[14] ^= 1;
        let not_an_answer = buffer[..length].to_vec();
        for packet in [wrong_id, wrong_name, not_an_answer, vec![1, 2, 3], right] {
            upstream.send_to(&packet, peer).unwrap();
        }
    });
    let answer = ask_udp(address, &query("www.example.com", "A", None));
    assert_eq!(answers(&answer), ["www.example.com. 60 IN A 192.0.2.53"]);
    liar.join().unwrap();
}

#[test]
fn an_answer_that_was_cut_is_fetched_over_tcp() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
    let (_server, address) = start(&[upstream.local_addr().unwrap()]);
    let speaker = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, peer) = upstream.recv_from(&mut buffer).unwrap();
        upstream.send_to(&cut(refuse(&buffer[..length], 0)), peer).unwrap();
        let mut stream = tcp.accept().unwrap().0;
        let asked = read_frame(&mut stream);
        stream.write_all(&frame(&answer_with(&asked, 7))).unwrap();
    });
    let answer = ask_tcp(address, &[query("www.example.com", "A", None)]).remove(0);
    assert_eq!(answers(&answer), ["www.example.com. 60 IN A 192.0.2.7"]);
    speaker.join().unwrap();
}

#[test]
fn an_upstream_answer_that_is_too_large_is_cut_for_the_client() {
    let upstream = Upstream::start(|query| {
        let mut answer = answer_with(query, 1);
        answer[7] = 60;
        let record = answer[answer.len() - 16..].to_vec();
        answer.extend(record.repeat(59));
        answer
    });
    let (_server, address) = start(&[upstream.address]);
    let response = ask_udp(address, &query("www.example.com", "A", None));
    assert!(response.len() <= 512);
    assert!(read(&response).truncated);
}

#[test]
fn many_queries_on_one_connection() {
    let upstream = example();
    let (_server, address) = start(&[upstream.address]);
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for id in 0..100_u8 {
        let mut packet = query(if id % 10 == 0 { "www.example.com" } else { WEB }, "A", None);
        packet[1] = id;
        packets.push(packet);
    }
    let mut ids: Vec<u8> = ask_tcp(address, &packets)
        .iter()
        .map(|answer| {
            assert_eq!(read(answer).answers.len(), 1);
            answer[1]
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_connection_may_break_anywhere() {
    let (_server, address) = start(&[]);
    let framed = frame(&query(WEB, "A", None));
    for end in 0..framed.len() {
        TcpStream::connect(address).unwrap().write_all(&framed[..end]).unwrap();
    }
    let mut odd = TcpStream::connect(address).unwrap();
    odd.set_read_timeout(Some(PATIENCE)).unwrap();
    odd.write_all(&[0, 3, 1, 2, 3]).unwrap();
    assert_eq!(odd.read(&mut [0; 16]).unwrap(), 0, "no query: the connection is closed");
    assert_eq!(ask_tcp(address, &[query(WEB, "A", None)]).len(), 1);
}

#[test]
fn one_client_cannot_take_all_connections() {
    let (_server, address) = start(&[]);
    let greedy: Vec<TcpStream> = (0..80).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let mut refused = 0;
    for mut stream in greedy.iter() {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let sent = stream.write_all(&frame(&query(WEB, "A", None)));
        if sent.is_err() || stream.read(&mut [0; 512]).unwrap_or(0) == 0 {
            refused += 1;
        }
    }
    assert_eq!(refused, 80 - 64);
    drop(greedy);
    let deadline = Instant::now() + PATIENCE;
    while !answers_over_tcp(address) {
        assert!(Instant::now() < deadline, "closed connections count no more");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answers_over_tcp(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&frame(&query(WEB, "A", None))).is_ok() && stream.read(&mut [0; 512]).unwrap_or(0) > 0
}

#[test]
fn garbage_over_udp_does_no_harm() {
    let (_server, address) = start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packet = query(WEB, "A", None);
    for end in 0..packet.len() {
        socket.send_to(&packet[..end], address).unwrap();
    }
    socket.send_to(&[0xff; 9000], address).unwrap();
    assert_eq!(answers(&ask_udp(address, &packet)).len(), 1);
}

#[test]
fn too_many_waiting_queries_are_refused_at_once() {
    let silent = Upstream::start(|_| Vec::new());
    let (_server, address) = start(&[silent.address]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let packet = query("www.example.com", "A", None);
    for _ in 0..12 {
        for _ in 0..100 {
            client.send_to(&packet, address).unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut buffer = [0; 512];
    let (start, mut refused) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(1) && client.recv(&mut buffer).is_ok() {
        refused += usize::from(read(&buffer[..packet.len()]).rcode == 5);
    }
    // The client's own buffer holds no more than some hundreds.
    assert!(refused >= 100, "{refused} of 1200 were refused");
    assert_eq!(
        answers(&ask_udp(address, &query(WEB, "A", None))).len(),
        1,
        "our own names are answered as before"
    );
}

#[test]
fn a_stopped_server_answers_what_it_received_and_frees_its_port() {
    let (server, address) = start(&[]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..200 {
        client.send_to(&query(WEB, "A", None), address).unwrap();
    }
    server.stop();
    let mut buffer = [0; 512];
    for _ in 0..200 {
        client.recv(&mut buffer).unwrap();
    }
    Sockets::bind(address, 1).unwrap();
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Sockets::bind(address, 1).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("TCP"), "{error}");
    let elsewhere = Sockets::bind("192.0.2.1:53".parse().unwrap(), 1).unwrap_err().to_string();
    assert!(elsewhere.contains("is the address on this node"), "{elsewhere}");
}

#[test]
fn a_server_takes_the_place_of_another_and_no_query_is_lost() {
    let (old, address) = start(&[]);
    let stop = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let clients: Vec<_> = [false, true, false]
            .map(|tcp| {
                let stop = &stop;
                scope.spawn(move || keep_asking(address, tcp, stop))
            })
            .into();
        let sockets = Sockets::reserve(address, 2).unwrap();
        let mut new = Server::start(zone("10.96.0.21"), Vec::new(), vec![sockets]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(new.counts().queries, 0, "reserved sockets get nothing");
        new.set_synced(true);
        new.open();
        std::thread::sleep(Duration::from_millis(200));
        assert!(new.counts().queries > 0, "both answer");
        old.stop();
        let before = new.counts().queries;
        std::thread::sleep(Duration::from_millis(200));
        assert!(new.counts().queries > before);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
    });
    assert!(asked > 100, "{asked} queries");
}

/// Asks again and again, each time from another port; panics when there is no answer. A connection that was on its way to a
/// listener that closed is made again once, as resolvers do (RFC 7766 §6.2.1).
fn keep_asking(server: SocketAddr, tcp: bool, stop: &AtomicBool) -> u32 {
    let packet = query(WEB, "A", None);
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = if tcp {
            over_tcp(server, &packet).or_else(|_| over_tcp(server, &packet)).unwrap()
        } else {
            ask_udp(server, &packet)
        };
        assert_eq!(read(&answer).answers.len(), 1);
        asked += 1;
    }
    asked
}

fn over_tcp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&frame(packet))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn queries_that_wait_are_answered_by_a_server_that_stops() {
    let upstream = Upstream::start(|query| {
        std::thread::sleep(Duration::from_millis(300));
        answer_with(query, 7)
    });
    let (server, address) = start(&[upstream.address]);
    let packet = query("www.example.com", "A", None);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(&packet, address).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&frame(&packet)).unwrap();
    let until = Instant::now() + PATIENCE;
    while server.counts().forwarded < 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    let mut buffer = [0; 512];
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(read(&buffer[..length]).answers.len(), 1);
    assert_eq!(read(&read_frame(&mut stream)).answers.len(), 1);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "and then the connection is closed");
}

#[test]
fn the_relay_forwards_everything_and_fails_at_once_without_resolvers() {
    let upstream = example();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let relay =
        dns::relay::start(UdpSocket::bind(address).unwrap(), tcp, vec![To::Dns(upstream.address)]).unwrap();
    for packet in [query("www.example.com", "A", None), query("www.example.com", "AAAA", Some(4096))] {
        assert_eq!(answers(&ask_udp(address, &packet)).len(), 1);
        assert_eq!(answers(&ask_tcp(address, &[packet])[0]).len(), 1);
    }
    assert_eq!(
        read(&ask_udp(address, &query(WEB, "A", None))).rcode,
        3,
        "a cluster name is the upstream's business"
    );
    exchange_upstreams(&relay, Vec::new());
    assert_eq!(read(&ask_udp(address, &query("www.example.com", "A", None))).rcode, 2);
}
