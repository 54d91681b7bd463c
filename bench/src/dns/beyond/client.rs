//! A client in the pod: one socket, which asks as fast as answers come, or one question after the other.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dns::datagrams::Batch;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use super::clocks::Clocks;
use super::ready::Ready;
use crate::dns::servers::{GENERATOR_CORE, stay_on};

/// Queries under way in a closed loop.
const WINDOW: u64 = 64;
/// Answers that do not come within this time are lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Answers that are compared, byte by byte, before anything is measured.
const COMPARED: usize = 32;

/// What comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// The query itself.
    Echo,
    /// What the zone says.
    Answer,
}

/// What a round found. Times in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Answers a second to a window of questions.
    pub(super) rate: f64,
    /// Of the server's own threads, for each answer.
    pub(super) server: f64,
    /// Of server, client and the kernel's own threads, for each answer.
    pub(super) whole: f64,
    /// The same when one question follows the other.
    pub(super) whole_alone: f64,
    /// The NAPI of the server's socket.
    pub(super) napi: Option<i32>,
    /// The times to each answer then, sorted.
    pub(super) taken: Vec<Duration>,
}

/// Asks `server` for `time` in each manner. In the pod's namespace.
pub(super) fn round(
    server: SocketAddrV4,
    questions: &Ready,
    expect: Expect,
    clocks: &Clocks,
    time: Duration,
) -> Result<Round> {
    stay_on(GENERATOR_CORE);
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    setsockopt(&socket, RcvBuf, &(1 << 20))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut client = Client { socket, questions, next: 0, batch: Batch::new() };
    client.compare(expect)?;
    let before = clocks.ran();
    let (start, answers) = (Instant::now(), client.many(time)?);
    let (took, after) = (start.elapsed(), clocks.ran());
    let taken = client.one_by_one(time)?;
    let alone = clocks.ran();
    ensure!(answers > 0 && !taken.is_empty(), "no answers within {time:?}");
    let each = |ns: f64| ns / answers as f64;
    Ok(Round {
        rate: answers as f64 / took.as_secs_f64(),
        server: each(after.server - before.server),
        whole: each(after.whole - before.whole),
        whole_alone: (alone.whole - after.whole) / taken.len() as f64,
        napi: None,
        taken,
    })
}

struct Client<'q> {
    socket: UdpSocket,
    questions: &'q Ready,
    next: usize,
    batch: Batch,
}

impl Client<'_> {
    fn send(&mut self) -> io::Result<()> {
        self.next = if self.next + 1 < self.questions.len() { self.next + 1 } else { 0 };
        self.socket.send(&self.questions[self.next].0).map(drop)
    }

    fn compare(&mut self, expect: Expect) -> Result<()> {
        let mut buffer = [0; 4096];
        for _ in 0..COMPARED {
            self.send()?;
            let length = self.socket.recv(&mut buffer)?;
            let (question, answer) = &self.questions[self.next];
            let expected = if expect == Expect::Echo { question } else { answer };
            ensure!(buffer[..length] == expected[..], "an answer that is not the zone's");
        }
        Ok(())
    }

    /// Keeps a window of queries under way; returns the number of answers.
    fn many(&mut self, time: Duration) -> Result<u64> {
        let (start, mut answers, mut under_way) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            while under_way < WINDOW {
                self.send()?;
                under_way += 1;
            }
            match self.batch.receive(self.socket.as_fd(), true) {
                Ok(count) => {
                    answers += count as u64;
                    under_way = under_way.saturating_sub(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => under_way = 0,
                Err(error) => return Err(error.into()),
            }
        }
        while under_way > 0 {
            match self.batch.receive(self.socket.as_fd(), true) {
                Ok(count) => under_way = under_way.saturating_sub(count as u64),
                Err(_) => break,
            }
        }
        Ok(answers)
    }

    /// Asks and waits, again and again; returns the times, sorted.
    fn one_by_one(&mut self, time: Duration) -> Result<Vec<Duration>> {
        let mut taken = Vec::with_capacity(1 << 16);
        let mut buffer = [0; 4096];
        let start = Instant::now();
        while start.elapsed() < time {
            let asked = Instant::now();
            self.send()?;
            match self.socket.recv(&mut buffer) {
                Ok(_) => taken.push(asked.elapsed()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        taken.sort_unstable();
        Ok(taken)
    }
}
