//! `sluice create deployment NAME --image=IMAGE [--replicas=N] [--port=P] [-- COMMAND…]`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{generated, metadata, required};
use crate::commands::{
    api::resource::Resource, connect::ConnectFlags, dry_run::ResultFlags, failure::Failure,
};

/// Arguments of `sluice create deployment`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the deployment
    name: Option<String>,
    /// Image of a container; several make several containers
    #[arg(long, value_delimiter = ',')]
    image: Vec<String>,
    /// Number of pods
    #[arg(short, long, default_value_t = 1, allow_negative_numbers = true)]
    replicas: i64,
    /// Port that the container exposes
    #[arg(long, allow_negative_numbers = true)]
    port: Option<i64>,
    #[command(flatten)]
    result: ResultFlags,
    /// Command of the container, in place of the image's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub(super) async fn run(args: &Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    if args.image.is_empty() {
        return Err(required("image"));
    }
    let Some(name) = &args.name else {
        return Err(Failure::usage(
            "exactly one NAME is required, got 0\nSee 'sluice create deployment -h' for help and examples",
        ));
    };
    if args.image.len() > 1 && !args.command.is_empty() {
        return Err(Failure::usage("cannot specify multiple --image options and command"));
    }
    if args.replicas < 0 {
        return Err(Failure::usage(format!(
            "invalid replicas: {}. must be a non-negative integer",
            args.replicas
        )));
    }
    let resource = Resource::fixed("apps", "Deployment", "deployments", true);
    generated(connect, &args.result, &resource, deployment(name, args), "deployment").await
}

fn deployment(name: &str, args: &Args) -> Value {
    let labels = json!({"app": name});
    let containers: Vec<Value> = args.image.iter().map(|image| container(image, args)).collect();
    let mut template_metadata = json!({"creationTimestamp": null});
    template_metadata["labels"] = labels.clone();
    json!({
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": metadata(name, labels.clone()),
        "spec": {
            "replicas": args.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": template_metadata, "spec": {"containers": containers}},
            "strategy": {},
        },
        "status": {},
    })
}

fn container(image: &str, args: &Args) -> Value {
    let mut container = json!({"name": container_name(image), "image": image});
    if !args.command.is_empty() {
        container["command"] = json!(args.command);
    }
    if let Some(port) = args.port.filter(|port| *port > 0) {
        container["ports"] = json!([{"containerPort": port}]);
    }
    container["resources"] = json!({});
    container
}

/// The image's last path element without tag and digest, with what no name may hold replaced or cut.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let base = last.split(['@', ':']).next().unwrap_or(last);
    let replaced: String = base
        .to_lowercase()
        .chars()
        .map(|character| if matches!(character, '_' | '.') { '-' } else { character })
        .filter(|character| character.is_ascii_alphanumeric() || *character == '-')
        .collect();
    replaced.trim_matches('-').chars().take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::container_name;

    #[test]
    fn containers_are_named_after_their_image() {
        let cases = [
            ("nginx", "nginx"),
            ("stefanprodan/podinfo:6.7.0", "podinfo"),
            ("example.com:5000/a/My_App.x@sha256:00", "my-app-x"),
        ];
        for (image, expected) in cases {
            assert_eq!(container_name(image), expected, "{image}");
        }
    }
}
