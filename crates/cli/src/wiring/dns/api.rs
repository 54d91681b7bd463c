//! How `sluice dns` reaches the API: as the Corefile's `kubernetes` plugin says, else as the flags do, else as a pod.

use anyhow::Context;
use kube::config::{
    AuthInfo, Cluster, Context as ClusterContext, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext,
};
use kube::{Client, Config};

use ::dns::corefile::{self, Kubernetes};

use crate::wiring::agent::{ApiFlags, api_requests};

/// The name of what is made out of `endpoint` and `tls`.
const MADE: &str = "corefile";

/// The client that the Corefile needs; `None` when no block has a `kubernetes` plugin.
pub(super) async fn connect(config: &corefile::Config, flags: &ApiFlags) -> anyhow::Result<Option<Client>> {
    let kubernetes = config.blocks.iter().find_map(|block| block.kubernetes.as_ref());
    let Some(kubernetes) = kubernetes else { return Ok(None) };
    let config = match (&kubernetes.kubeconfig, &kubernetes.endpoint) {
        (Some((file, context)), _) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("{}: reading {}", kubernetes.position, file.display()))?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(read, &options).await?
        }
        (None, Some(endpoint)) => {
            let made = made_kubeconfig(endpoint, kubernetes);
            Config::from_custom_kubeconfig(made, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("{}: the endpoint {endpoint}", kubernetes.position))?
        }
        (None, None) => return flags.connect().await.map(Some),
    };
    Ok(Some(api_requests::client(config).context("preparing the connection to the API")?))
}

/// The kubeconfig that says the same as `endpoint` and `tls`.
fn made_kubeconfig(endpoint: &str, kubernetes: &Kubernetes) -> Kubeconfig {
    let file = |index: usize| kubernetes.tls.as_ref().map(|files| files[index].display().to_string());
    let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    let cluster = Cluster { server: Some(url), certificate_authority: file(2), ..Cluster::default() };
    let user = AuthInfo { client_certificate: file(0), client_key: file(1), ..AuthInfo::default() };
    let context =
        ClusterContext { cluster: MADE.into(), user: Some(MADE.into()), ..ClusterContext::default() };
    let named = || MADE.to_owned();
    Kubeconfig {
        clusters: vec![NamedCluster { name: named(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: named(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext { name: named(), context: Some(context), ..NamedContext::default() }],
        current_context: Some(MADE.into()),
        ..Kubeconfig::default()
    }
}
