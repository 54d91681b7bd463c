//! Shared by the socket tests: objects from JSON, a stub upstream, a client over UDP and TCP.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod corefile;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dns::message::records::{Response, kind_number, read_response};
use dns::name::Name;
use dns::zone::PodTable;
use serde_json::Value;
use services::Model;

/// How long a client waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Applies objects of any of the kinds that matter.
pub(crate) fn load(objects: &[Value]) -> (Model, PodTable) {
    let (mut model, mut pods) = (Model::new(), PodTable::default());
    for object in objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match object["kind"].as_str().unwrap() {
            "Namespace" => model.apply_namespace(text("/metadata/name")),
            "Service" => model.apply_service(&serde_json::from_value(object.clone()).unwrap()).unwrap(),
            "EndpointSlice" => model.apply_slice(&serde_json::from_value(object.clone()).unwrap()).unwrap(),
            "Pod" => pods.insert(text("/metadata/namespace"), text("/status/podIP").parse().unwrap()),
            other => panic!("no rule for a {other}"),
        }
    }
    (model, pods)
}

/// A query packet with recursion desired; `udp_size` adds an OPT record.
pub(crate) fn query(name: &str, kind: &str, udp_size: Option<u16>) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(udp_size.is_some())];
    let lower: Name = name.parse().unwrap();
    let mut wire = lower.as_wire().to_vec();
    // The case as given: labels and text have the same positions.
    for (to, from) in wire.iter_mut().skip(1).zip(name.bytes()) {
        if from.is_ascii_uppercase() {
            *to = from;
        }
    }
    packet.extend(wire);
    packet.extend(kind_number(kind).unwrap().to_be_bytes());
    packet.extend([0, 1]);
    if let Some(size) = udp_size {
        packet.extend([0, 0, 41]);
        packet.extend(size.to_be_bytes());
        packet.extend([0; 6]);
    }
    packet
}

/// Asks over UDP.
pub(crate) fn ask_udp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(packet).unwrap();
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Asks over TCP, all queries on one connection; answers in the order they came.
pub(crate) fn ask_tcp(server: SocketAddr, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for packet in packets {
        stream.write_all(&frame(packet)).unwrap();
    }
    packets.iter().map(|_| read_frame(&mut stream)).collect()
}

/// A message with its length in front.
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet].concat()
}

/// Reads one message of a stream.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

/// Reads an answer, which must be well formed for us and for hickory.
pub(crate) fn read(answer: &[u8]) -> Response {
    hickory_proto::op::Message::from_vec(answer).expect("hickory reads the answer");
    read_response(answer).expect("the answer is well formed")
}

/// A resolver for tests: answers each query by a function.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts one on loopback; `reply` gives the answer, empty for silence.
    pub(crate) fn start(reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let answer = reply(&buffer[..length]);
                if !answer.is_empty() {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    /// One that knows these records (`name A address`); everything else is NXDOMAIN.
    pub(crate) fn with_records(records: Vec<(String, String, String)>) -> Self {
        Self::start(move |query| answer_from(query, &records))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer to `query` from a list of addresses, made by hickory.
fn answer_from(query: &[u8], records: &[(String, String, String)]) -> Vec<u8> {
    use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::rdata::{A, AAAA};
    use hickory_proto::rr::{RData, Record};
    let query = Message::from_vec(query).unwrap();
    let asked = query.queries[0].clone();
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    answer.add_query(asked.clone());
    let name = asked.name().to_ascii().to_ascii_lowercase();
    let known: Vec<_> = records.iter().filter(|record| record.0 == name).collect();
    if known.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for (_, kind, address) in known.into_iter().filter(|record| record.1 == asked.query_type().to_string()) {
        let data = match kind.as_str() {
            "A" => RData::A(A(address.parse().unwrap())),
            _ => RData::AAAA(AAAA(address.parse().unwrap())),
        };
        answer.add_answer(Record::from_rdata(asked.name().clone(), 60, data));
    }
    answer.to_vec().unwrap()
}

/// An upstream that counts, and says what it was asked.
pub(crate) struct Counting {
    pub(crate) upstream: Upstream,
    pub(crate) asked: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Counting {
    /// One whose answers a function makes from the query.
    pub(crate) fn start(reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let upstream = Upstream::start(move |query| {
            let read = hickory_proto::op::Message::from_vec(query).unwrap();
            seen.lock().unwrap().push(format!("{} {}", read.queries[0].name(), read.queries[0].query_type()));
            reply(query)
        });
        Self { upstream, asked }
    }

    /// One that knows these records; everything else is NXDOMAIN with a SOA record of this lifetime.
    pub(crate) fn with_records(records: &[(&str, &str, &str)], denial_ttl: u32) -> Self {
        let records: Vec<_> =
            records.iter().map(|(n, k, d)| ((*n).into(), (*k).into(), (*d).into())).collect();
        Self::start(move |query| with_soa(&answer_from(query, &records), denial_ttl))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    /// What it was asked since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A denial gets its SOA record.
fn with_soa(answer: &[u8], ttl: u32) -> Vec<u8> {
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::SOA;
    use hickory_proto::rr::{Name, RData, Record};
    let mut message = Message::from_vec(answer).unwrap();
    if message.answers.is_empty() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let soa = SOA::new(name("ns.example.com."), name("host.example.com."), 1, 60, 60, 60, ttl);
        message.add_authority(Record::from_rdata(name("example.com."), 3600, RData::SOA(soa)));
    }
    message.to_vec().unwrap()
}

/// The upstream's answer marked as cut.
pub(crate) fn cut(mut answer: Vec<u8>) -> Vec<u8> {
    answer[2] |= 0x02;
    answer
}

/// An answer without records, of this code.
pub(crate) fn refuse(query: &[u8], code: u8) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer[3] = code;
    answer
}

/// An answer with one address.
pub(crate) fn answer_with(query: &[u8], octet: u8) -> Vec<u8> {
    let end = dns::message::parse_query(query).unwrap().question_end;
    let mut answer = query[..end].to_vec();
    answer[2] |= 0x80;
    answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, octet]);
    answer
}
