//! API → model: watches Services, EndpointSlices, Nodes and Namespaces, applies them to one [`Model`] and publishes its
//! snapshots. Nothing is published before every kind has been listed once; after that each burst of events becomes one
//! publication, at once. A lost connection changes nothing: the last snapshot stays, the watchers retry with back-off.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use services::{Model, ServiceName};
use tracing::{info, warn};

use super::slot::{Slot, Update};

/// One event of any of the four kinds.
#[allow(clippy::large_enum_variant, reason = "one exists at a time, between the watch and the model")]
enum Input {
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
    Node(Event<Node>),
    Namespace(Event<Namespace>),
    /// A watch failed and is being retried.
    Failed(watcher::Error),
}

/// Feeds `slots` until the program ends. Namespaces are only watched when `namespaces` asks for them: DNS needs them,
/// the proxy does not.
pub(crate) async fn feed(client: Client, namespaces: bool, slots: Vec<Arc<Slot>>) {
    let mut inputs: SelectAll<BoxStream<'static, Input>> = SelectAll::new();
    inputs.push(watch(&client, Input::Service));
    inputs.push(watch(&client, Input::Slice));
    inputs.push(watch(&client, Input::Node));
    if namespaces {
        inputs.push(watch(&client, Input::Namespace));
    }
    let mut intake = Intake::new(namespaces);
    while let Some(input) = inputs.next().await {
        intake.apply(input);
        // What has arrived meanwhile joins the same publication; bounded, so that a flood cannot starve it.
        for _ in 0..BURST_EVENTS_MAX {
            let Some(Some(input)) = inputs.next().now_or_never() else { break };
            intake.apply(input);
        }
        if let Some(update) = intake.publication() {
            for slot in &slots {
                slot.put(update.clone());
            }
        }
    }
}

/// Events that one publication takes up at most.
const BURST_EVENTS_MAX: usize = 4096;

fn watch<K>(client: &Client, wrap: fn(Event<K>) -> Input) -> BoxStream<'static, Input>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::all(client.clone());
    let events: BoxStream<'static, _> = watcher(api, watcher::Config::default()).default_backoff().boxed();
    lift(events, wrap).boxed()
}

fn lift<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    wrap: fn(Event<K>) -> Input,
) -> impl Stream<Item = Input> + Send + 'static
where
    K: Send + 'static,
{
    events.map(move |event| event.map_or_else(Input::Failed, wrap))
}

/// What one kind's list has shown so far.
#[derive(Default)]
struct Listing {
    listed_once: bool,
    seen: HashSet<ServiceName>,
}

/// The model with the state of the four lists.
struct Intake {
    model: Model,
    services: Listing,
    slices: Listing,
    nodes: Listing,
    namespaces: Listing,
    published_once: bool,
}

impl Intake {
    fn new(namespaces: bool) -> Self {
        let unwatched = Listing { listed_once: !namespaces, seen: HashSet::new() };
        Self {
            model: Model::new(),
            services: Listing::default(),
            slices: Listing::default(),
            nodes: Listing::default(),
            namespaces: unwatched,
            published_once: false,
        }
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Service(event) => self.apply_service(event),
            Input::Slice(event) => self.apply_slice(event),
            Input::Node(event) => self.apply_node(event),
            Input::Namespace(event) => self.apply_namespace(event),
            Input::Failed(error) => warn!("a watch failed and is retried: {}", chain(&error)),
        }
    }

    /// The snapshot to publish, if every kind is listed and something changed (or nothing was published yet).
    fn publication(&mut self) -> Option<Update> {
        let listings = [&self.services, &self.slices, &self.nodes, &self.namespaces];
        if !listings.iter().all(|listing| listing.listed_once) {
            return None;
        }
        let changes = self.model.take_changes();
        if changes.is_empty() && self.published_once {
            return None;
        }
        if !self.published_once {
            info!(services = changes.services.len(), nodes = changes.nodes.len(), "synced with the API");
        }
        self.published_once = true;
        Some(Update { snapshot: self.model.snapshot(), changes })
    }

    fn apply_service(&mut self, event: Event<Service>) {
        let Self { model, services, .. } = self;
        let put = |model: &mut Model, object: &Service| {
            if let Err(skipped) = model.apply_service(object) {
                warn!("{skipped}");
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
        let Self { model, nodes, .. } = self;
        let known = |model: &Model| model.snapshot().nodes.keys().map(|name| cluster_wide(name)).collect();
        take(
            model,
            nodes,
            event,
            |model, node| model.apply_node(node),
            known,
            |model, name| model.delete_node(&name.name),
        );
    }

    fn apply_namespace(&mut self, event: Event<Namespace>) {
        let Self { model, namespaces, .. } = self;
        let put = |model: &mut Model, namespace: &Namespace| model.apply_namespace(&namespace.name_any());
        let known =
            |model: &Model| model.snapshot().namespaces.iter().map(|name| cluster_wide(name)).collect();
        take(model, namespaces, event, put, known, |model, name| model.delete_namespace(&name.name));
    }
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

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // kube's errors sometimes print their source themselves.
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
