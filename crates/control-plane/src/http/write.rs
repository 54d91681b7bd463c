//! Creating and changing objects: decode, complete, judge and store, in one transaction.

use bytes::Bytes;
use objects::resource::Resource;
use objects::status::{FieldError, Status};
use rand::RngExt;
use serde_json::{Value, json};

use super::query::Query;
use super::route::Target;
use super::{Api, decode, events, strategy};
use crate::admission::Warnings;
use crate::metadata;
use crate::store::{Key, Transaction, prefix};

/// Letters of generated names: no vowels, no digits that look like letters, so that none spells a word (upstream's).
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const NAME_LENGTH: usize = 5;
/// Longest prefix of a generated name, so that the whole fits a label.
const MAX_GENERATED_PREFIX: usize = 63 - NAME_LENGTH;
const NAME_ATTEMPTS: usize = 8;

/// A stored object, and what the client should be warned of.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) object: Value,
    pub(super) warnings: Warnings,
}

/// Stores a new object.
pub(super) async fn create(
    api: &Api,
    target: &Target,
    query: &Query,
    json: Bytes,
) -> Result<Outcome, Status> {
    let (object, warnings) = given(target, query, &json)?;
    insert(api, target, query.dry_run, object, warnings).await
}

/// The object in the body, in the form in which it is stored.
fn given(target: &Target, query: &Query, json: &Bytes) -> Result<(Value, Warnings), Status> {
    let (object, warnings) = decode::object(target.resource, json, query.field_validation)?;
    let mut object = events::to_stored(target.resource, object);
    settle_namespace(target, &mut object)?;
    Ok((object, warnings))
}

async fn insert(
    api: &Api,
    target: &Target,
    dry_run: bool,
    mut object: Value,
    mut warnings: Warnings,
) -> Result<Outcome, Status> {
    let resource = target.resource;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|v| !v.is_empty()) {
        return Err(Status::plain("resourceVersion should not be set on objects to be created"));
    }
    let generated = settle_name(resource, &mut object)?;
    metadata::initialize(resource, &mut object);
    let (admission, namespace) = (api.admission.clone(), target.namespace().to_owned());
    let stored = api.store.write(move |transaction| {
        let key = settle_key(transaction, resource, &namespace, &mut object, generated.as_deref())?;
        warnings.extend(admission.create(transaction, resource, &mut object)?);
        transaction.put(&key, &mut object);
        if dry_run {
            transaction.discard();
            metadata::of(&mut object).shift_remove("resourceVersion");
        }
        Ok(Outcome { object: events::from_stored(resource, object), warnings })
    });
    stored.await
}

