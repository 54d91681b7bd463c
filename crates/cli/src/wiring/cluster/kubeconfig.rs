//! The kubeconfig of a cluster on this machine: everything embedded, so that the one file can be copied and used.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_plane::Identity;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use pods::NodeConfig;
use serde_json::json;

/// Writes the file, readable by its owner only, whole or not at all. JSON is YAML, and both kubectl and we read it;
/// still it is printed as YAML, because people open it.
pub(crate) fn write(file: &Path, server: &str, ca_pem: &str, user: &Identity) -> anyhow::Result<()> {
    let config = render(server, ca_pem, &user.cert_pem, &user.key_pem);
    let text = serde_saphyr::to_string(&config).context("rendering the kubeconfig")?;
    let new = file.with_extension("new");
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    // A leftover of a killed process; absent in the ordinary case.
    let _ = fs::remove_file(&new);
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    opened
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("writing the kubeconfig {}", file.display()))
}

/// The kubeconfig as a value.
fn render(server: &str, ca_pem: &str, cert_pem: &str, key_pem: &str) -> serde_json::Value {
    let encode = |text: &str| STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sluice", "cluster": {"server": server, "certificate-authority-data": encode(ca_pem)}}],
        "users": [{"name": "sluice", "user": {
            "client-certificate-data": encode(cert_pem),
            "client-key-data": encode(key_pem),
        }}],
        "contexts": [{"name": "sluice", "context": {"cluster": "sluice", "user": "sluice"}}],
        "current-context": "sluice",
    })
}

/// The client of a node's process, with the node's own certificate.
pub(crate) async fn node_client(node: &NodeConfig) -> anyhow::Result<Client> {
    let value = render(&node.api_url, &node.ca_pem, &node.client_cert_pem, &node.client_key_pem);
    let read: Kubeconfig = serde_json::from_value(value).context("rendering the node's kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    crate::wiring::agent::api_requests::client(config).context("preparing the node's connection to the API")
}
