//! The load generator: one thread, one socket, 128 flows.
//!
//! A flow is a source address of 127.0.1.0/24, given with each message, so that one socket serves all flows and one system
//! call takes many answers. Queries of equal length go out as one segmented message (UDP_SEGMENT): the kernel cuts it
//! before the server's socket, so the server sees single datagrams as ever, and the generator costs less than what it
//! measures.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use dns::datagrams::{BATCH, Batch};
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt::RcvBuf};

use super::servers::Target;

/// Source addresses.
const FLOWS: u8 = 128;
/// Queries under way in a closed loop.
const WINDOW: u32 = 256;
/// Answers that do not come within this time are lost: the window is filled again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pause of an even flow when there is nothing to send or to receive.
const IDLE: Duration = Duration::from_micros(10);

/// Queries of one length that go out together.
struct Message {
    bytes: Vec<u8>,
    segment: u16,
    count: u32,
}

/// A workload's messages, in turn and without end.
pub(crate) struct Generator {
    socket: UdpSocket,
    messages: Vec<Message>,
    next: usize,
    flow: u8,
    batch: Batch,
}

/// What a closed loop found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Answers a second.
    pub(crate) rate: f64,
    /// The server's own running time for each answer, in nanoseconds.
    pub(crate) cost: f64,
    /// Questions sent, those without an answer at the end included.
    pub(crate) sent: u64,
}

impl Generator {
    /// For query packets in this order; so many of one length go out as one message, which one flow sends.
    pub(crate) fn new(packets: &[Vec<u8>], together: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        setsockopt(&socket, RcvBuf, &(1 << 20))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, messages: gather(packets, together), next: 0, flow: 0, batch: Batch::new() })
    }

    /// Sends the next message; returns its number of queries. `id` replaces the first query's.
    fn send(&mut self, server: SocketAddr, id: Option<u16>) -> Result<u32> {
        let SocketAddr::V4(server) = server else { bail!("the generator speaks IPv4 only") };
        let next = if self.next + 1 == self.messages.len() { 0 } else { self.next + 1 };
        let message = &mut self.messages[std::mem::replace(&mut self.next, next)];
        self.flow = (self.flow + 1) % FLOWS;
        if let Some(id) = id {
            message.bytes[..2].copy_from_slice(&id.to_be_bytes());
        }
        let source = Ipv4Addr::new(127, 0, 1, 1 + self.flow);
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control =
            [ControlMessage::Ipv4PacketInfo(&source), ControlMessage::UdpGsoSegments(&message.segment)];
        let control = if message.count == 1 { &control[..1] } else { &control[..] };
        let to = SockaddrIn::from(SocketAddrV4::new(*server.ip(), server.port()));
        let bytes = [IoSlice::new(&message.bytes)];
        sendmsg(self.socket.as_raw_fd(), &bytes, control, MsgFlags::empty(), Some(&to))?;
        Ok(message.count)
    }

    /// Keeps a window of queries under way for `time`: how much the server can do.
    pub(crate) fn load(&mut self, target: &Target, time: Duration) -> Result<Load> {
        self.drain();
        let (ran, start, mut answers) = (target.running_ns(), Instant::now(), 0_u64);
        let (mut under_way, mut sent) = (0_u32, 0_u64);
        while start.elapsed() < time {
            while under_way < WINDOW {
                let count = self.send(target.address, None)?;
                under_way += count;
                sent += u64::from(count);
            }
            match self.batch.receive(self.socket.as_fd(), true) {
                Ok(count) => {
                    answers += count as u64;
                    under_way = under_way.saturating_sub(count as u32);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => under_way = 0,
                Err(error) => return Err(error.into()),
            }
        }
        let rate = answers as f64 / start.elapsed().as_secs_f64();
        Ok(Load { rate, cost: (target.running_ns() - ran) / answers as f64, sent })
    }

    /// Sends at an even rate for `time` and returns the sorted times to each answer; the number of lost ones too. A query
    /// counts from when it was due, so a generator that is late hides nothing.
    pub(crate) fn latencies(
        &mut self,
        server: SocketAddr,
        rate: f64,
        time: Duration,
    ) -> Result<(Vec<Duration>, usize)> {
        self.drain();
        let total = (rate * time.as_secs_f64()) as usize;
        let mut due = vec![Duration::ZERO; 1 << 16];
        let mut taken = Vec::with_capacity(total);
        let (start, mut sent) = (Instant::now(), 0_usize);
        while start.elapsed() < time + PATIENCE && taken.len() < total {
            // A few at most before the answers are looked at again.
            for _ in 0..BATCH {
                if sent == total || start.elapsed().as_secs_f64() * rate < sent as f64 {
                    break;
                }
                let id = (sent & 0xffff) as u16;
                due[usize::from(id)] = Duration::from_secs_f64(sent as f64 / rate);
                self.send(server, Some(id))?;
                sent += 1;
            }
            if self.batch.receive(self.socket.as_fd(), false).is_err() {
                // The kernel's own threads need this core too.
                std::thread::sleep(IDLE);
                continue;
            }
            let now = start.elapsed();
            self.batch.answer_each(|answer, _| {
                if let [high, low, ..] = *answer {
                    taken.push(now.saturating_sub(due[usize::from(u16::from_be_bytes([high, low]))]));
                }
                0
            });
        }
        taken.sort_unstable();
        let lost = sent.saturating_sub(taken.len());
        Ok((taken, lost))
    }

    /// Forgets answers to what was asked before.
    fn drain(&mut self) {
        std::thread::sleep(Duration::from_millis(10));
        while self.batch.receive(self.socket.as_fd(), false).is_ok() {}
    }
}

/// Packets of one length together, the groups in the order in which they fill up.
fn gather(packets: &[Vec<u8>], segments: usize) -> Vec<Message> {
    let mut open: Vec<Message> = Vec::new();
    let mut full = Vec::new();
    for packet in packets {
        let segment = packet.len() as u16;
        let at = open.iter().position(|message| message.segment == segment).unwrap_or_else(|| {
            open.push(Message { bytes: Vec::new(), segment, count: 0 });
            open.len() - 1
        });
        open[at].bytes.extend(packet);
        open[at].count += 1;
        if open[at].count as usize == segments {
            full.push(open.swap_remove(at));
        }
    }
    full.extend(open);
    full
}
