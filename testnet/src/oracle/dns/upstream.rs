//! The resolver for names outside: a few records, a loop, a failure, and denials.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A running resolver on loopback. Dropping it ends it.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts one.
    ///
    /// # Errors
    /// There is no socket, or no thread, to be had.
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (address, stop) = (socket.local_addr()?, Arc::<AtomicBool>::default());
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            let mut buffer = [0; 4096];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length]) {
                    // A client that has gone is not missed.
                    let _ = socket.send_to(&answer, peer);
                }
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
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

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let asked = query.queries.first()?.clone();
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    answer.add_query(asked.clone());
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    let record = |name: &Name, data| Record::from_rdata(name.clone(), 60, data);
    let (name, target) = (asked.name().clone(), Name::from_ascii("target.example.com.").ok()?);
    let address = |name: &Name| record(name, RData::A(A(Ipv4Addr::new(192, 0, 2, 1))));
    match (&name.to_ascii().to_ascii_lowercase()[..], asked.query_type()) {
        ("www.example.com." | "target.example.com.", RecordType::A) => {
            answer.add_answer(address(&name));
        }
        ("www.example.com.", RecordType::TXT) => {
            answer.add_answer(record(&name, RData::TXT(TXT::new(vec!["text".to_owned()]))));
        }
        ("alias.example.com.", RecordType::A) => {
            answer.add_answer(record(&name, RData::CNAME(CNAME(target.clone()))));
            answer.add_answer(address(&target));
        }
        ("www.example.com." | "target.example.com." | "alias.example.com.", _) => deny(&mut answer)?,
        ("broken.example.com.", _) => answer.metadata.response_code = ResponseCode::ServFail,
        ("refused.example.com.", _) => answer.metadata.response_code = ResponseCode::Refused,
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            deny(&mut answer)?;
        }
    }
    answer.to_vec().ok()
}

fn deny(answer: &mut Message) -> Option<()> {
    let name = |text: &str| Name::from_ascii(text).ok();
    let soa = SOA::new(name("ns.example.com.")?, name("host.example.com.")?, 1, 60, 60, 60, 7);
    answer.add_authority(Record::from_rdata(name("example.com.")?, 60, RData::SOA(soa)));
    Some(())
}
