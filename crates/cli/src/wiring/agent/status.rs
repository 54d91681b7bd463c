//! What a running agent tells on 127.0.0.1:10256 of its namespace: `/healthz`, and `/dump/STAGE` in the text format of
//! the scenarios. `sluice dump` reads it; in the embedded cluster it enters the node's namespace first.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

use super::stages::Stages;

/// kube-proxy's port for its health.
pub(crate) const PORT: u16 = 10_256;
/// Connections that are served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;

/// Listens; the address is loopback, so that only the node itself can ask.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} for `sluice dump` and /healthz"))
}

/// Serves until the program ends.
pub(crate) async fn serve(listener: TcpListener, stages: Arc<Stages>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let stages = Arc::clone(&stages);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&stages)));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!("a status request broke off: {error}");
            }
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    stages: Arc<Stages>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    // Dumps read the kernel and format thousands of lines: not on the runtime's thread.
    let answered = tokio::task::spawn_blocking(move || body(&path, &stages)).await;
    let (status, text) =
        answered.unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

fn body(path: &str, stages: &Stages) -> (StatusCode, String) {
    if path == "/healthz" {
        return match stages.health() {
            Ok(text) => (StatusCode::OK, text),
            Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        };
    }
    let Some(stage) = path.strip_prefix("/dump/") else {
        return (StatusCode::NOT_FOUND, "there are /healthz and /dump/STAGE\n".into());
    };
    match stages.dump(stage) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error:#}\n")),
    }
}
