//! What a running agent tells on port 10256: kube-proxy's `/healthz` and `/livez`, `/readyz`, and to the node itself
//! `/dump/STAGE` in the text format of the scenarios, `/trace/QUESTION` and `/watch/dns/NUMBER` as JSON and DNS's `/metrics`.
//! `sluice dump`, `sluice trace` and `sluice dns top` ask on 127.0.0.1; in the embedded cluster they enter the node's namespace first.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
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
        (path, _) => for_the_node(path, from, &stages),
    })
}

/// A dump shows every Service and connection, and the names that are asked for say much, so only the node itself is told.
fn for_the_node(path: &str, from: IpAddr, stages: &Stages) -> Response {
    let found = match path.trim_start_matches('/').split_once('/') {
        Some(("dump" | "trace" | "watch", _)) if !from.is_loopback() => {
            return text(StatusCode::FORBIDDEN, "this is for the node itself, on 127.0.0.1\n");
        }
        Some(("dump", stage)) => stages.dump(stage).map(|lines| text(StatusCode::OK, lines)),
        Some(("trace", question)) => answer(question, stages).map(json),
        Some(("watch", question)) => watch(question, stages).map(json),
        _ => Err(anyhow!(
            "there are /healthz, /livez and /readyz, and on the node itself /dump/STAGE, /trace/QUESTION, /watch/dns/NUMBER and DNS's /metrics"
        )),
    };
    found.unwrap_or_else(|error| text(StatusCode::NOT_FOUND, format!("{error:#}\n")))
}

fn json(body: String) -> Response {
    response(StatusCode::OK, "application/json", body)
}

/// `dns/NUMBER`: what was asked since the watching began, with so many names and clients; asking is what keeps it going.
fn watch(question: &str, stages: &Stages) -> anyhow::Result<String> {
    let most = question.strip_prefix("dns/").context("there is dns/NUMBER")?.parse()?;
    Ok(serde_json::to_string(&stages.watch_dns(most)?)?)
}

fn health(verdict: &Verdict) -> Response {
    let status = if verdict.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", verdict.body.to_string())
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
