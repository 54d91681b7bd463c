//! `sluice proxy`: the service proxy of one node alone, in kube-proxy's place.

use std::process::ExitCode;

use tracing::warn;

use super::agent::{self, Agent, Config};

/// Arguments of `sluice proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    api: agent::ApiFlags,
    /// Name of this node's Node object [default: the host name]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Subnet of the pods: accepted for kube-proxy's sake, without effect yet
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<ipnet::IpNet>,
    #[command(flatten)]
    subnets: agent::SubnetFlags,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    agent::stay(async move {
        let client = args.api.connect().await?;
        let node = agent::node_name(args.hostname_override)?;
        if let Some(cidr) = args.cluster_cidr {
            warn!(
                "--cluster-cidr {cidr} has no effect yet: traffic from outside of the pods keeps its source address"
            );
        }
        agent::warn_without_node(&client, &node, "--hostname-override").await;
        let service_cidrs = args.subnets.resolve(&client).await;
        Agent::start(client, Config { node, service_cidrs, proxy: true, dns: None }).await
    })
}
