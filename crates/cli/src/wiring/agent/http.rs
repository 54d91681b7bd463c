//! The small HTTP/1 servers of an agent: health, metrics, dumps. Each answers GETs from memory; none needs a certificate,
//! so none tells more than kube-proxy's do, but to the node itself.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

/// Connections of one server that are served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// A client that asks nothing for so long is let go, so that idle ones cannot keep others out.
const IDLE: Duration = Duration::from_secs(30);
/// Before an address that could not be had is tried again, as in kube-proxy.
const RETRY: Duration = Duration::from_secs(5);

/// An answer.
pub(crate) type Response = http::Response<Full<Bytes>>;

/// What one server answers, by path and by who asks. Called on a thread that may block.
pub(crate) type Routes = Arc<dyn Fn(&str, IpAddr) -> Response + Send + Sync>;

/// An answer of one type.
pub(crate) fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    response(status, "text/plain; charset=utf-8", body)
}

/// Listens at an address; when it cannot be had, tries again for ever, or gives up at once if `hard_fail`. The returned
/// future serves and must be polled in the network namespace of the caller.
pub(crate) async fn open(
    what: &'static str,
    address: SocketAddr,
    hard_fail: bool,
    routes: Routes,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut first = match TcpListener::bind(address).await {
        Err(error) if hard_fail => {
            return Err(error).with_context(|| format!("listening on {address} for {what}"));
        }
        bound => Some(bound),
    };
    Ok(async move {
        let mut told = false;
        loop {
            let bound = match first.take() {
                Some(bound) => bound,
                None => TcpListener::bind(address).await,
            };
            match bound {
                Ok(listener) => {
                    if told {
                        info!("listening on {address} for {what}");
                    }
                    return serve(listener, routes).await;
                }
                Err(error) if !told => {
                    warn!("cannot listen on {address} for {what}, trying on: {error}");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    })
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, routes: Routes) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: whoever holds them needs a moment.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            let from = peer.ip().to_canonical();
            let service = service_fn(move |request| answer(request, from, Arc::clone(&routes)));
            let mut server = hyper::server::conn::http1::Builder::new();
            // `X-Load-Balancing-Endpoint-Weight` as kube-proxy writes it, for whoever greps.
            server.timer(TokioTimer::new()).header_read_timeout(IDLE).title_case_headers(true);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                debug!("a request broke off: {error}");
            }
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, from: IpAddr, routes: Routes) -> Result<Response, Infallible> {
    let path = request.uri().path().to_owned();
    // Dumps read the kernel and format thousands of lines: not on the runtime's thread.
    let answered = tokio::task::spawn_blocking(move || routes(&path, from)).await;
    Ok(answered.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))))
}
