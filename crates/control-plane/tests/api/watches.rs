//! Watches: from a revision, from the beginning, with selectors, and what ends them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::io::Lines;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::server::{CONFIG_MAPS, PODS, Server, config_map, pod};

const PATIENCE: Duration = Duration::from_secs(10);

/// An open watch, read line by line.
struct Watching(Lines<Box<dyn futures::AsyncBufRead + Send + Unpin>>);

impl Watching {
    async fn open(server: &Server, path: &str) -> Self {
        let request = Request::builder().uri(path).body(kube::client::Body::empty()).unwrap();
        let response = server.client().await.send(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let bytes = response.into_body().into_data_stream().map_err(std::io::Error::other);
        let reader: Box<dyn futures::AsyncBufRead + Send + Unpin> = Box::new(bytes.into_async_read());
        Self(reader.lines())
    }

    /// The next event, or None at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.0.next()).await.expect("no event came")?;
        Some(serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// The next event as `TYPE name`.
    async fn summary(&mut self) -> String {
        let event = self.next().await.expect("the watch ended");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

#[tokio::test]
async fn a_watch_from_a_revision_sees_everything_after_it() {
    let server = Server::start().await;
    let first = server.post(CONFIG_MAPS, &config_map("a", "1")).await.json;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.post(CONFIG_MAPS, &config_map("b", "1")).await;
    let mut watch =
        Watching::open(&server, &format!("{CONFIG_MAPS}?watch=true&resourceVersion={revision}")).await;
    assert_eq!(watch.summary().await, "ADDED b");
    server.merge_patch(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"key": "2"}})).await;
    assert_eq!(watch.summary().await, "MODIFIED a");
    let last = server.get(&format!("{CONFIG_MAPS}/a")).await.json;
    server.delete(&format!("{CONFIG_MAPS}/a")).await;
    let deleted = watch.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["data"]), (&json!("DELETED"), &last["data"]));
    assert_ne!(deleted["object"]["metadata"]["resourceVersion"], last["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_what_is_there() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    let mut watch = Watching::open(&server, &format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    server.post(CONFIG_MAPS, &config_map("b", "1")).await;
    assert_eq!(watch.summary().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_list_ends_its_beginning_with_a_bookmark() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    let query =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watching::open(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    server.post(CONFIG_MAPS, &config_map("b", "1")).await;
    assert_eq!(watch.summary().await, "ADDED b");
    let refused = server.get(&format!("{CONFIG_MAPS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn an_object_that_begins_or_ceases_to_match_comes_and_goes() {
    let server = Server::start().await;
    server.post(PODS, &pod("a")).await;
    let query = "watch=true&resourceVersion=0&labelSelector=tier%3Dfront";
    let mut watch = Watching::open(&server, &format!("{PODS}?{query}")).await;
    let path = format!("{PODS}/a");
    for (tier, expected) in [("front", "ADDED a"), ("back", "DELETED a"), ("front", "ADDED a")] {
        server.merge_patch(&path, &json!({"metadata": {"labels": {"tier": tier}}})).await;
        assert_eq!(watch.summary().await, expected);
    }
}

#[tokio::test]
async fn revisions_outside_of_the_window_are_refused() {
    let server = Server::start().await;
    let mut watch = Watching::open(&server, &format!("{CONFIG_MAPS}?watch=true&resourceVersion=1")).await;
    for i in 0..12 {
        server.post(CONFIG_MAPS, &config_map(&format!("m{i}"), &"x".repeat(1 << 20))).await;
    }
    let mut late = Watching::open(&server, &format!("{CONFIG_MAPS}?watch=true&resourceVersion=1")).await;
    let event = late.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(event["object"]["message"].as_str().unwrap().starts_with("too old resource version: 1 ("));
    assert_eq!(late.next().await, None);
    let future = server.get(&format!("{CONFIG_MAPS}?watch=true&resourceVersion=99999")).await;
    assert_eq!(future.code, 504);
    assert_eq!(watch.summary().await, "ADDED m0");
}

#[tokio::test]
async fn a_watch_ends_at_its_time_with_a_bookmark_of_the_last_revision() {
    let server = Server::start().await;
    let query = "watch=true&resourceVersion=1&timeoutSeconds=1&allowWatchBookmarks=true";
    let mut watch = Watching::open(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    let pods = server.post(PODS, &pod("elsewhere")).await.json;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], pods["metadata"]["resourceVersion"]);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_table_watch_tells_its_columns_once() {
    let server = Server::start().await;
    let request = Request::builder()
        .uri(format!("{PODS}?watch=true&resourceVersion=1"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let response =
        server.client().await.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    let bytes = response.into_body().into_data_stream().map_err(std::io::Error::other);
    let mut watch = Watching(
        (Box::new(bytes.into_async_read()) as Box<dyn futures::AsyncBufRead + Send + Unpin>).lines(),
    );
    server.post(PODS, &pod("a")).await;
    server.post(PODS, &pod("b")).await;
    let columns =
        |event: Option<Value>| event.unwrap()["object"]["columnDefinitions"].as_array().unwrap().len();
    assert!(columns(watch.next().await) > 0);
    assert_eq!(columns(watch.next().await), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_watch_told_adds_up_to_the_list_whenever_it_began() {
    let server = Server::start().await;
    let query =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let path = format!("{CONFIG_MAPS}?{query}&timeoutSeconds=3");
    let writers = (0..3).map(|writer| {
        let server = &server;
        async move {
            for i in 0..30 {
                let name = format!("m{}", (writer + i) % 5);
                let at = format!("{CONFIG_MAPS}/{name}");
                match (writer + i) % 3 {
                    0 => server.post(CONFIG_MAPS, &config_map(&name, "1")).await,
                    1 => server.merge_patch(&at, &json!({"data": {"key": format!("{writer}-{i}")}})).await,
                    _ => server.delete(&at).await,
                };
            }
        }
    });
    let watchers = (0..6_u64).map(|late| {
        let (server, path) = (&server, path.as_str());
        async move {
            tokio::time::sleep(Duration::from_millis(15 * late)).await;
            let mut watch = Watching::open(server, path).await;
            let (mut told, mut last) = (BTreeMap::new(), 0);
            while let Some(event) = watch.next().await {
                let (kind, object) = (event["type"].as_str().unwrap(), event["object"].clone());
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                match kind {
                    "DELETED" => assert!(told.remove(&name).is_some(), "{name} was not there"),
                    "ADDED" => assert!(told.insert(name, object).is_none(), "added twice"),
                    "MODIFIED" => assert!(told.insert(name, object).is_some(), "changed before it was added"),
                    other => assert_eq!(other, "BOOKMARK"),
                }
                if kind != "ADDED" {
                    assert!(revision >= last, "revisions went back from {last} to {revision}");
                    last = revision;
                }
            }
            told.into_values().collect::<Vec<_>>()
        }
    });
    let (_, told) = tokio::join!(futures::future::join_all(writers), futures::future::join_all(watchers));
    let list = server.get(CONFIG_MAPS).await.json["items"].as_array().unwrap().clone();
    for objects in told {
        assert_eq!(objects, list);
    }
}

#[tokio::test]
async fn kubes_watcher_follows_both_ways_of_starting() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        for client in [server.client().await, server.control_plane.client()] {
            let api: kube::Api<ConfigMap> = kube::Api::namespaced(client, "default");
            let mut objects = Box::pin(watcher(api, config.clone()).applied_objects());
            let first = timeout(PATIENCE, objects.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(first.metadata.name.as_deref(), Some("a"));
            let value = uuid::Uuid::new_v4().to_string();
            server.merge_patch(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"key": value}})).await;
            let next = timeout(PATIENCE, objects.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(next.data.unwrap()["key"], value);
        }
    }
}
