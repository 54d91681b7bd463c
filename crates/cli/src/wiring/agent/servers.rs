//! Which of an agent's HTTP servers listen where.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;

use super::http::{Routes, open, response, text};
use super::metrics;
use super::observed::Observed;
use super::proxy_config::ProxyConfig;
use super::stages::Stages;
use super::status::{self, DUMP_ADDRESS};

/// Opens them; each future serves one.
///
/// # Errors
/// When an address cannot be had and the settings say that this ends the program.
pub(super) async fn start(
    proxy: Option<(&ProxyConfig, &Arc<Observed>)>,
    stages: &Arc<Stages>,
) -> anyhow::Result<Vec<BoxFuture<'static, ()>>> {
    let mut servers: Vec<BoxFuture<'static, ()>> = Vec::new();
    let routes = status::routes(Arc::clone(stages), proxy.map(|(_, observed)| Arc::clone(observed)));
    let healthz = proxy.and_then(|(config, _)| config.healthz);
    let hard_fail = proxy.is_some_and(|(config, _)| config.bind_hard_fail);
    if let Some(address) = healthz {
        servers.push(Box::pin(open("/healthz", address, hard_fail, Arc::clone(&routes)).await?));
    }
    if !healthz.is_some_and(status::covers_dumps) {
        servers.push(Box::pin(open("`sluice dump`", DUMP_ADDRESS, false, routes).await?));
    }
    if let Some((config, observed)) = proxy
        && let Some(address) = config.metrics
    {
        let routes = metrics_routes(Arc::clone(stages), Arc::clone(observed));
        servers.push(Box::pin(open("/metrics", address, hard_fail, routes).await?));
    }
    Ok(servers)
}

/// What kube-proxy serves beside its metrics.
fn metrics_routes(stages: Arc<Stages>, observed: Arc<Observed>) -> Routes {
    Arc::new(move |path, _| match path {
        "/metrics" => {
            let body = observed.metrics.render(&stages.plane_metrics());
            response(StatusCode::OK, metrics::CONTENT_TYPE, body)
        }
        "/proxyMode" => text(StatusCode::OK, "nftables"),
        "/healthz" => text(StatusCode::OK, "ok"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /proxyMode and /healthz\n"),
    })
}
