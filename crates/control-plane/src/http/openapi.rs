//! OpenAPI, as little of it as clients need.
//!
//! kubectl asks one question before it writes: may this kind be patched with `fieldValidation` (and `dryRun`)? A document
//! that says so for each kind is enough; schemas, which `kubectl explain` would read, come with a later version.

use std::hash::{DefaultHasher, Hash, Hasher};

use objects::resource::{RESOURCES, Resource, group_versions, join_group};
use serde_json::{Map, Value, json};

use super::health::GIT_VERSION;

/// `Swagger 2.0` in gnostic's protobuf: `swagger: "2.0"`, `info: {title, version}` and empty `paths`. kubectl to 1.28 reads
/// it before it writes and is content.
pub(super) const V2: &[u8] = b"\x0a\x032.0\x12\x11\x0a\x06Sluice\x12\x07v1.37.2\x42\x00";

/// Media type of [`V2`].
pub(super) const V2_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v3`: where the documents are. The hash lets clients keep them.
pub(super) fn index() -> Value {
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        let root = if group.is_empty() { "api" } else { "apis" };
        let path = format!("{root}/{}", join_group(group, version));
        let hash = hash(&document(group, version).to_string());
        paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
    }
    json!({"paths": paths})
}

/// Identifies a document; also its `ETag`.
pub(super) fn hash(document: &str) -> String {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// `/openapi/v3/…`: the paths of the kinds of one group and version.
pub(super) fn document(group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in RESOURCES.iter().filter(|r| r.group == group && r.version == version) {
        let namespace = resource.namespaced.then_some("{namespace}");
        paths.insert(resource.object_path(namespace, "{name}"), json!({"patch": patch(resource)}));
        let schema = json!({"type": "object", "x-kubernetes-group-version-kind": [kind(resource)]});
        schemas.insert(schema_name(resource), schema);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Sluice", "version": GIT_VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn patch(resource: &Resource) -> Value {
    let parameter = |name| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    json!({
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind(resource),
    })
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "kind": resource.kind, "version": resource.version})
}

fn schema_name(resource: &Resource) -> String {
    let group = resource.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{}", resource.version, resource.kind)
}