/// The object's namespace is the path's.
fn settle_namespace(target: &Target, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata::of(object);
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if !target.resource.namespaced {
        metadata.shift_remove("namespace");
    } else if given.is_empty() {
        metadata.insert("namespace".to_owned(), json!(target.namespace()));
    } else if given != target.namespace() {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Checks that there is a name, or a prefix of one, which is returned.
fn settle_name(resource: &Resource, object: &mut Value) -> Result<Option<String>, Status> {
    let metadata = metadata::of(object);
    let text = |field| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    if !text("name").is_empty() {
        return Ok(None);
    }
    let prefix = text("generateName");
    if prefix.is_empty() {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        return Err(Status::invalid(resource, "", &[error]));
    }
    let cut = prefix.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_GENERATED_PREFIX);
    Ok(Some(prefix[..cut.unwrap_or(prefix.len())].to_owned()))
}

/// The key under which the object is new.
fn settle_key(
    transaction: &Transaction<'_>,
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
    generated: Option<&str>,
) -> Result<Key, Status> {
    let attempts = if generated.is_some() { NAME_ATTEMPTS } else { 1 };
    for _ in 0..attempts {
        if let Some(prefix) = generated {
            metadata::of(object).insert("name".to_owned(), json!(format!("{prefix}{}", random_suffix())));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key::new(resource, namespace, name);
        if transaction.get(&key).is_none() {
            return Ok(key);
        }
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let taken = transaction.value(&Key::new(resource, namespace, name));
    if taken.is_some_and(|object| object["metadata"]["deletionTimestamp"].is_string()) {
        return Err(Status::being_deleted(resource, name));
    }
    Err(Status::already_exists(resource, name, generated.is_some()))
}

fn random_suffix() -> String {
    let mut random = rand::rng();
    (0..NAME_LENGTH).map(|_| char::from(NAME_LETTERS[random.random_range(0..NAME_LETTERS.len())])).collect()
}

/// Kinds that a PUT creates if they are not there (upstream's `AllowCreateOnUpdate`).
const CREATED_BY_PUT: &[&str] = &["Endpoints", "Event", "Lease", "LimitRange", "Service"];

/// Replaces an object, or its status. True: it was not there and has been created.
pub(super) async fn update(
    api: &Api,
    target: &Target,
    query: &Query,
    json: Bytes,
) -> Result<(Outcome, bool), Status> {
    let (object, warnings) = given(target, query, &json)?;
    strategy::check_name(target.name(), &object)?;
    let absent = || api.store.get(&Key::new(target.resource, target.namespace(), target.name())).is_none();
    if target.subresource.is_none() && CREATED_BY_PUT.contains(&target.resource.kind) && absent() {
        return Ok((insert(api, target, query.dry_run, object, warnings).await?, true));
    }
    let outcome = change(api, target, query.dry_run, move |_| Ok((object, warnings))).await?;
    Ok((outcome, false))
}

/// Changes a stored object into what `make` makes of it.
pub(super) async fn change<F>(api: &Api, target: &Target, dry_run: bool, make: F) -> Result<Outcome, Status>
where
    F: FnOnce(&Value) -> Result<(Value, Warnings), Status> + Send + 'static,
{
    let (admission, target) = (api.admission.clone(), target.clone());
    let changed = api.store.write(move |transaction| {
        let resource = target.resource;
        let subresource = target.subresource.map(|sub| sub.name);
        let key = Key::new(resource, target.namespace(), target.name());
        let old = transaction.value(&key).ok_or_else(|| Status::not_found(resource, target.name()))?;
        let (mut new, mut warnings) = make(&old)?;
        strategy::check_identity(resource, target.name(), &old, &new)?;
        strategy::carry_over(resource, subresource, &old, &mut new);
        warnings.extend(admission.update(transaction, resource, &old, &mut new, subresource)?);
        strategy::count_generation(resource, &old, &mut new);
        if strategy::is_released(resource, &new) {
            admission.delete(transaction, resource, &new, true)?;
            transaction.delete(&key, &mut new);
        } else if new != old {
            transaction.put(&key, &mut new);
        }
        if dry_run {
            transaction.discard();
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        }
        Ok(Outcome { object: events::from_stored(resource, new), warnings })
    });
    changed.await
}

/// Changes a stored object as the server itself may: nothing is put back and nothing judged.
pub(super) async fn change_internally<F>(
    api: &Api,
    target: &Target,
    dry_run: bool,
    make: F,
) -> Result<Value, Status>
where
    F: FnOnce(&Value) -> Result<Value, Status> + Send + 'static,
{
    let target = target.clone();
    let changed = api.store.write(move |transaction| {
        let key = Key::new(target.resource, target.namespace(), target.name());
        let old = transaction.value(&key).ok_or_else(|| Status::not_found(target.resource, target.name()))?;
        let mut new = make(&old)?;
        if !dry_run {
            transaction.put(&key, &mut new);
        }
        Ok(new)
    });
    changed.await
}

/// All objects of the collection that the target names.
pub(super) fn collection_prefix(target: &Target) -> String {
    prefix(target.resource, target.namespace.as_deref())
}
