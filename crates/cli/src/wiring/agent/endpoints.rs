//! `/health`, `/ready` and `/metrics` where the Corefile wants them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use dns::corefile::Config;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::http::{Response, Routes, response, serve, text};
use super::metrics::CONTENT_TYPE;
use super::names::Dns;

/// Between two questions about our own health, and for the answer to one, as CoreDNS.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
const PROBE_TIME_MAX: Duration = Duration::from_secs(3);

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// Whom the Corefile lets: `:9153` is every address.
    AsWritten,
    /// This machine alone, unless the Corefile names an address: a node's own network is no pod's.
    Loopback,
    /// Nobody.
    Nobody,
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// Addresses with the pages that are served there.
pub(crate) type Places = BTreeMap<String, Vec<&'static str>>;

/// What the blocks of a Corefile want served.
pub(crate) fn places(config: &Config) -> Places {
    let mut places = Places::new();
    for block in &config.blocks {
        let pages = [
            (block.health.as_ref().map(|health| &health.address[..]), "/health"),
            (block.ready.as_ref().map(|ready| &ready.address[..]), "/ready"),
            (block.prometheus.as_deref(), "/metrics"),
        ];
        for (address, page) in pages {
            if let Some(address) = address {
                places.entry(address.to_owned()).or_default().push(page);
            }
        }
    }
    places
}

/// Listens wherever the blocks of the Corefile say; each future is a server.
pub(crate) fn start(
    config: &Config,
    dns: &Arc<Dns>,
    exposure: Exposure,
) -> anyhow::Result<Vec<BoxFuture<'static, ()>>> {
    let mut servers = Vec::new();
    if exposure == Exposure::Nobody {
        return Ok(servers);
    }
    for (place, pages) in places(config) {
        match listen(&place, exposure) {
            Ok(listener) => {
                if pages.contains(&"/health") {
                    servers.push(probe(listener.local_addr()?, Arc::clone(dns)).boxed());
                }
                servers.push(serve(listener, routes(pages, Arc::clone(dns))).boxed());
            }
            // A node's own ports may be another program's, and names are worth more than their counts.
            Err(error) if exposure == Exposure::Loopback => {
                tracing::warn!("{} is not served on {place}: {error}", pages.join(" and "));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("listening on {place} for {}", pages.join(" and ")));
            }
        }
    }
    Ok(servers)
}

/// Asks our own `/health` once a second and counts how long it takes, as CoreDNS: a process that is starved says so there.
async fn probe(address: SocketAddr, dns: Arc<Dns>) {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        named => named,
    };
    let address = SocketAddr::new(host, address.port());
    loop {
        tokio::time::sleep(PROBE_PAUSE).await;
        let started = Instant::now();
        if !matches!(tokio::time::timeout(PROBE_TIME_MAX, ask_health(address)).await, Ok(Ok(()))) {
            dns.metrics.add("coredns_health_request_failures_total", &[], 1);
        }
        let name = "coredns_health_request_duration_seconds";
        dns.metrics.observe(name, &[], started.elapsed().as_secs_f64());
    }
}

async fn ask_health(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if status.ends_with(b" 200") { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn listen(place: &str, exposure: Exposure) -> std::io::Result<TcpListener> {
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    let port: u16 = port.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => listen_at((address, port).into()),
        Err(_) if host == "localhost" || exposure == Exposure::Loopback => {
            listen_at((Ipv4Addr::LOCALHOST, port).into())
        }
        // One socket for both families; where there is no IPv6, for the one there is.
        Err(_) => match listen_at((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
            Err(_) => listen_at((Ipv4Addr::UNSPECIFIED, port).into()),
            listener => listener,
        },
    }
}

/// Shares the port with a server whose place this one takes, as CoreDNS does.
fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn routes(pages: Vec<&'static str>, dns: Arc<Dns>) -> Routes {
    Arc::new(move |path, _| match pages.iter().find(|page| **page == path) {
        Some(page) => answer(page, &dns),
        None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    })
}

fn answer(page: &str, dns: &Dns) -> Response {
    match page {
        "/health" => text(StatusCode::OK, "OK"),
        "/ready" => match dns.unready() {
            None => text(StatusCode::OK, "OK"),
            Some(plugin) => text(StatusCode::SERVICE_UNAVAILABLE, plugin),
        },
        _ => response(StatusCode::OK, CONTENT_TYPE, dns.metrics.render()),
    }
}
