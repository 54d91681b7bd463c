//! Descriptions against those that kubectl 1.37 printed for the same objects (recorded, without events).

use serde_json::Value;

use super::{deployment, node, pod, service};
use crate::commands::print::elastic::align;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn items(text: &str) -> Vec<Value> {
    json(text)["items"].as_array().unwrap().clone()
}

#[test]
fn pods() {
    let recorded = include_str!("testdata/pod.txt");
    // A volume that the lab's nodes do not mount is shown by its kind alone.
    let nfs = "    Type:      NFS (an NFS mount that lasts the lifetime of a pod)\n    Server:    a\n    Path:      /b\n    ReadOnly:  false\n";
    let expected = recorded.replace(nfs, "    Type:  nfs\n");
    assert_eq!(align(&pod::describe(&json(include_str!("testdata/pod.json")))), expected);
}

#[test]
fn services() {
    let slices = items(include_str!("testdata/service.slices.json"));
    let described = service::describe(&json(include_str!("testdata/service.json")), &slices);
    assert_eq!(align(&described), include_str!("testdata/service.txt"));
    let described = service::describe(&json(include_str!("testdata/nodeport.json")), &[]);
    assert_eq!(align(&described), include_str!("testdata/nodeport.txt"));
}

#[test]
fn deployments() {
    let sets = items(include_str!("testdata/deployment.sets.json"));
    let described = deployment::describe(&json(include_str!("testdata/deployment.json")), &sets);
    assert_eq!(align(&described), include_str!("testdata/deployment.txt"));
}

#[test]
fn nodes() {
    let lease = Ok(json(include_str!("testdata/node.lease.json")));
    let pods = items(include_str!("testdata/node.pods.json"));
    let described = align(&node::describe(&json(include_str!("testdata/node.json")), &lease, &pods));
    assert_eq!(without_ages(&described), without_ages(include_str!("testdata/node.txt")));
}

/// The ages of pods go on while recordings do not.
fn without_ages(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("  default ").and(line.rfind(' ')) {
        Some(end) => format!("{}\n", &line[..end]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
