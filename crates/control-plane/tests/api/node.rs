//! Logs and exec: the way to a node's server, played here by a small TLS server that knows the API's certificate.

use std::sync::Arc;

use control_plane::authority::API_CLIENT_NAME;
use control_plane::{Config, ControlPlane};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{PODS, Redirect, Server, pod};

/// Serves TLS with a certificate for 127.0.0.1 and asks for a client's.
fn acceptor(control_plane: &ControlPlane) -> tokio_rustls::TlsAcceptor {
    let authority = control_plane.authority();
    let identity = authority.issue_server(&[], &["127.0.0.1".parse().unwrap()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap(),
        )
        .unwrap();
    Arc::new(config).into()
}

/// Answers a log with the request's own line, and after a switch of protocols sends back what it gets.
async fn answer(
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    if request.headers().get("upgrade").is_none() {
        return Ok(Response::new(Full::from(format!("asked for {}\n", request.uri()))));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(format!("{query}\n").as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    });
    let response =
        Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
    Ok(response.header("sec-websocket-protocol", "v5.channel.k8s.io").body(Full::default()).unwrap())
}

/// A server whose node `worker-1` is this test, with the pod `web` on it.
async fn with_node() -> Server {
    let control_plane = Arc::new(ControlPlane::open(Config::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = acceptor(&control_plane);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
                let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
                let name =
                    certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned();
                assert_eq!(name, API_CLIENT_NAME);
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                let _ = connection.with_upgrades().await;
            });
        }
    });
    let server = Server::serve(control_plane, Redirect(Some(address))).await;
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"},
        "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
    });
    assert_eq!(server.post("/api/v1/nodes", &node).await.code, 201);
    let mut web = pod("web");
    web["spec"]["nodeName"] = json!("worker-1");
    assert_eq!(server.post(PODS, &web).await.code, 201);
    server
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let server = with_node().await;
    let reply = server.get(&format!("{PODS}/web/log?tailLines=3&follow=true&pretty=true")).await;
    let text = String::from_utf8(reply.bytes).unwrap();
    assert_eq!(text, "asked for /containerLogs/default/web/main?tailLines=3&follow=true\n");

    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    server.post(PODS, &two).await;
    let reply = server.get(&format!("{PODS}/two/log")).await;
    assert_eq!(
        (reply.code, reply.message()),
        (400, "a container name must be specified for pod two, choose one of: [a b]")
    );
    let reply = server.get(&format!("{PODS}/web/log?container=nope")).await;
    assert_eq!((reply.code, reply.message()), (400, "container nope is not valid for pod web"));
    let reply = server.get(&format!("{PODS}/none/log")).await;
    assert_eq!((reply.code, reply.message()), (404, "pods \"none\" not found"));
}

#[tokio::test]
async fn exec_joins_client_and_node() {
    let server = with_node().await;
    let request = http::Request::builder()
        .uri(format!("{PODS}/web/exec?command=sh&command=-c&stdin=true&stdout=true&tty=true"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io");
    let mut response =
        server.client().await.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let expected = b"command=sh&command=-c&input=true&output=true&tty=true\nping";
    let mut seen = vec![0; expected.len()];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(expected));
}

#[tokio::test]
async fn exec_without_a_pod_a_node_or_an_upgrade_is_refused() {
    let server = with_node().await;
    server.post(PODS, &pod("waiting")).await;
    for (path, code, message) in [
        ("none/exec?command=sh", 404, "pods \"none\" not found"),
        ("waiting/exec?command=sh", 400, "pod waiting does not have a host assigned"),
        ("web/exec?command=sh", 400, "Upgrade request required: exec is served over WebSocket only"),
    ] {
        let reply = server.get(&format!("{PODS}/{path}")).await;
        assert_eq!((reply.code, reply.message()), (code, message));
    }
}
