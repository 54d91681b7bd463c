//! A resolver for names outside, on loopback and on the generator's core: it answers every question with one A record, or
//! with no data, and counts them.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use dns::datagrams::Batch;
use dns::message::{parse_query, rtype};

use super::servers::loopback;

/// Lifetime of its records in seconds: longer than a measurement.
const TTL: u32 = 3600;

/// The resolver; its thread stays until the process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Upstream {
    pub(crate) fn start() -> Result<Self> {
        let socket = UdpSocket::bind(loopback(0))?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20))?;
        let (address, asked) = (socket.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&asked);
        std::thread::Builder::new().name("upstream".into()).spawn(move || {
            let mut batch = Batch::new();
            while let Ok(count) = batch.receive(socket.as_fd(), true) {
                counter.fetch_add(count as u64, Ordering::Relaxed);
                batch.answer_each(answer);
                batch.send(socket.as_fd());
            }
        })?;
        Ok(Self { address, asked })
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Writes the answer to a query: 192.0.2.1, whatever the name.
fn answer(packet: &[u8], room: &mut [u8]) -> usize {
    let Ok(query) = parse_query(packet) else { return 0 };
    let question = &packet[..query.question_end];
    let mut reply = question.to_vec();
    (reply[2], reply[3]) = (0x81, 0x80);
    reply[6..12].fill(0);
    if query.qtype == rtype::A {
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(TTL.to_be_bytes());
        reply.extend([0, 4, 192, 0, 2, 1]);
    }
    room[..reply.len()].copy_from_slice(&reply);
    reply.len()
}
