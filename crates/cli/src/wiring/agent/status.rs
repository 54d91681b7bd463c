//! What a running agent tells on port 10256: kube-proxy's `/healthz` and `/livez`, `/readyz`, and to the node itself
//! `/dump/STAGE` in the text format of the scenarios and DNS's `/metrics`. `sluice dump` asks on 127.0.0.1; in the embedded cluster it enters
//! the node's namespace first.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::StatusCode;

use super::HEALTHZ_PORT;
use super::health::Verdict;
use super::http::{Response, Routes, response, text};
use super::observed::Observed;
use super::stages::Stages;

/// Where `sluice dump` asks.
pub(crate) const DUMP_ADDRESS: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, HEALTHZ_PORT));

/// Whether a listener at `address` hears what is sent to [`DUMP_ADDRESS`].
pub(crate) fn covers_dumps(address: SocketAddr) -> bool {
    address.port() == HEALTHZ_PORT && (address.ip().is_unspecified() || address == DUMP_ADDRESS)
}

/// All of it; the proxy's health only where there is a proxy.
pub(crate) fn routes(stages: Arc<Stages>, observed: Option<Arc<Observed>>) -> Routes {
    Arc::new(move |path, from| match (path, &observed) {
        ("/healthz", Some(observed)) => {
            let verdict = observed.health.healthz();
            observed.metrics.asked_healthz(verdict.healthy);
            health(&verdict)
        }
        ("/livez", Some(observed)) => {
            let verdict = observed.health.livez();
            observed.metrics.asked_livez(verdict.healthy);
            health(&verdict)
        }
        ("/readyz" | "/healthz" | "/livez", _) => match stages.synced() {
            Ok(body) => text(StatusCode::OK, body),
            Err(body) => text(StatusCode::SERVICE_UNAVAILABLE, body),
        },
        ("/metrics", _) if from.is_loopback() => {
            response(StatusCode::OK, super::metrics::CONTENT_TYPE, stages.dns_metrics())
        }
        (path, _) => match path.strip_prefix("/dump/") {
            Some(stage) => dump(stage, from, &stages),
            None => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /livez and /readyz, and on the node itself /dump/STAGE and DNS's /metrics\n",
            ),
        },
    })
}

fn health(verdict: &Verdict) -> Response {
    let status = if verdict.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", verdict.body.to_string())
}

/// A dump shows every Service and connection, so only the node itself gets one.
fn dump(stage: &str, from: IpAddr, stages: &Stages) -> Response {
    if !from.is_loopback() {
        return text(StatusCode::FORBIDDEN, "dumps are for the node itself, on 127.0.0.1\n");
    }
    match stages.dump(stage) {
        Ok(body) => text(StatusCode::OK, body),
        Err(error) => text(StatusCode::NOT_FOUND, format!("{error:#}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_listener_serves_both_where_it_can() {
        let cases = [
            ("0.0.0.0:10256", true),
            ("[::]:10256", true),
            ("127.0.0.1:10256", true),
            ("0.0.0.0:10257", false),
            ("10.0.0.1:10256", false),
        ];
        for (address, expected) in cases {
            assert_eq!(covers_dumps(address.parse().unwrap()), expected, "{address}");
        }
    }
}
