//! `sluice cluster-info`: where the API and the cluster's own services answer.

use std::process::ExitCode;

use super::{
    api::{JSON, Session, query::with_query, resource::Resource},
    connect::ConnectFlags,
    failure::Failure,
    output,
};

/// Arguments of `sluice cluster-info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) async fn run(_: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let session = Session::open(connect).await?;
    let services = Resource::fixed("", "Service", "services", true);
    let query = [("labelSelector", "kubernetes.io/cluster-service=true")];
    let list = session.get(&with_query(&services.collection(Some("kube-system")), &query), JSON).await?;
    let server = session.server.trim_end_matches('/');
    output::line(&format!("Kubernetes control plane is running at {server}"))?;
    for service in list["items"].as_array().into_iter().flatten() {
        let metadata = &service["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let told = metadata["labels"]["kubernetes.io/name"].as_str().unwrap_or(name);
        let port = match service["spec"]["ports"][0]["name"].as_str() {
            Some(port) if !port.is_empty() => format!("{name}:{port}"),
            _ => name.to_owned(),
        };
        output::line(&format!(
            "{told} is running at {server}/api/v1/namespaces/kube-system/services/{port}/proxy"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
