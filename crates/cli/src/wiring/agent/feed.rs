//! API → model: watches Services, EndpointSlices, this Node and Namespaces, applies them to one [`Model`] and publishes its
//! snapshots, with what surrounds the node. Nothing is published before every kind has been listed once; after that each
//! burst of events becomes one publication, at once. A lost connection changes nothing: the last snapshot stays, the
//! watchers retry with back-off.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use services::{Model, ServiceName, Skipped};
use tracing::{debug, info, warn};

use super::around::Around;
use super::events::Report;
use super::memory;
use super::observed::{Observed, Trigger};
use super::selection::Selection;
use super::slot::{Slot, TRIGGERS_MAX, Update};
use super::watching::Watching;
use crate::causes::chain;

/// When the change that made a slice what it is happened, as the endpointslice controller notes it.
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

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
            if std::mem::take(&mut intake.listed) {
                memory::give_back();
            }
        }
    }
}

/// Events that one publication takes up at most.
const BURST_EVENTS_MAX: usize = 4096;

/// What one kind's list has shown so far.
#[derive(Default)]
struct Listing {
    listed_once: bool,
    seen: HashSet<ServiceName>,
}

/// The model with the state of the lists.
struct Intake {
    model: Model,
    around: Around,
    node: String,
    observed: Option<Arc<Observed>>,
    /// Of changes that were not published yet.
    triggers: Vec<Trigger>,
    services: Listing,
    slices: Listing,
    nodes: Listing,
    namespaces: Listing,
    published_once: bool,
    /// A list has ended since the last publication: what its decoding took is free again.
    listed: bool,
}

impl Intake {
    fn new(sources: &Sources) -> Self {
        let unwatched = |is: bool| Listing { listed_once: is, seen: HashSet::new() };
        Self {
            model: Model::keeping(sources.selection.detail),
            listed: false,
            around: Around::new(sources.service_cidrs, sources.interfaces.is_some()),
            node: sources.node.clone(),
            observed: sources.observed.clone(),
            triggers: Vec::new(),
            services: Listing::default(),
            slices: unwatched(sources.selection.noendpoints),
            nodes: unwatched(sources.node.is_empty()),
            namespaces: unwatched(!sources.selection.namespaces),
            published_once: false,
        }
    }

    fn apply(&mut self, input: Input) {
        self.listed |= matches!(input, Input::Service(Event::InitDone) | Input::Slice(Event::InitDone));
        match input {
            Input::Service(event) => self.apply_service(event),
            Input::Slice(event) => self.apply_slice(event),
            Input::Node(event) => self.apply_node(event),
            Input::Namespace(event) => self.apply_namespace(event),
            Input::ServiceCidr(event) => self.around.apply_cidr(event),
            Input::NoServiceCidrs(error) if is_refusal(&error) => self.around.no_cidrs(&chain(&error)),
            Input::NoServiceCidrs(error) => debug!("the watch of ServiceCIDRs failed: {}", chain(&error)),
            Input::Interfaces(addresses) => self.around.set_interfaces(addresses),
            Input::Failed(error) => warn!("a watch failed and is retried: {}", chain(&error)),
        }
    }

    /// The snapshot to publish, if every kind is listed and something changed (or nothing was published yet).
    fn publication(&mut self) -> Option<Update> {
        let listings = [&self.services, &self.slices, &self.nodes, &self.namespaces];
        if !listings.iter().all(|listing| listing.listed_once) || !self.around.is_known() {
            return None;
        }
        let changes = self.model.take_changes();
        if changes.is_empty() && !self.around.is_changed() && self.published_once {
            return None;
        }
        if !self.published_once {
            info!(services = changes.services.len(), "synced with the API");
        }
        self.published_once = true;
        let triggers = std::mem::take(&mut self.triggers);
        Some(Update {
            snapshot: self.model.snapshot(),
            changes,
            around: self.around.take_changed(),
            triggers,
        })
    }

    fn apply_service(&mut self, event: Event<Service>) {
        if let (Some(observed), true) = (&self.observed, is_change(&event)) {
            observed.metrics.service_changed();
        }
        let Self { model, services, observed, .. } = self;
        let put = |model: &mut Model, object: &Service| {
            if let Err(skipped) = model.apply_service(object) {
                warn!("{skipped}");
                if let Some(observed) = &observed {
                    observed.reports.leave(not_programmed(object, &skipped));
                }
            }
        };
        let known = |model: &Model| {
            let snapshot = model.snapshot();
            let with_service = snapshot.services.iter().filter(|(_, state)| state.service.is_some());
            with_service.map(|(name, _)| name.clone()).collect()
        };
        take(model, services, event, put, known, |model, name| model.delete_service(name));
    }

