//! A control plane that serves on a free port of loopback for one test, with what clients need to reach it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use control_plane::{Config, ControlPlane, NodeDialer};
use futures::future::BoxFuture;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Reaches nodes at another port of loopback than the one that is asked for.
pub(crate) struct Redirect(pub(crate) Option<SocketAddr>);

impl NodeDialer for Redirect {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(self.0.unwrap_or(address)))
    }
}

/// A served control plane; stopped, and its files removed, with the value.
pub(crate) struct Server {
    pub(crate) control_plane: Arc<ControlPlane>,
    pub(crate) address: SocketAddr,
    pub(crate) directory: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// An empty one, with the namespace `default`.
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default(), Redirect(None)).await
    }

    pub(crate) async fn start_with(config: Config, dialer: Redirect) -> Self {
        let control_plane = Arc::new(ControlPlane::open(config).unwrap());
        Self::serve(control_plane, dialer).await
    }

    pub(crate) async fn serve(control_plane: Arc<ControlPlane>, dialer: Redirect) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&control_plane);
        let task = tokio::spawn(async move {
            served.serve(listener, Arc::new(dialer), std::future::pending()).await.unwrap();
        });
        let directory = scratch("api");
        let server = Self { control_plane, address, directory, task };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text()).unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        server.post("/api/v1/namespaces", &namespace).await;
        server
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    fn kubeconfig_text(&self) -> String {
        let authority = self.control_plane.authority();
        let admin = authority.issue_client("admin", &["system:masters"]).unwrap();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": encode(authority.ca_pem())}}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": encode(&admin.cert_pem), "client-key-data": encode(&admin.key_pem)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        })
        .to_string()
    }

    /// A client over TLS, as a user has it.
    pub(crate) async fn client(&self) -> kube::Client {
        self.client_of(self.address).await
    }

    /// A client of the same API at another address.
    pub(crate) async fn client_of(&self, address: SocketAddr) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.cluster_url = format!("https://{address}").parse().unwrap();
        // What the server answers is what a test wants to see, a 504 too.
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Sends a request over TLS.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("accept", "application/json");
        self.send_request(request.body(kube::client::Body::from(body.into())).unwrap()).await
    }

    pub(crate) async fn send_request(&self, request: Request<kube::client::Body>) -> Reply {
        let response = self.client().await.send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { code: parts.status.as_u16(), headers: parts.headers, json, bytes: bytes.to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "application/json", "").await
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> Reply {
        self.send(Method::POST, path, "application/json", object.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, object: &Value) -> Reply {
        self.send(Method::PUT, path, "application/json", object.to_string()).await
    }

    pub(crate) async fn merge_patch(&self, path: &str, patch: &Value) -> Reply {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, "application/json", "").await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) json: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// A directory of its own for a test; the caller removes it.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("control-plane-{name}-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A directory that is removed with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(scratch(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "podinfo"}]},
    })
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 9898}]},
    })
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "podinfo"}]},
            },
        },
    })
}
