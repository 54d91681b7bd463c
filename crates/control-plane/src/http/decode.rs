//! The object in a request's body, checked as strictly as the client asked for.

use bytes::Bytes;
use objects::decode::{self, Decoded};
use objects::resource::{Resource, Subresource};
use objects::status::Status;
use serde_json::Value;

use super::query::FieldValidation;
use crate::admission::Warnings;

/// An object of the resource, as it was given.
pub(super) fn object(
    resource: &Resource,
    json: &Bytes,
    validation: FieldValidation,
) -> Result<(Value, Warnings), Status> {
    of_kind(&resource.api_version(), resource.kind, json, validation)
}

/// An object of the kind that a subresource speaks, such as `Scale`.
pub(super) fn of_subresource(
    sub: &Subresource,
    json: &Bytes,
    validation: FieldValidation,
) -> Result<(Value, Warnings), Status> {
    of_kind(&objects::resource::join_group(sub.group, sub.version), sub.kind, json, validation)
}

fn of_kind(
    api_version: &str,
    kind: &str,
    json: &Bytes,
    validation: FieldValidation,
) -> Result<(Value, Warnings), Status> {
    let Decoded { object, strict } =
        decode::decode(api_version, kind, json).map_err(|error| Status::bad_request(error.to_string()))?;
    match validation {
        FieldValidation::Ignore => Ok((object, Warnings::new())),
        FieldValidation::Warn => Ok((object, strict)),
        FieldValidation::Strict => match decode::strict_error(api_version, kind, &strict) {
            Some(text) => Err(Status::bad_request(text)),
            None => Ok((object, Warnings::new())),
        },
    }
}
