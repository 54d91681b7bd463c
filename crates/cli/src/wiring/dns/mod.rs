//! `sluice dns`: the cluster's DNS alone, in CoreDNS's place: the same flags, the same Corefile, the same ports for health
//! and metrics.

mod api;
pub(crate) mod go_flags;
mod top;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::dns::server::Sockets;
use anyhow::Context;

use super::agent::corefile::{CorefileSource, Place};
use super::agent::endpoints::Exposure;
use super::agent::names::{made_corefile, one_port};
use super::agent::{self, Agent, Config, DNS_PORT, DnsConfig};

/// What CoreDNS reads when it is given no `-conf`.
const DEFAULT_FILE: &str = "Corefile";

/// Arguments of `sluice dns`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Subcommand>,
    #[command(flatten)]
    api: agent::ApiFlags,
    /// Corefile to load [default: ./Corefile, else kubeadm's]
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Port of the Corefile's keys that name none
    #[arg(long = "dns.port", value_name = "PORT", default_value_t = DNS_PORT)]
    port: u16,
    /// List the plugins that are served, in the order in which a query passes them
    #[arg(long)]
    plugins: bool,
    /// Print the version
    #[arg(long)]
    version: bool,
    /// File to write the process's number to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Only say what goes wrong
    #[arg(long)]
    quiet: bool,
    /// Leave out what the Corefile asks for and is not served here, instead of refusing to start
    #[arg(long)]
    skip_unsupported: bool,
    /// Address and port to answer on, UDP and TCP; may be given several times [default: 127.0.0.1:53, with a Corefile
    /// every address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Resolver for names outside of the cluster; may be given several times [default: the host's]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "conf")]
    upstream: Vec<SocketAddr>,
    /// DNS domain of the cluster, without a Corefile
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    dns_domain: String,
}

/// What else there is about names.
#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Watch who asks what of a running server, or of the nodes of the cluster on this machine
    Top(top::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Subcommand::Top(args)) = &args.command {
        return top::run(args);
    }
    if args.version {
        say!("Sluice-{}\n{}/{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
        return Ok(ExitCode::SUCCESS);
    }
    if args.plugins {
        say!("Server types:\n  dns\n\nOther plugins:");
        ::dns::corefile::supported_plugins().iter().for_each(|plugin| say!("  dns.{plugin}"));
        say!("\nCoreDNS's others, and what to do:");
        for (plugin, advice) in ::dns::corefile::unserved_plugins() {
            say!("  {plugin}: {advice}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    super::logging::start(if args.quiet { "warn" } else { "info" });
    if let Some(file) = &args.pidfile {
        let written = std::fs::write(file, format!("{}\n", std::process::id()));
        written.with_context(|| format!("writing the process's number to {}", file.display()))?;
    }
    let dns = dns_config(&args)?;
    agent::stay(async move {
        let loaded = dns.corefile.load(None).await?;
        let client = api::connect(&loaded.config, &args.api).await?;
        Agent::start(client, Config { node: String::new(), proxy: None, dns: Some(dns) }).await
    })
}

fn dns_config(args: &Args) -> anyhow::Result<DnsConfig> {
    let corefile = |place| CorefileSource { place, skip_unsupported: args.skip_unsupported };
    // CoreDNS takes the Corefile of the folder that it stands in, so this does too, unless flags say what to answer.
    let plain = args.listen.is_empty() && args.upstream.is_empty() && Path::new(DEFAULT_FILE).exists();
    let file = args.conf.clone().or_else(|| plain.then(|| DEFAULT_FILE.into()));
    if let Some(file) = file {
        let (listen, _) = one_port(&args.listen)?;
        let place = Place::File(file, args.port);
        return Ok(DnsConfig {
            corefile: corefile(place),
            local_address: None,
            listen,
            udp_workers: Sockets::default_workers(),
            exposure: Exposure::AsWritten,
        });
    }
    let default = [SocketAddr::from(([127, 0, 0, 1], args.port))];
    let (listen, port) = one_port(if args.listen.is_empty() { &default } else { &args.listen })?;
    let upstreams = (!args.upstream.is_empty()).then_some(&args.upstream[..]);
    let place = Place::Made(made_corefile(&args.dns_domain, port, upstreams));
    Ok(DnsConfig {
        corefile: corefile(place),
        local_address: None,
        listen,
        udp_workers: Sockets::default_workers(),
        exposure: Exposure::Nobody,
    })
}
