//! `/health`, `/ready` and `/metrics` where the Corefile wants them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use dns::corefile::Config;
use http::StatusCode;
use tokio::net::TcpListener;

use super::http::{Response, Routes, response, serve, text};
use super::metrics::CONTENT_TYPE;
use super::names::Dns;

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
pub(crate) async fn start(
    config: &Config,
    dns: &Arc<Dns>,
    exposure: Exposure,
) -> anyhow::Result<Vec<impl Future<Output = ()> + Send + 'static>> {
    let mut servers = Vec::new();
    if exposure == Exposure::Nobody {
        return Ok(servers);
    }
    for (place, pages) in places(config) {
        match listen(&place, exposure).await {
            Ok(listener) => servers.push(serve(listener, routes(pages, Arc::clone(dns)))),
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

async fn listen(place: &str, exposure: Exposure) -> std::io::Result<TcpListener> {
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    let port: u16 = port.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => TcpListener::bind((address, port)).await,
        Err(_) if host == "localhost" || exposure == Exposure::Loopback => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
        }
        // One socket for both families; where there is no IPv6, for the one there is.
        Err(_) => match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
            listener => listener,
        },
    }
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
