//! Connections that misbehave, and the end of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control_plane::{Config, ControlPlane};
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{CONFIG_MAPS, Redirect, Server, config_map};

#[tokio::test]
async fn garbage_and_silence_hurt_nobody_else() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 512], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The server hangs up, with or without a TLS alert.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 64, "{answer:?}");
    }
    assert_eq!(server.post(CONFIG_MAPS, &config_map("a", "1")).await.code, 201);
    drop(silent);
}

#[tokio::test]
async fn the_server_stops_though_a_watch_is_open() {
    let control_plane = Arc::new(ControlPlane::open(Config::default()).unwrap());
    let server = Server::serve(Arc::clone(&control_plane), Redirect(None)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let second = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        control_plane.serve(listener, Arc::new(Redirect(None)), shutdown).await
    });
    let client = server.client_of(address).await;
    let request = Request::builder().uri(format!("{CONFIG_MAPS}?watch=true"));
    let response = client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);

    let began = Instant::now();
    stop.send(()).unwrap();
    let mut body = response.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
    second.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The other listener of the same control plane goes on.
    assert_eq!(server.get(CONFIG_MAPS).await.code, 200);
}
