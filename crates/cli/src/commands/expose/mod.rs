//! `sluice expose`: a service in front of what a deployment, replica set, service or pod selects.

mod source;

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{
    api::{JSON, Session, query::with_query, resource::Resource},
    connect::ConnectFlags,
    create::{insert_namespace, metadata},
    dry_run::{DryRun, ResultFlags},
    failure::Failure,
    targets,
};
use source::Source;

/// Arguments of `sluice expose`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE NAME")]
    words: Vec<String>,
    /// Port of the service; several are joined by commas (default: the ports of what is exposed)
    #[arg(long)]
    port: Option<String>,
    /// Port or port name of the pods (default: the port)
    #[arg(long)]
    target_port: Option<String>,
    /// Name of the service (default: that of what is exposed)
    #[arg(long)]
    name: Option<String>,
    /// Type of the service: ClusterIP, NodePort, LoadBalancer
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Protocol of the ports (default TCP)
    #[arg(long)]
    protocol: Option<String>,
    /// Labels of the service (default: those of what is exposed)
    #[arg(short, long)]
    labels: Option<String>,
    /// Selector of the service (default: that of what is exposed)
    #[arg(long)]
    selector: Option<String>,
    /// Address from outside of the cluster that is accepted as well
    #[arg(long)]
    external_ip: Option<String>,
    /// Session affinity: None or ClientIP
    #[arg(long)]
    session_affinity: Option<String>,
    /// Cluster IP to ask for, or None for a headless service
    #[arg(long)]
    cluster_ip: Option<String>,
    #[command(flatten)]
    result: ResultFlags,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let telling = args.result.telling()?;
    let session = Session::open(connect).await?;
    for (resource, name) in targets::resolve_named(&session, &args.words).await? {
        let object = session.get(&resource.object(&session.namespace, &name), JSON).await?;
        let source = Source::of(&resource, &object)?;
        let mut service = service(&args, &source)?;
        if let Some(namespace) = &connect.namespace {
            insert_namespace(&mut service, namespace);
        }
        let services = Resource::fixed("", "Service", "services", true);
        let result = if telling.dry_run == DryRun::Client {
            service
        } else {
            let parameters = [("dryRun", telling.dry_run.query()), ("fieldManager", "kubectl-expose")];
            let path = with_query(&services.collection(Some(&session.namespace)), &parameters);
            session.post(&path, &service).await?
        };
        telling.tell(&services, &result, "exposed")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn service(args: &Args, source: &Source) -> Result<Value, Failure> {
    let name = args.name.clone().unwrap_or_else(|| source.name.chars().take(63).collect());
    let labels = match &args.labels {
        Some(text) => Value::Object(pairs(text)?),
        None => source.labels.clone(),
    };
    let selector = match &args.selector {
        Some(text) => Value::Object(pairs(text)?),
        None => source.selector()?,
    };
    let mut spec = Map::new();
    spec.insert("ports".to_owned(), ports(args, source)?.into());
    spec.insert("selector".to_owned(), selector);
    let mut optional = |key: &str, value: Option<Value>| {
        spec.extend(value.map(|value| (key.to_owned(), value)));
    };
    optional("clusterIP", args.cluster_ip.clone().map(Value::from));
    optional("type", args.kind.clone().map(Value::from));
    optional("externalIPs", args.external_ip.as_ref().map(|address| json!([address])));
    optional("sessionAffinity", args.session_affinity.clone().map(Value::from));
    Ok(json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": metadata(&name, labels),
        "spec": spec,
        "status": {"loadBalancer": {}},
    }))
}

fn ports(args: &Args, source: &Source) -> Result<Vec<Value>, Failure> {
    let wanted: Vec<(u16, Option<String>)> = match args.port.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => {
            text.split(',').map(|text| Ok((port_number(text)?, None))).collect::<Result<_, Failure>>()?
        }
        None => source.ports.clone(),
    };
    if wanted.is_empty() {
        return Err(Failure::usage(
            "couldn't find port via --port flag or introspection\nSee 'sluice expose -h' for help and examples",
        ));
    }
    let several = wanted.len() > 1;
    let mut ports = Vec::new();
    for (position, (number, own_protocol)) in wanted.into_iter().enumerate() {
        let mut port = Map::new();
        if several {
            port.insert("name".to_owned(), format!("port-{}", position + 1).into());
        }
        let protocol = args.protocol.clone().or(own_protocol).unwrap_or_else(|| "TCP".to_owned());
        port.insert("protocol".to_owned(), protocol.into());
        port.insert("port".to_owned(), number.into());
        port.insert("targetPort".to_owned(), target_port(args.target_port.as_deref(), number));
        ports.push(Value::Object(port));
    }
    Ok(ports)
}

fn target_port(given: Option<&str>, port: u16) -> Value {
    match given {
        None | Some("") => port.into(),
        Some(text) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}

fn port_number(text: &str) -> Result<u16, Failure> {
    text.trim()
        .parse()
        .map_err(|_| Failure::usage(format!("invalid port {text:?}: must be a number between 0 and 65535")))
}

fn pairs(text: &str) -> Result<Map<String, Value>, Failure> {
    let mut parts: Vec<&str> = text.split(',').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    let pair = |part: &str| {
        let (key, value) =
            part.split_once('=').ok_or_else(|| Failure::usage(format!("unexpected label spec: {part}")))?;
        Ok((key.to_owned(), value.into()))
    };
    parts.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests;
