//! Events of the API applied to the model, and when there is a snapshot to publish.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use services::{Model, ServiceName, Skipped};
use tracing::{debug, info, warn};

use super::super::around::Around;
use super::super::events::Report;
use super::super::observed::{Observed, Trigger};
use super::super::slot::{TRIGGERS_MAX, Update};
use super::{Input, Sources};
use crate::causes::chain;

/// When the change that made a slice what it is happened, as the endpointslice controller notes it.
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// One kind's list.
#[derive(Default)]
struct Listing {
    listed_once: bool,
    /// What was known when the list began and has not been in it so far. The names are the model's, not copies.
    missing: HashSet<ServiceName>,
}

/// The model with the state of the lists.
pub(super) struct Intake {
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
    /// A list has ended: what its decoding took is free again.
    listed: bool,
}

impl Intake {
    pub(super) fn new(sources: &Sources) -> Self {
        let unwatched = |is: bool| Listing { listed_once: is, missing: HashSet::new() };
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

    pub(super) fn apply(&mut self, input: Input) {
        self.listed |= input.ends_a_list();
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
    pub(super) fn publication(&mut self) -> Option<Update> {
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

    /// Whether a list has ended since this was asked last, or since the beginning.
    pub(super) fn take_listed(&mut self) -> bool {
        std::mem::take(&mut self.listed)
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
            Event::InitDone if !self.has_node_in_list() => observed.health.set_node(None),
            _ => {}
        }
    }

    /// Whether the list that ends now has shown this node.
    fn has_node_in_list(&self) -> bool {
        let is_known = self.model.snapshot().nodes.contains_key(self.node.as_str());
        is_known && !self.nodes.missing.contains(&cluster_wide(&self.node))
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
    known: impl Fn(&Model) -> HashSet<ServiceName>,
    delete: impl Fn(&mut Model, &ServiceName),
) {
    let key = |object: &K| ServiceName::new(object.namespace().unwrap_or_default(), object.name_any());
    match event {
        Event::Init => listing.missing = known(model),
        Event::InitApply(object) => {
            listing.missing.remove(&key(&object));
            put(model, &object);
        }
        Event::InitDone => {
            std::mem::take(&mut listing.missing).iter().for_each(|gone| delete(model, gone));
            listing.listed_once = true;
        }
        Event::Apply(object) => put(model, &object),
        Event::Delete(object) => delete(model, &key(&object)),
    }
}
