//! The manifest of the lab, to the byte.

use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::commands::print::yaml;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn manifest(flags: &[&str]) -> Result<String, String> {
    let deployment = json!({
        "metadata": {"name": "podinfo", "labels": {"app": "podinfo"}},
        "spec": {"selector": {"matchLabels": {"app": "podinfo"}},
            "template": {"spec": {"containers": [{"ports": [{"containerPort": 9898, "protocol": "TCP"}]}]}}},
    });
    let args = Line::parse_from(["expose", "deployment", "podinfo"].iter().chain(flags)).args;
    let resource = Resource::fixed("apps", "Deployment", "deployments", true);
    let source = Source::of(&resource, &deployment).map_err(|error| error.to_string())?;
    service(&args, &source).map(|service| yaml::document(&service)).map_err(|error| error.to_string())
}

const LAB: &str = include_str!("../../wiring/demo/podinfo-clusterip.yaml");

#[test]
fn the_manifest_of_the_lab() {
    assert_eq!(manifest(&["--port", "80", "--target-port", "9898"]).as_deref(), Ok(LAB));
    let same_port = LAB.replace("port: 80\n", "port: 9898\n");
    assert_eq!(manifest(&[]), Ok(same_port));
    let named = LAB.replace("targetPort: 9898", "targetPort: http").replace("name: podinfo", "name: x");
    assert_eq!(manifest(&["--port=80", "--target-port=http", "--name=x"]), Ok(named));
    let several = manifest(&["--port", "80,90"]).unwrap();
    assert!(several.contains(
        "  - name: port-1\n    port: 80\n    protocol: TCP\n    targetPort: 80\n  - name: port-2\n"
    ));
}

#[test]
fn ports_must_be_numbers() {
    assert!(manifest(&["--port", "70000"]).unwrap_err().contains("between 0 and 65535"));
}
