//! One exchange with one upstream: over UDP from a random port ([`Ports`]), over TCP, over TLS.
//!
//! An answer counts only when it has the query's id and repeats its question; anything else is noise or forged. Streams are
//! kept for the next query and are never trusted twice: one that fails is thrown away, and the query goes over a new one.

mod ports;

pub(crate) use ports::Ports;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::tls::Connector;
use crate::message::{HEADER_BYTES, read_u16};

/// What is kept of streams, and where they begin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keeping<'k> {
    /// A stream that was idle for longer is not used again.
    pub(crate) expire: Duration,
    /// A stream older than this is not used again.
    pub(crate) age_max: Option<Duration>,
    /// Idle streams kept.
    pub(crate) idle_max: usize,
    /// Addresses of ours, at most one of each family; without one the kernel chooses.
    pub(crate) sources: &'k [IpAddr],
}

impl Keeping<'_> {
    /// Our end of what goes to `upstream`.
    fn source(&self, upstream: SocketAddr) -> Option<SocketAddr> {
        let fitting = self.sources.iter().find(|source| source.is_ipv4() == upstream.is_ipv4());
        fitting.map(|source| SocketAddr::new(*source, 0))
    }

    /// The same, with a wildcard where the kernel chooses.
    pub(super) fn source_or_any(&self, upstream: SocketAddr) -> SocketAddr {
        let any: IpAddr =
            if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        self.source(upstream).unwrap_or(SocketAddr::new(any, 0))
    }
}

/// An idle stream.
struct Idle {
    stream: Box<dyn Stream>,
    born: Instant,
    since: Instant,
}

/// A stream to an upstream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Streams to one upstream that wait for the next query.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    fn take(&self, keeping: Keeping<'_>) -> Option<(Box<dyn Stream>, Instant)> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| {
            let too_old = keeping.age_max.is_some_and(|most| idle.born.elapsed() >= most);
            !too_old && idle.since.elapsed() < keeping.expire
        });
        idle.pop().map(|idle| (idle.stream, idle.born))
    }

    fn put(&self, stream: Box<dyn Stream>, born: Instant, keeping: Keeping<'_>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < keeping.idle_max {
            idle.push(Idle { stream, born, since: Instant::now() });
        }
    }
}

/// What came, and whether what it came over was there before.
pub(crate) struct Answered {
    pub(crate) answer: Vec<u8>,
    pub(crate) reused: bool,
}

/// Asks over TCP or TLS, on a waiting stream if there is one.
pub(crate) async fn ask_stream(
    upstream: SocketAddr,
    tls: Option<&Connector>,
    pool: &Pool,
    keeping: Keeping<'_>,
    packet: &[u8],
) -> io::Result<Answered> {
    if let Some((mut stream, born)) = pool.take(keeping) {
        // It may have been closed by the other side: that is no failure of the upstream.
        if let Ok(answer) = exchange(&mut stream, packet).await {
            pool.put(stream, born, keeping);
            return Ok(Answered { answer, reused: true });
        }
    }
    let tcp = connect(upstream, keeping.source(upstream)).await?;
    let born = Instant::now();
    tcp.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.connect(tcp).await?),
    };
    let answer = exchange(&mut stream, packet).await?;
    pool.put(stream, born, keeping);
    Ok(Answered { answer, reused: false })
}

async fn connect(upstream: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(upstream).await };
    let socket = if upstream.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(source)?;
    socket.connect(upstream).await
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
