//! A server on loopback that answers as an API would, with words that are written here.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Service;
use kube::{Config, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// An API of version 1.`minor` with the Services `a` and `b`, and what it was asked.
struct Served {
    minor: &'static str,
    /// Whether it may stream lists.
    streams: bool,
    /// So often it hangs up before it answers anything, then says so often that it is starting, to each path.
    unreachable: usize,
    starting: usize,
    asked: Mutex<Vec<String>>,
}

impl Served {
    fn new(minor: &'static str, streams: bool) -> Self {
        Self { minor, streams, unreachable: 0, starting: 0, asked: Mutex::default() }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        for connection in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            if connection < self.unreachable {
                continue;
            }
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = service_fn(|request: http::Request<_>| {
                    let answer = this.answer(&request.uri().to_string());
                    std::future::ready(Ok::<_, Infallible>(answer))
                });
                // A client that hangs up has what it wants.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    fn answer(&self, target: &str) -> Response<Full<Bytes>> {
        let path = |target: &str| target.split('?').next().unwrap().to_owned();
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|earlier| path(earlier) == path(target)).count();
        asked.push(target.to_owned());
        drop(asked);
        let (code, body) = match path(target).as_str() {
            _ if before < self.starting => (503, failure(503)),
            "/version" if self.minor.is_empty() => (403, failure(403)),
            "/version" => (200, self.version()),
            _ if target.contains("sendInitialEvents=true") && self.streams => (200, streamed()),
            _ if target.contains("watch=true") => (422, failure(422)),
            _ if target.contains("continue=more") => (200, page("b", None)),
            _ => (200, page("a", Some("more"))),
        };
        let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
        response.header("Content-Type", "application/json").body(Full::from(body)).unwrap()
    }

    fn version(&self) -> String {
        let words =
            ["buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion", "platform"];
        let mut version: Value = words.iter().map(|word| ((*word).to_owned(), json!(""))).collect();
        version["major"] = json!("1");
        version["minor"] = json!(self.minor);
        version.to_string()
    }
}

fn failure(code: u16) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Told", "message": "no", "code": code})
        .to_string()
}

fn service(name: &str) -> Value {
    json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}})
}

fn page(name: &str, more: Option<&str>) -> String {
    let metadata = json!({"resourceVersion": "7", "continue": more});
    json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": metadata, "items": [service(name)]})
        .to_string()
}

fn streamed() -> String {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let end = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "annotations": annotations}});
    let events = [("ADDED", service("a")), ("ADDED", service("b")), ("BOOKMARK", end)];
    events.map(|(kind, object)| format!("{}\n", json!({"type": kind, "object": object}))).concat()
}

/// Lists Services once; returns their names, and what the API was asked for them.
async fn list(served: Served) -> (Vec<String>, Vec<String>) {
    // The program does it at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(served);
    let serving = tokio::spawn(Arc::clone(&served).serve(listener));
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let watching = Watching::begin(client).await;
    let events = watching.kind::<Service, _>(watcher::Config::default(), Ok, Err);
    let until_done = events.take_while(|event| std::future::ready(!matches!(event, Ok(Event::InitDone))));
    let names = until_done.filter_map(|event| async {
        match event {
            Ok(Event::InitApply(service)) => Some(service.name_any()),
            _ => None,
        }
    });
    let names = tokio::time::timeout(Duration::from_secs(60), names.collect()).await.expect("the list ends");
    serving.abort();
    let asked = served.asked.lock().unwrap().clone();
    (names, asked.into_iter().filter(|target| target != "/version").collect())
}

fn is_streamed(target: &str) -> bool {
    target.contains("sendInitialEvents=true")
}

fn is_page(target: &str) -> bool {
    target.contains("limit=250")
}

#[tokio::test]
async fn a_list_is_streamed_where_the_api_can_do_that() {
    let (names, asked) = list(Served::new("37+", true)).await;
    assert_eq!(names, ["a", "b"]);
    assert!(is_streamed(&asked[0]) && !asked.iter().any(|it| is_page(it)), "{asked:?}");
}

#[tokio::test]
async fn an_api_that_refuses_to_stream_is_asked_for_pages() {
    let (names, asked) = list(Served::new("37", false)).await;
    assert_eq!(names, ["a", "b"]);
    assert!(is_streamed(&asked[0]) && is_page(&asked[1]) && is_page(&asked[2]), "{asked:?}");
}

#[tokio::test]
async fn an_old_api_and_one_of_unknown_version_are_asked_for_pages() {
    for minor in ["31", "9+", "", "x"] {
        let (names, asked) = list(Served::new(minor, true)).await;
        assert_eq!(names, ["a", "b"], "{minor}");
        assert!(!asked.iter().any(|it| is_streamed(it)), "{minor}: {asked:?}");
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_at_first_is_asked_again_and_streams() {
    let served = Served { unreachable: 1, starting: 1, ..Served::new("37", true) };
    let (names, asked) = list(served).await;
    assert_eq!(names, ["a", "b"]);
    assert!(asked.len() >= 2 && !asked.iter().any(|it| is_page(it)), "{asked:?}");
    assert!(is_streamed(&asked[0]) && is_streamed(&asked[1]), "{asked:?}");
}
