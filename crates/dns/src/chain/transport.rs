//! One exchange with one upstream: over UDP from a random port, over TCP, over TLS.
//!
//! An answer counts only when it has the query's id and repeats its question; anything else is noise or forged. Streams are
//! kept for the next query and are never trusted twice: one that fails is thrown away, and the query goes over a new one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::tls::Connector;
use crate::message::{HEADER_BYTES, read_u16};

/// Largest datagram taken.
const UDP_BYTES_MAX: usize = 4096;
/// Idle streams kept for each upstream.
const IDLE_MAX: usize = 16;

/// A stream to an upstream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Streams to one upstream that wait for the next query.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<(Box<dyn Stream>, Instant)>>);

impl Pool {
    fn take(&self, expire: Duration) -> Option<Box<dyn Stream>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < expire);
        idle.pop().map(|(stream, _)| stream)
    }

    fn put(&self, stream: Box<dyn Stream>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((stream, Instant::now()));
        }
    }
}

/// Asks over UDP and waits for the answer without end: the caller has the clock.
pub(crate) async fn ask_udp(upstream: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any = if upstream.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    // A socket for each query: the kernel picks a random port, and drops what other addresses send.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(packet).await?;
    let mut answer = vec![0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if is_answer(&answer[..length], packet) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// What came over a stream, and whether the stream was there before.
pub(crate) struct Streamed {
    pub(crate) answer: Vec<u8>,
    pub(crate) reused: bool,
}

/// Asks over TCP or TLS, on a waiting stream if there is one.
pub(crate) async fn ask_stream(
    upstream: SocketAddr,
    tls: Option<&Connector>,
    pool: &Pool,
    expire: Duration,
    packet: &[u8],
) -> io::Result<Streamed> {
    if let Some(mut stream) = pool.take(expire) {
        // It may have been closed by the other side: that is no failure of the upstream.
        if let Ok(answer) = exchange(&mut stream, packet).await {
            pool.put(stream);
            return Ok(Streamed { answer, reused: true });
        }
    }
    let tcp = TcpStream::connect(upstream).await?;
    tcp.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.connect(tcp).await?),
    };
    let answer = exchange(&mut stream, packet).await?;
    pool.put(stream);
    Ok(Streamed { answer, reused: false })
}

async fn exchange(stream: &mut Box<dyn Stream>, packet: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(packet);
    stream.write_all(&framed).await?;
    stream.flush().await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if is_answer(&answer, packet) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// True when `answer` is one to `packet`, which has one question.
fn is_answer(answer: &[u8], packet: &[u8]) -> bool {
    let question = question(packet);
    let repeats = answer.get(HEADER_BYTES..HEADER_BYTES + question.len());
    answer.len() >= HEADER_BYTES
        && answer[..2] == packet[..2]
        && answer[2] & 0x80 != 0
        && (repeats.is_some_and(|repeated| repeated.eq_ignore_ascii_case(question))
            // Some resolvers leave the question out of a refusal.
            || (read_u16(answer, 4) == Some(0) && answer[3] & 0x0f != 0))
}

/// The question section of a packet of our own.
fn question(packet: &[u8]) -> &[u8] {
    let mut at = HEADER_BYTES;
    while let Some(length) = packet.get(at).filter(|length| **length > 0) {
        at += usize::from(*length) + 1;
    }
    packet.get(HEADER_BYTES..at + 5).unwrap_or_default()
}
