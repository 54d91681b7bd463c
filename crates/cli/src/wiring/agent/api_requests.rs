//! Counts this process's requests to the API under CoreDNS's names (`coredns_kubernetes_rest_client_…`), once there is a DNS
//! server that tells them. They are few, so they go by name and labels; requests before the first server are left out.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dns::metrics::Metrics;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::Service;
use tower::layer::layer_fn;

/// Where they are counted.
static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();

/// Counts requests here from now on; the first who asks for them gets them.
pub(super) fn count_in(metrics: &Arc<Metrics>) {
    let _ = METRICS.set(Arc::clone(metrics));
}

/// A client whose requests are counted.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    let host: Arc<str> = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default().into();
    let layer = layer_fn(|inner| Counted { inner, host: Arc::clone(&host) });
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

/// The way to the API.
struct Counted<S> {
    inner: S,
    host: Arc<str>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (method, host, started) = (request.method().clone(), Arc::clone(&self.host), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(metrics) = METRICS.get() {
                let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
                count(metrics, code, &method, &host, started.elapsed());
            }
            answer
        })
    }
}

/// Counts one request; without a code it failed.
fn count(metrics: &Metrics, code: Option<u16>, method: &Method, host: &str, duration: Duration) {
    let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
    let pairs = [("code", &code[..]), ("host", host), ("method", method.as_str())];
    metrics.add("coredns_kubernetes_rest_client_requests_total", &pairs, 1);
    let pairs = [("host", host), ("verb", method.as_str())];
    let name = "coredns_kubernetes_rest_client_request_duration_seconds";
    metrics.observe(name, &pairs, duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_coredns_has_them() {
        let metrics = Metrics::default();
        count(&metrics, Some(404), &Method::GET, "10.96.0.1:443", Duration::from_millis(7));
        count(&metrics, None, &Method::GET, "10.96.0.1:443", Duration::from_secs(20));
        let text = metrics.render();
        for line in [
            r#"coredns_kubernetes_rest_client_requests_total{code="404",host="10.96.0.1:443",method="GET"} 1"#,
            r#"coredns_kubernetes_rest_client_requests_total{code="<error>",host="10.96.0.1:443",method="GET"} 1"#,
            r#"coredns_kubernetes_rest_client_request_duration_seconds_bucket{host="10.96.0.1:443",verb="GET",le="0.01"} 1"#,
            r#"coredns_kubernetes_rest_client_request_duration_seconds_bucket{host="10.96.0.1:443",verb="GET",le="10"} 1"#,
            r#"coredns_kubernetes_rest_client_request_duration_seconds_count{host="10.96.0.1:443",verb="GET"} 2"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
