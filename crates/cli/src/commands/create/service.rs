//! `sluice create service clusterip NAME --tcp=80:9898`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{generated, metadata};
use crate::commands::{
    api::resource::Resource, connect::ConnectFlags, dry_run::ResultFlags, failure::Failure,
};

/// The types of service that can be made from flags.
#[derive(Debug, Subcommand)]
pub(super) enum Kind {
    /// Create a service with a cluster IP
    #[command(name = "clusterip")]
    ClusterIp(Args),
}

/// Arguments of `sluice create service clusterip`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the service, and value of the label `app` that it selects
    name: String,
    /// Ports as PORT or PORT:TARGETPORT
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// Cluster IP to ask for, or None for a headless service
    #[arg(long, default_value = "", hide_default_value = true)]
    clusterip: String,
    #[command(flatten)]
    result: ResultFlags,
}

/// Runs the verb.
pub(super) async fn run(kind: Kind, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let Kind::ClusterIp(args) = kind;
    if args.tcp.is_empty() && args.clusterip != "None" {
        return Err(Failure::usage("at least one tcp port specifier must be provided"));
    }
    let ports = args.tcp.iter().map(|text| port(text)).collect::<Result<Vec<Value>, Failure>>()?;
    let labels = json!({"app": args.name});
    let mut spec = json!({});
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    spec["selector"] = labels.clone();
    if !args.clusterip.is_empty() {
        spec["clusterIP"] = args.clusterip.clone().into();
    }
    spec["type"] = "ClusterIP".into();
    let service = json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": metadata(&args.name, labels),
        "spec": spec,
        "status": {"loadBalancer": {}},
    });
    let resource = Resource::fixed("", "Service", "services", true);
    generated(connect, &args.result, &resource, service, "ClusterIP service").await
}

fn port(text: &str) -> Result<Value, Failure> {
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let number = port_number(port)?;
    let target = match target.parse::<i64>() {
        Ok(_) => json!(port_number(target)?),
        Err(_) => json!(target),
    };
    Ok(json!({"name": text.replace(':', "-"), "protocol": "TCP", "port": number, "targetPort": target}))
}

fn port_number(text: &str) -> Result<u16, Failure> {
    text.parse()
        .map_err(|_| Failure::usage(format!("invalid port {text:?}: must be a number between 0 and 65535")))
}
