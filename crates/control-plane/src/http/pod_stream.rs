//! `pods/log` and `pods/exec`: finds the pod's container and node, then hands over to [`super::upstream`].

use std::net::IpAddr;

use http::header::UPGRADE;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use objects::resource::by_kind;
use objects::status::Status;
use serde_json::Value;

use super::body::{self, ResponseBody};
use super::query::Query;
use super::route::Target;
use super::upstream::Nodes;
use super::{Api, read};
use crate::store::{Key, decode};

/// Parameters of `log` that the node understands.
const LOG: &[&str] =
    &["follow", "tailLines", "previous", "timestamps", "sinceSeconds", "sinceTime", "limitBytes", "stream"];
/// Parameters of `exec`, and what the node calls them.
const EXEC: &[(&str, &str)] =
    &[("command", "command"), ("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// The container's log.
pub(super) async fn log(
    api: &Api,
    nodes: Option<&Nodes>,
    target: &Target,
    query: &Query,
    text: &str,
) -> Result<Response<ResponseBody>, Status> {
    let pod = decode(read::get(api, target)?.as_ref());
    let container = container_of(target.name(), &pod, &query.container)?;
    let Some(node) = node_of(&pod) else {
        return Ok(body::text(StatusCode::NO_CONTENT, ""));
    };
    let kept = |name: &str| LOG.contains(&name).then(|| name.to_owned());
    let path = path("containerLogs", target, &container, &parameters(text, kept));
    reachable(nodes)?.get(address_of(api, node)?, &path).await
}

/// A program in the container.
pub(super) async fn exec(
    api: &Api,
    nodes: Option<&Nodes>,
    target: &Target,
    query: &Query,
    parts: &mut Parts,
) -> Result<Response<ResponseBody>, Status> {
    let pod = decode(read::get(api, target)?.as_ref());
    let container = container_of(target.name(), &pod, &query.container)?;
    let node = node_of(&pod)
        .ok_or_else(|| Status::bad_request(format!("pod {} does not have a host assigned", target.name())))?;
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Status::bad_request(why));
    }
    let websocket =
        parts.headers.get(UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(client) = parts.extensions.remove::<OnUpgrade>().filter(|_| websocket) else {
        return Err(Status::bad_request("Upgrade request required: exec is served over WebSocket only"));
    };
    let renamed =
        |name: &str| EXEC.iter().find(|(given, _)| *given == name).map(|(_, own)| (*own).to_owned());
    let text = parameters(parts.uri.query().unwrap_or_default(), renamed);
    let path = path("exec", target, &container, &text);
    reachable(nodes)?.upgrade(address_of(api, node)?, &path, &parts.headers, client).await
}

/// The query's parameters by the node's names; those without one are left out.
fn parameters(query: &str, name_of: impl Fn(&str) -> Option<String>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if let Some(name) = name_of(&name) {
            text.append_pair(&name, &value);
        }
    }
    text.finish()
}

fn path(what: &str, target: &Target, container: &str, parameters: &str) -> String {
    format!("/{what}/{}/{}/{container}?{parameters}", target.namespace(), target.name())
}

fn reachable(nodes: Option<&Nodes>) -> Result<&Nodes, Status> {
    nodes.ok_or_else(|| {
        Status::unavailable("this client reaches the API in process, which cannot reach nodes")
    })
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// The container that is meant: the one asked for, or the only one.
fn container_of(pod_name: &str, pod: &Value, asked: &str) -> Result<String, Status> {
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    if !asked.is_empty() {
        return match containers.iter().chain(&init).find(|name| *name == asked) {
            Some(name) => Ok(name.clone()),
            None => Err(Status::bad_request(format!("container {asked} is not valid for pod {pod_name}"))),
        };
    }
    match containers.as_slice() {
        [only] => Ok(only.clone()),
        many => {
            let mut text = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                many.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(text))
        }
    }
}

/// Where the node serves: its InternalIP.
fn address_of(api: &Api, node: &str) -> Result<IpAddr, Status> {
    let nodes = by_kind("v1", "Node").expect("invariant: nodes are in the registry");
    let stored = api.store.get(&Key::new(nodes, "", node)).ok_or_else(|| Status::not_found(nodes, node))?;
    let node_object = decode(&stored);
    let addresses = node_object["status"]["addresses"].as_array().into_iter().flatten();
    let internal =
        addresses.filter(|a| a["type"] == "InternalIP").find_map(|a| a["address"].as_str()?.parse().ok());
    internal.ok_or_else(|| Status::internal(format!("no preferred addresses found for node \"{node}\"")))
}
