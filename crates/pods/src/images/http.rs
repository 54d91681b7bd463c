//! The HTTP server under both built-in web servers: one thread, HTTP/1.1 with keep-alive, small.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};

/// An answer with its whole body.
pub(super) type Answer = Response<Full<Bytes>>;

/// A client may take this long for its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a built-in web server does.
pub(super) trait Site {
    /// Answers one request of the client at `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Answer>;

    /// SIGTERM has come: from now on connections are closed after their next answer.
    fn stopping(&self) {}

    /// How long to go on serving after SIGTERM.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }
}

/// Listens, announces that, serves until SIGTERM, SIGINT or SIGQUIT plus the grace time. Errors go to stderr.
pub(super) fn serve(name: &str, address: SocketAddr, site: impl Site + 'static) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, run(address, Rc::new(site))));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::arguments::fail(name, &format!("cannot serve on {address}: {error}"), 1),
    }
}

async fn run(address: SocketAddr, site: Rc<impl Site + 'static>) -> io::Result<()> {
    // Before the announcement: a signal that comes right after it must not kill.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let listener = TcpListener::bind(address).await?;
    super::ready::announce();
    let accepting = spawn_local(accept(listener, Rc::clone(&site)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = quit.recv() => {}
    }
    site.stopping();
    tokio::time::sleep(site.grace()).await;
    accepting.abort();
    Ok(())
}

async fn accept(listener: TcpListener, site: Rc<impl Site + 'static>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(spawn_local(converse(stream, peer, Rc::clone(&site)))),
            // Out of descriptors: others will close.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, site: Rc<impl Site + 'static>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| {
        let site = Rc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request, peer).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
    // A client that goes away is no event.
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// An answer with a status, a content type and a body.
pub(super) fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Has the connection closed after this answer.
pub(super) fn close_after(answer: &mut Answer) {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
