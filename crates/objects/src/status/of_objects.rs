//! Refusals that are about an object: it is not there, is there already, was changed, breaks a rule.

use serde_json::json;

use super::{FieldError, Status, details, field, quoted_kind};
use crate::resource::Resource;

impl Status {
    /// 404: no object of that name.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified()))
            .about(resource, name)
    }

    /// 409: the name is taken by an object that is going away.
    pub fn being_deleted(resource: &Resource, name: &str) -> Self {
        let message = format!("object is being deleted: {} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 409: the name is taken. `generated` if the server chose it.
    pub fn already_exists(resource: &Resource, name: &str, generated: bool) -> Self {
        let tail =
            if generated { ", the server was not able to generate a unique name for the object" } else { "" };
        let message = format!("{} \"{name}\" already exists{tail}", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 409: somebody else changed the object since it was read.
    pub fn stale(resource: &Resource, name: &str) -> Self {
        let reason =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, reason)
    }

    /// 409: a precondition does not hold; `why` tells which.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 422: the object breaks rules of its kind.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let message = format!("{} is invalid: {}", quoted_kind(resource, name), field::aggregate(errors));
        let mut status = Self::new(422, "Invalid", message);
        status.details = Some(details(name, resource.group, resource.kind));
        status.detail("causes", errors.iter().map(FieldError::cause).collect())
    }

    /// 403: understood and refused; `why` follows `… is forbidden: `.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let name_part = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let message = format!("{}{name_part} is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// 422 for a change without the revision that the kind demands; named by the resource, as upstream has it.
    pub fn unconditional(resource: &Resource, name: &str) -> Self {
        let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        let message = format!("{} \"{name}\" is invalid: {error}", resource.qualified());
        Self::new(422, "Invalid", message).about(resource, name).detail("causes", json!([error.cause()]))
    }

    /// 422: a subresource's object breaks a rule; `kind` and `group` are its own.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, error: &FieldError) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut status = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {error}"));
        status.details = Some(details(name, group, kind));
        status.detail("causes", json!([error.cause()]))
    }

    /// 409: a precondition of a deletion does not hold. Upstream names the kind here.
    pub fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let message = format!("Operation cannot be fulfilled on {}{group} \"{name}\": {why}", resource.kind);
        let mut status = Self::new(409, "Conflict", message);
        status.details = Some(details(name, resource.group, resource.kind));
        status
    }

    /// 409: a subresource such as `pods/binding` cannot be carried out.
    pub fn subresource_conflict(resource: &Resource, subresource: &str, name: &str, why: &str) -> Self {
        let path = format!("{}/{subresource}", resource.plural);
        let message = format!("Operation cannot be fulfilled on {path} \"{name}\": {why}");
        let mut status = Self::new(409, "Conflict", message);
        status.details = Some(details(name, resource.group, &path));
        status
    }

    /// 403: the namespace is going away.
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = format!("namespace {namespace} is being terminated");
        Self::forbidden(resource, name, &why).with_cause(
            "NamespaceTerminating",
            &cause,
            Some("metadata.namespace"),
        )
    }
}