    fn apply_slice(&mut self, event: Event<EndpointSlice>) {
        if let (Some(observed), true) = (&self.observed, is_change(&event)) {
            observed.metrics.endpoint_changed();
            let trigger = trigger_of(&event).and_then(|(text, ipv6)| observed.trigger(text, ipv6));
            self.triggers.extend(trigger.filter(|_| self.triggers.len() < TRIGGERS_MAX));
        }
        let Self { model, slices, .. } = self;
        let put = |model: &mut Model, object: &EndpointSlice| {
            if let Err(skipped) = model.apply_slice(object) {
                warn!("{skipped}");
            }
        };
        let known = |model: &Model| model.slice_names().cloned().collect();
        take(model, slices, event, put, known, |model, name| model.delete_slice(name));
    }

    fn apply_node(&mut self, event: Event<Node>) {
        self.note_health(&event);
        let Self { model, nodes, .. } = self;
        let known = |model: &Model| model.snapshot().nodes.keys().map(|name| cluster_wide(name)).collect();
        take(
            model,
            nodes,
            event,
            |model, node| model.apply_node(node),
            known,
            |model, name| model.delete_node(name.name()),
        );
    }

    /// Whether this node is still fit for traffic is told before anything of the event is programmed.
    fn note_health(&self, event: &Event<Node>) {
        let Some(observed) = &self.observed else { return };
        match event {
            Event::Init => {}
            Event::InitApply(node) | Event::Apply(node) if node.name_any() == self.node => {
                observed.health.set_node(Some(node));
            }
            Event::Delete(node) if node.name_any() == self.node => observed.health.set_node(None),
            Event::InitDone if !self.nodes.seen.contains(&cluster_wide(&self.node)) => {
                observed.health.set_node(None);
            }
            _ => {}
        }
    }

    fn apply_namespace(&mut self, event: Event<Namespace>) {
        let Self { model, namespaces, .. } = self;
        let put = |model: &mut Model, namespace: &Namespace| model.apply_namespace(&namespace.name_any());
        let known =
            |model: &Model| model.snapshot().namespaces.iter().map(|name| cluster_wide(name)).collect();
        take(model, namespaces, event, put, known, |model, name| model.delete_namespace(name.name()));
    }
}

fn not_programmed(object: &Service, skipped: &Skipped) -> Report {
    let service = ServiceName::new(object.namespace().unwrap_or_default(), object.name_any());
    Report { service, reason: "ServiceNotProgrammed", action: "Sync", note: skipped.to_string() }
}

/// Whether an event shows an object, or that it is gone.
fn is_change<K>(event: &Event<K>) -> bool {
    matches!(event, Event::Apply(_) | Event::InitApply(_) | Event::Delete(_))
}

/// A slice that is gone tells only when it was changed before that.
fn trigger_of(event: &Event<EndpointSlice>) -> Option<(&str, bool)> {
    let (Event::Apply(slice) | Event::InitApply(slice)) = event else { return None };
    let text = slice.metadata.annotations.as_ref()?.get(TRIGGER_ANNOTATION)?;
    Some((text, slice.address_type == "IPv6"))
}

/// Whether asking again is of no use before something is changed: the API has no such kind, or we may not read it.
fn is_refusal(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let (InitialListFailed(inner) | WatchStartFailed(inner) | WatchFailed(inner)) = error else {
        return false;
    };
    matches!(inner, kube::Error::Api(status) if matches!(status.code, 403 | 404))
}

/// The key of an object without a namespace.
fn cluster_wide(name: &str) -> ServiceName {
    ServiceName::new("", name)
}

/// Applies one event. A list ends with the removal of whatever is known and was not in it.
fn take<K: ResourceExt>(
    model: &mut Model,
    listing: &mut Listing,
    event: Event<K>,
    put: impl Fn(&mut Model, &K),
    known: impl Fn(&Model) -> Vec<ServiceName>,
    delete: impl Fn(&mut Model, &ServiceName),
) {
    let key = |object: &K| ServiceName::new(object.namespace().unwrap_or_default(), object.name_any());
    match event {
        Event::Init => listing.seen.clear(),
        Event::InitApply(object) => {
            listing.seen.insert(key(&object));
            put(model, &object);
        }
        Event::InitDone => {
            for gone in known(model).iter().filter(|name| !listing.seen.contains(*name)) {
                delete(model, gone);
            }
            listing.seen = HashSet::new();
            listing.listed_once = true;
        }
        Event::Apply(object) => put(model, &object),
        Event::Delete(object) => delete(model, &key(&object)),
    }
}
