//! What a running agent tells on port 10256: kube-proxy's `/healthz` and `/livez`, `/readyz`, and to the node itself
//! `/dump/STAGE` in the text format of the scenarios, `/trace/QUESTION` as JSON and DNS's `/metrics`. `sluice dump` and
//! `sluice trace` ask on 127.0.0.1; in the embedded cluster they enter the node's namespace first.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail};
use dataplane::forwarding_table::Packet;
use http::StatusCode;
use services::Protocol;

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
        (path, _) => match (path.strip_prefix("/dump/"), path.strip_prefix("/trace/")) {
            (Some(stage), _) => dump(stage, from, &stages),
            (_, Some(question)) => trace(question, from, &stages),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /livez and /readyz, and on the node itself /dump/STAGE, /trace/QUESTION and DNS's /metrics\n",
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

/// What becomes of a packet or name here; for the node itself, as a dump.
fn trace(question: &str, from: IpAddr, stages: &Stages) -> Response {
    if !from.is_loopback() {
        return text(StatusCode::FORBIDDEN, "traces are for the node itself, on 127.0.0.1\n");
    }
    match answer(question, stages) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => text(StatusCode::NOT_FOUND, format!("{error:#}\n")),
    }
}

/// `node`, `name/NAME/TYPE`, and `packet/SENDER/PROTOCOL/ADDRESS/PORT`.
fn answer(question: &str, stages: &Stages) -> anyhow::Result<String> {
    let words: Vec<&str> = question.split('/').collect();
    Ok(match words[..] {
        ["node"] => serde_json::to_string(&stages.node())?,
        ["name", name, kind] => serde_json::to_string(&stages.resolve(name, kind)?)?,
        ["packet", sender, protocol, address, port] => {
            let protocol = Protocol::parse(&protocol.to_uppercase()).context("tcp, udp or sctp")?;
            let destination = SocketAddr::new(address.parse()?, port.parse()?);
            serde_json::to_string(&stages.explain(&Packet::new(sender.parse()?, protocol, destination))?)?
        }
        _ => bail!("there are node, name/NAME/TYPE and packet/SENDER/PROTOCOL/ADDRESS/PORT"),
    })
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
