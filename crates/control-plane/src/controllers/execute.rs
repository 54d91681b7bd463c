//! The edge: carries out a plan's actions over HTTP and says what came of it. The only writer of the
//! controllers.
//!
//! Actions of one plan run at the same time, at most [`ACTIONS_AT_ONCE`]; after the first failure no further
//! one is started (those that fly are awaited, for their results must be known). What is already as wanted,
//! like deleting what is gone, is no failure.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::core::v1::{Binding, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use serde_json::Value;

use super::action::{Action, Note, Verb};
use super::call_error::CallError;
use super::object::{Key, Kind, Object, Target};
use super::recorder::Recorder;
use super::{collect, empty_namespace};

/// Requests of one plan that fly at the same time.
const ACTIONS_AT_ONCE: usize = 16;

/// Carries out actions. Cloning shares the connection.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) client: kube::Client,
    pub(super) recorder: Recorder,
}

/// What a plan came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Objects as the server returned them.
    pub(super) written: Vec<Object>,
    /// Pods whose binding was confirmed, and those whose was not.
    pub(super) bindings: Vec<(Key, bool)>,
    /// The first failure.
    pub(super) error: Option<RequestError>,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The server refused it, or could not be reached.
    #[error("{verb} {kind:?} {name} failed")]
    Call {
        verb: &'static str,
        kind: Kind,
        name: String,
        #[source]
        source: CallError,
    },
    /// An object could not be written as JSON, or the answer could not be read.
    #[error("{kind:?} {name} does not fit its type")]
    Type {
        kind: Kind,
        name: String,
        #[source]
        source: serde_json::Error,
    },
    /// The path or the parameters make no HTTP request.
    #[error("no request can be made for {kind:?} {name}")]
    Build {
        kind: Kind,
        name: String,
        #[source]
        source: kube::core::request::Error,
    },
}

impl RequestError {
    /// True for what a stale cache brings about: retried without a word.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { source, .. } if code(source) == Some(409))
    }

    /// The text that the server sent, for Events.
    fn server_text(&self) -> String {
        match self {
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            },
            Self::Type { source, .. } => source.to_string(),
            Self::Build { source, .. } => source.to_string(),
        }
    }
}

impl Executor {
    /// Carries out all actions of one plan of the controller `component`.
    pub(super) async fn run(self, component: &'static str, actions: Vec<Action>) -> Outcome {
        let failed = AtomicBool::new(false);
        let (this, failed) = (&self, &failed);
        let results = stream::iter(actions).map(|action| async move {
            if failed.load(Ordering::Relaxed) {
                return (abandoned(&action.verb), Ok(None));
            }
            let (binding, result) = this.act(component, action).await;
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            (binding, result)
        });
        let mut outcome = Outcome::default();
        let mut results = std::pin::pin!(results.buffer_unordered(ACTIONS_AT_ONCE));
        while let Some((binding, result)) = results.next().await {
            outcome.bindings.extend(binding);
            match result {
                Ok(written) => outcome.written.extend(written),
                Err(error) => {
                    outcome.error.get_or_insert(error);
                }
            }
        }
        outcome
    }

    async fn act(
        &self,
        component: &'static str,
        action: Action,
    ) -> (Option<(Key, bool)>, Result<Option<Object>, RequestError>) {
        let pod = abandoned(&action.verb).map(|(pod, _)| pod);
        let result = self.perform(action.verb).await;
        match &result {
            Ok(object) => self.tell(component, action.success, object.as_ref()),
            Err(error) => self.tell_failure(component, action.failure, error),
        }
        (pod.map(|pod| (pod, result.is_ok())), result)
    }

    fn tell(&self, component: &'static str, note: Option<Note>, object: Option<&Object>) {
        let Some(mut note) = note else { return };
        if let Some(name) = object.and_then(|object| object.meta().name.as_deref()) {
            note.message = note.message.replace("{name}", name);
        }
        self.recorder.record(component, note);
    }

    fn tell_failure(&self, component: &'static str, note: Option<Note>, error: &RequestError) {
        let Some(mut note) = note.filter(|_| !error.is_conflict()) else { return };
        note.message = note.message.replace("{error}", &error.server_text());
        self.recorder.record(component, note);
    }

    async fn perform(&self, verb: Verb) -> Result<Option<Object>, RequestError> {
        match verb {
            Verb::Create(object) => self.create(&object).await,
            Verb::Replace(object) => self.replace(&object).await,
            Verb::Patch { target, subresource, patch } => self.patch(&target, subresource, &patch).await,
            Verb::Delete { target, uid, grace, foreground } => {
                self.delete(&target, uid, grace, foreground).await
            }
            Verb::Bind { pod, uid, node } => self.bind(&pod, uid, node).await,
            Verb::EmptyNamespace { name } => empty_namespace::run(self, &name).await.map(|()| None),
            Verb::Collect { target, uid, owners } => collect::unowned(self, &target, uid, &owners).await,
            Verb::CollectPod { pod, uid, node } => collect::of_lost_node(self, &pod, uid, &node).await,
        }
    }

