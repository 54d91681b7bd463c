//! `sluice dns`: the cluster's DNS alone, in CoreDNS's place, on the addresses that it is told.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::agent::{self, Agent, Config, DnsConfig};

/// Arguments of `sluice dns`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    api: agent::ApiFlags,
    /// Address and port to answer on, UDP and TCP; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:53")]
    listen: Vec<SocketAddr>,
    /// Resolver for names outside of the cluster; may be given several times [default: the host's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    upstream: Vec<SocketAddr>,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    dns_domain: String,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    agent::stay(async move {
        let client = args.api.connect().await?;
        let upstreams = (!args.upstream.is_empty()).then_some(args.upstream);
        let dns = DnsConfig { domain: args.dns_domain, local_address: None, listen: args.listen, upstreams };
        let config = Config { node: String::new(), proxy: None, dns: Some(dns) };
        Agent::start(client, config).await
    })
}
