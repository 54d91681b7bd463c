//! What a node process is told at its start: by its parent, as JSON on standard input.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use base64::Engine;
use ipnet::Ipv4Net;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The port of a node's server, as a kubelet's.
pub const SERVER_PORT: u16 = 10250;

/// Everything a node needs to know. Keys are PEM; nothing of it is written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// The Node's name.
    pub name: String,
    /// The node's address on the wire, with the wire's prefix (`172.18.0.2/24`).
    pub address: Ipv4Net,
    /// The wire's gateway (`172.18.0.1`).
    pub gateway: Ipv4Addr,
    /// The subnet of this node's pods, /16 or smaller (`10.244.1.0/24`). `.1` is left out, pods get `.2` and up.
    pub pod_cidr: Ipv4Net,
    /// The subnet of all pods (`10.244.0.0/16`).
    pub cluster_pod_cidr: Ipv4Net,
    /// The subnet of ClusterIPs (`10.96.0.0/16`).
    pub service_cidr: Ipv4Net,
    /// The nameserver that pods are given (`10.96.0.10`).
    pub dns_address: Ipv4Addr,
    /// The cluster's domain (`cluster.local`).
    pub dns_domain: String,
    /// The API as this node reaches it (`https://172.18.0.1:6443`).
    pub api_url: String,
    /// The cluster's authority.
    pub ca_pem: String,
    /// The node's client certificate (`system:node:NAME`).
    pub client_cert_pem: String,
    /// Its key.
    pub client_key_pem: String,
    /// The certificate of the node's server.
    pub server_cert_pem: String,
    /// Its key.
    pub server_key_pem: String,
    /// A folder of this node alone, for logs and volumes. Emptied at the start.
    pub state_dir: PathBuf,
}

impl NodeConfig {
    /// A client of the API with the node's own certificate. Connects when it is first used.
    ///
    /// # Errors
    /// The URL or a certificate is malformed.
    pub async fn client(&self) -> Result<kube::Client, ClientError> {
        let base64 = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let kubeconfig = json!({
            "current-context": "node",
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": "node"}}],
            "clusters": [{"name": "node", "cluster": {
                "server": self.api_url,
                "certificate-authority-data": base64(&self.ca_pem),
            }}],
            "users": [{"name": "node", "user": {
                "client-certificate-data": base64(&self.client_cert_pem),
                "client-key-data": base64(&self.client_key_pem),
            }}],
        });
        let kubeconfig = Kubeconfig::deserialize(kubeconfig).map_err(ClientError::Format)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| ClientError::Kubeconfig(Box::new(error)))?;
        kube::Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
    }
}

/// Why a node has no client of the API.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Its configuration has no place in a kubeconfig.
    #[error("the node's access to the API cannot be expressed as a kubeconfig")]
    Format(#[source] serde_json::Error),
    /// Its configuration is contradictory.
    #[error("the node's access to the API is misconfigured")]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// A certificate or key is malformed.
    #[error("the node's certificates make no client of the API")]
    Client(#[source] Box<kube::Error>),
}
