//! Follows the Node objects: routes to the pods of the other nodes, and whether this node's own object says the
//! truth, that the node is ready. What it does not do: mend the object; `registration` does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures::{StreamExt, TryStreamExt};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use tokio::sync::watch;

use crate::network::node;

type Routes = BTreeMap<String, (Ipv4Net, Ipv4Addr)>;

/// Follows the API until dropped. `own` is this node, which needs no route; `stands` is told whether its object is
/// there and Ready.
pub(crate) async fn run(client: kube::Client, own: String, stands: watch::Sender<bool>) {
    let stream = watch_objects(Api::<NodeObject>::all(client), watcher::Config::default());
    let mut stream = stream.default_backoff().boxed();
    let (mut wanted, mut installed) = (Routes::new(), Routes::new());
    let mut ready = true;
    loop {
        let event = match stream.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "watch of Nodes interrupted");
                continue;
            }
        };
        let listing = matches!(event, Event::Init | Event::InitApply(_));
        ready = own_is_ready(&event, &own).unwrap_or(ready);
        apply(&mut wanted, event, &own);
        if !listing {
            stands.send_if_modified(|stands| std::mem::replace(stands, ready) != ready);
        }
        if !listing && wanted != installed {
            let (next, before) = (wanted.clone(), installed);
            let done = tokio::task::spawn_blocking(move || install(next, before)).await;
            installed = done.unwrap_or_default();
        }
    }
}

fn apply(routes: &mut Routes, event: Event<NodeObject>, own: &str) {
    match event {
        Event::Init => routes.clear(),
        Event::InitDone => {}
        Event::Apply(node) | Event::InitApply(node) => {
            let name = node.metadata.name.clone().unwrap_or_default();
            match route(&node).filter(|_| name != own) {
                Some(route) => routes.insert(name, route),
                None => routes.remove(&name),
            };
        }
        Event::Delete(node) => {
            routes.remove(node.metadata.name.as_deref().unwrap_or_default());
        }
    }
}

/// What an event says of the node `own`, if anything. A list that does not have it says that it is gone.
fn own_is_ready(event: &Event<NodeObject>, own: &str) -> Option<bool> {
    let is_own = |node: &NodeObject| node.metadata.name.as_deref() == Some(own);
    match event {
        Event::Init => Some(false),
        Event::InitDone => None,
        Event::Apply(node) | Event::InitApply(node) => is_own(node).then(|| is_ready(node)),
        Event::Delete(node) => is_own(node).then_some(false),
    }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn route(node: &NodeObject) -> Option<(Ipv4Net, Ipv4Addr)> {
    let pods = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
    Some((pods, internal.address.parse().ok()?))
}

/// Brings the kernel from what is installed to what is wanted; returns what is installed then.
fn install(wanted: Routes, mut installed: Routes) -> Routes {
    for (name, (pods, _)) in installed.clone() {
        let elsewhere = wanted.values().any(|(subnet, _)| *subnet == pods);
        if !elsewhere && report(&name, node::delete_pod_route(pods)) {
            installed.remove(&name);
        }
    }
    for (name, (pods, address)) in wanted {
        let stands = installed.get(&name) == Some(&(pods, address));
        if !stands && report(&name, node::set_pod_route(pods, address)) {
            installed.insert(name, (pods, address));
        }
    }
    installed
}

fn report(node: &str, result: Result<(), crate::network::Error>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(node, error = super::chain(error), "route to a node's pods not changed");
    }
    result.is_ok()
}
