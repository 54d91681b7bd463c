//! API → model: watches Services, EndpointSlices, this Node and Namespaces, applies them to one model and publishes its
//! snapshots, with what surrounds the node. Nothing is published before every kind has been listed once; after that each
//! burst of events becomes one publication, at once. A lost connection changes nothing: the last snapshot stays, the
//! watchers retry with back-off.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use intake::Intake;
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::Client;
use kube::runtime::watcher::{self, Event};

use super::memory;
use super::observed::Observed;
use super::selection::Selection;
use super::slot::Slot;
use super::watching::Watching;

mod intake;

/// What is watched.
pub(crate) struct Sources {
    /// Which objects the names need.
    pub(crate) selection: Selection,
    /// The node whose object is followed; empty: none.
    pub(crate) node: String,
    /// Whether ServiceCIDR objects are followed.
    pub(crate) service_cidrs: bool,
    /// The addresses of the node's interfaces, if they are followed.
    pub(crate) interfaces: Option<BoxStream<'static, BTreeSet<IpAddr>>>,
    /// Where the proxy's health and metrics are kept, if there is a proxy.
    pub(crate) observed: Option<Arc<Observed>>,
}

/// One event of any of the kinds.
#[allow(clippy::large_enum_variant, reason = "one exists at a time, between the watch and the model")]
enum Input {
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
    Node(Event<Node>),
    Namespace(Event<Namespace>),
    ServiceCidr(Event<ServiceCIDR>),
    /// ServiceCIDRs cannot be watched.
    NoServiceCidrs(watcher::Error),
    Interfaces(BTreeSet<IpAddr>),
    /// A watch failed and is being retried.
    Failed(watcher::Error),
}

impl Input {
    /// Whether a list ends with it that may have been long. Namespaces are few, but theirs may be the last list that is
    /// asked for when the API was away.
    fn ends_a_list(&self) -> bool {
        matches!(
            self,
            Self::Service(Event::InitDone) | Self::Slice(Event::InitDone) | Self::Namespace(Event::InitDone)
        )
    }
}

/// Feeds `slots` until the program ends.
pub(crate) async fn feed(client: Client, sources: Sources, slots: Vec<Arc<Slot>>) {
    let mut inputs: SelectAll<BoxStream<'static, Input>> = SelectAll::new();
    let watch = Watching::begin(client).await;
    let all = watcher::Config::default;
    let labelled = |labels: &Option<String>| watcher::Config { label_selector: labels.clone(), ..all() };
    let selection = &sources.selection;
    inputs.push(watch.kind(labelled(&selection.labels), Input::Service, Input::Failed));
    if !selection.noendpoints {
        inputs.push(watch.kind(labelled(&selection.slice_labels), Input::Slice, Input::Failed));
    }
    // DNS alone has no node, and CoreDNS's ClusterRole lets nobody see one.
    if !sources.node.is_empty() {
        let own = all().fields(&format!("metadata.name={}", sources.node));
        inputs.push(watch.kind(own, Input::Node, Input::Failed));
    }
    if selection.namespaces {
        let which = labelled(&selection.namespace_labels);
        inputs.push(watch.kind(which, Input::Namespace, Input::Failed));
    }
    if sources.service_cidrs {
        inputs.push(watch.kind(all(), Input::ServiceCidr, Input::NoServiceCidrs));
    }
    let mut intake = Intake::new(&sources);
    if let Some(interfaces) = sources.interfaces {
        inputs.push(interfaces.map(Input::Interfaces).boxed());
    }
    while let Some(input) = inputs.next().await {
        intake.apply(input);
        // What has arrived meanwhile joins the same publication; bounded, so that a flood cannot starve it.
        for _ in 0..BURST_EVENTS_MAX {
            let Some(Some(input)) = inputs.next().now_or_never() else { break };
            intake.apply(input);
        }
        if let Some(update) = intake.publication() {
            if let Some(observed) = &sources.observed {
                observed.queued();
            }
            for slot in &slots {
                slot.put(update.clone());
            }
        }
        if intake.take_listed() {
            memory::give_back();
        }
    }
}

/// Events that one publication takes up at most.
const BURST_EVENTS_MAX: usize = 4096;
