//! Empties a terminating namespace over the API: everything that discovery lists, pods first, then the
//! finalizer.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::Request;
use serde_json::Value;

use super::execute::{Executor, RequestError, code, collection};
use super::object::{Key, Kind, Object, Target};

/// The finalizer of every namespace.
const FINALIZER: &str = "kubernetes";

/// Deletes what the namespace holds; if nothing is left, removes its finalizer. Not an error if something is
/// left.
pub(super) async fn run(executor: &Executor, name: &str) -> Result<(), RequestError> {
    let namespace = Target { kind: Kind::Namespace, key: Key::new("", name) };
    let mut left = 0;
    for collection in collections(executor, &namespace).await? {
        left += empty(executor, &namespace, &collection).await?;
    }
    if left == 0 { finalize(executor, &namespace).await } else { Ok(()) }
}

/// Paths of all collections in the namespace that can be listed and deleted, pods first.
async fn collections(executor: &Executor, namespace: &Target) -> Result<Vec<String>, RequestError> {
    let failed = |source| call_error("discover what is in", namespace, source);
    let client = &executor.client;
    let core = client.list_core_api_resources("v1").await.map_err(failed)?;
    let name = &namespace.key.name;
    let mut paths = paths(&core.resources, &format!("/api/v1/namespaces/{name}"));
    for group in client.list_api_groups().await.map_err(failed)?.groups {
        let Some(version) = group.preferred_version.or_else(|| group.versions.into_iter().next()) else {
            continue;
        };
        let version = version.group_version;
        let listed = client.list_api_group_resources(&version).await.map_err(failed)?;
        paths.extend(self::paths(&listed.resources, &format!("/apis/{version}/namespaces/{name}")));
    }
    paths.sort_by_key(|path| !path.ends_with("/pods"));
    Ok(paths)
}

fn paths(resources: &[APIResource], base: &str) -> Vec<String> {
    let has = |resource: &APIResource, verb: &str| resource.verbs.iter().any(|offered| offered == verb);
    let deletable = |resource: &&APIResource| {
        resource.namespaced
            && !resource.name.contains('/')
            && has(resource, "list")
            && has(resource, "delete")
    };
    resources.iter().filter(deletable).map(|resource| format!("{base}/{}", resource.name)).collect()
}

/// Deletes each object of a collection; returns how many there were.
async fn empty(executor: &Executor, namespace: &Target, path: &str) -> Result<usize, RequestError> {
    let request = Request::new(path);
    let build = |source| RequestError::Build { kind: namespace.kind, name: path.to_owned(), source };
    let list = request.list(&ListParams::default()).map_err(build)?;
    let found: Value = match executor.client.request(list).await {
        Err(error) if matches!(code(&error), Some(404 | 405)) => return Ok(0),
        result => result.map_err(|source| call_error("list what is in", namespace, source))?,
    };
    let items = found["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items.iter().filter(|item| item["metadata"]["deletionTimestamp"].is_null()) {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        let delete = request.delete(name, &DeleteParams::background()).map_err(build)?;
        match executor.client.request_text(delete).await {
            Err(error) if !matches!(code(&error), Some(404 | 409)) => {
                return Err(call_error("delete what is in", namespace, error));
            }
            _ => {}
        }
    }
    // Objects without a grace period are gone by now: look again instead of waiting for the watch.
    let list = request.list(&ListParams::default()).map_err(build)?;
    if items.is_empty() {
        return Ok(0);
    }
    let found: Value = executor
        .client
        .request(list)
        .await
        .map_err(|source| call_error("list what is in", namespace, source))?;
    Ok(found["items"].as_array().map_or(0, Vec::len))
}

async fn finalize(executor: &Executor, target: &Target) -> Result<(), RequestError> {
    let get = collection(target).get(&target.key.name, &kube::api::GetParams::default());
    let Some(Object::Namespace(namespace)) = executor.call("get", target, get).await? else { return Ok(()) };
    let mut namespace = Namespace::clone(&namespace);
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let encode = |source| RequestError::Type { kind: target.kind, name: target.key.name.clone(), source };
    let body = serde_json::to_vec(&namespace).map_err(encode)?;
    let request =
        collection(target).replace_subresource("finalize", &target.key.name, &PostParams::default(), body);
    match executor.call("finalize", target, request).await {
        Err(RequestError::Call { source, .. }) if code(&source) == Some(404) => Ok(()),
        result => result.map(drop),
    }
}

fn call_error(verb: &'static str, namespace: &Target, source: kube::Error) -> RequestError {
    RequestError::Call { verb, kind: namespace.kind, name: namespace.key.name.clone(), source: source.into() }
}
