//! GET of one object and of collections.
//!
//! A list is always all of it, at the latest revision: `limit` is ignored, which the API allows and which no client
//! notices but by the missing second request.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use objects::resource::Resource;
use objects::selector::{FieldSelector, LabelSelector};
use objects::status::{FieldError, Status};
use serde_json::Value;

use super::query::Query;
use super::route::Target;
use super::{Api, write};
use crate::store::{Key, Stored, decode};

/// Which objects a request means.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
}

impl Matcher {
    pub(super) fn new(target: &Target, query: &Query) -> Result<Self, Status> {
        let labels =
            LabelSelector::parse(&query.label_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(target.resource, &query.field_selector)
            .map_err(|e| Status::bad_request(e.to_string()))?;
        Ok(Self { labels, fields, name: target.name.clone() })
    }

    /// True if everything matches, so that nothing needs to be decoded.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
            && self.labels.matches_object(object)
            && self.fields.matches_object(object)
    }

    /// As [`Matcher::matches`], reading no more of the object than the selectors need.
    fn matches_stored(&self, stored: &Stored) -> bool {
        if !self.fields.is_empty() || self.name.is_some() {
            return self.matches(&decode(stored));
        }
        let labels = serde_json::from_slice::<Labelled>(&stored.json).unwrap_or_default().metadata.labels;
        self.labels.matches(&labels)
    }

    /// The object, if it matches.
    pub(super) fn decode_matching(&self, stored: &Stored) -> Option<Value> {
        if self.fields.is_empty() && self.name.is_none() && !self.matches_stored(stored) {
            return None;
        }
        Some(decode(stored)).filter(|object| self.matches(object))
    }
}

/// What label selectors read of an object.
#[derive(Default, serde::Deserialize)]
struct Labelled {
    #[serde(default)]
    metadata: Labels,
}

#[derive(Default, serde::Deserialize)]
struct Labels {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// One object.
pub(super) fn get(api: &Api, target: &Target) -> Result<Arc<Stored>, Status> {
    let key = Key::new(target.resource, target.namespace(), target.name());
    api.store.get(&key).ok_or_else(|| Status::not_found(target.resource, target.name()))
}

/// A collection at a revision.
pub(super) struct List {
    pub(super) objects: Vec<Arc<Stored>>,
    pub(super) revision: u64,
}

pub(super) fn list(api: &Api, target: &Target, query: &Query, matcher: &Matcher) -> Result<List, Status> {
    check_revision(api, query)?;
    let (mut objects, revision) = api.store.list(&write::collection_prefix(target));
    if !matcher.is_everything() {
        objects.retain(|stored| matcher.matches_stored(stored));
    }
    Ok(List { objects, revision })
}

fn check_revision(api: &Api, query: &Query) -> Result<(), Status> {
    if query.send_initial_events.is_some() {
        return Err(Status::forbidden_option("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if !query.continue_token.is_empty() {
        return Err(refused_token(&query.continue_token));
    }
    let matching = query.resource_version_match.as_str();
    let forbidden = |why: &str| Err(Status::forbidden_option("resourceVersionMatch", why));
    match (query.resource_version.as_str(), matching) {
        ("", "") => return Ok(()),
        ("", _) => return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("0", "Exact") => {
            return forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        (_, "" | "NotOlderThan" | "Exact") => {}
        (_, other) => return Err(unknown_match(other)),
    }
    let (asked, current) = (revision(&query.resource_version)?, api.store.revision());
    if asked > current {
        return Err(Status::too_large_revision(asked, current));
    }
    if matching == "Exact" && asked < current {
        return Err(Status::expired(asked, current));
    }
    Ok(())
}

/// The number in `resourceVersion`.
pub(super) fn revision(text: &str) -> Result<u64, Status> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \
             \"{text}\": invalid syntax"
        ))
    })
}

fn unknown_match(given: &str) -> Status {
    let mut error = FieldError::not_supported("resourceVersionMatch", given, &[]);
    error.detail = "supported values: \"Exact\", \"NotOlderThan\", \"\"".to_owned();
    Status::invalid_options("ListOptions", &[error])
}

/// We hand out no tokens: one that looks like a token is of another server or of an earlier version, and its client begins
/// anew when told that it has expired.
fn refused_token(token: &str) -> Status {
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    match serde_json::from_slice::<Value>(&decoded) {
        Ok(_) => Status::continue_expired(),
        Err(error) => {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {error}"))
        }
    }
}

/// The kind of a list of the resource.
pub(super) fn list_kind(resource: &Resource) -> String {
    format!("{}List", resource.kind)
}