    async fn create(&self, object: &Object) -> Result<Option<Object>, RequestError> {
        let target = object.target();
        let body = object.encode().map_err(|source| type_error(&target, source))?;
        let request = collection(&target).create(&PostParams::default(), body);
        match self.call("create", &target, request).await {
            Err(RequestError::Call { source, .. }) if is_namespace_terminating(&source) => Ok(None),
            result => result,
        }
    }

    async fn replace(&self, object: &Object) -> Result<Option<Object>, RequestError> {
        let target = object.target();
        let body = object.encode().map_err(|source| type_error(&target, source))?;
        let request = collection(&target).replace(&target.key.name, &PostParams::default(), body);
        self.call("replace", &target, request).await
    }

    pub(super) async fn patch(
        &self,
        target: &Target,
        subresource: Option<&'static str>,
        patch: &Value,
    ) -> Result<Option<Object>, RequestError> {
        let (collection, params, patch) = (collection(target), PatchParams::default(), Patch::Merge(patch));
        let request = match subresource {
            Some(subresource) => collection.patch_subresource(subresource, &target.key.name, &params, &patch),
            None => collection.patch(&target.key.name, &params, &patch),
        };
        gone_is_fine(self.call("patch", target, request).await)
    }

    pub(super) async fn delete(
        &self,
        target: &Target,
        uid: String,
        grace: Option<u32>,
        foreground: bool,
    ) -> Result<Option<Object>, RequestError> {
        let policy = if foreground { DeleteParams::foreground() } else { DeleteParams::background() };
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        let params = DeleteParams { preconditions, grace_period_seconds: grace, ..policy };
        let request = collection(target).delete(&target.key.name, &params);
        let result = self.call("delete", target, request).await;
        match result {
            // Another object has the name by now: the one that was meant is gone.
            Err(error) if error.is_conflict() => Ok(None),
            result => Ok(gone_is_fine(result)?.map(as_deleted)),
        }
    }

    async fn bind(&self, pod: &Target, uid: String, node: String) -> Result<Option<Object>, RequestError> {
        let mut binding = Binding::default();
        binding.metadata.namespace = Some(pod.key.namespace.clone());
        binding.metadata.name = Some(pod.key.name.clone());
        binding.metadata.uid = Some(uid);
        binding.target =
            ObjectReference { kind: Some("Node".into()), name: Some(node), ..ObjectReference::default() };
        let body = serde_json::to_vec(&binding).map_err(|source| type_error(pod, source))?;
        let request =
            collection(pod).create_subresource("binding", &pod.key.name, &PostParams::default(), body);
        gone_is_fine(self.call("bind", pod, request).await)
    }

    /// Sends a request about `target`; an answer that is a Status and not an object counts as no object.
    pub(super) async fn call(
        &self,
        verb: &'static str,
        target: &Target,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Option<Object>, RequestError> {
        let name = || format!("{}/{}", target.key.namespace, target.key.name);
        let request =
            request.map_err(|source| RequestError::Build { kind: target.kind, name: name(), source })?;
        let text = self.client.request_text(request).await.map_err(|source| RequestError::Call {
            verb,
            kind: target.kind,
            name: name(),
            source: source.into(),
        })?;
        Ok(target.kind.decode(&text).ok())
    }
}

/// The pod whose binding a verb is, as one that did not happen.
fn abandoned(verb: &Verb) -> Option<(Key, bool)> {
    match verb {
        Verb::Bind { pod, .. } => Some((pod.key.clone(), false)),
        _ => None,
    }
}

/// The answer to a deletion, marked so that nobody counts the object any more even if it went without a grace
/// period.
fn as_deleted(mut object: Object) -> Object {
    object.meta_mut().deletion_timestamp.get_or_insert_with(|| Time(jiff::Timestamp::now()));
    object
}

/// Requests on the collection that holds `target`.
pub(super) fn collection(target: &Target) -> Request {
    Request::new(target.kind.path(&target.key.namespace))
}

/// The HTTP status of a refusal.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn type_error(target: &Target, source: serde_json::Error) -> RequestError {
    RequestError::Type { kind: target.kind, name: target.key.name.clone(), source }
}

fn gone_is_fine(result: Result<Option<Object>, RequestError>) -> Result<Option<Object>, RequestError> {
    match result {
        Err(RequestError::Call { source, .. }) if code(&source) == Some(404) => Ok(None),
        result => result,
    }
}

/// Nothing can be created in a namespace that is going away, and nothing has to.
fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
