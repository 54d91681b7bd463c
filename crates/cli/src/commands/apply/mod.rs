//! `sluice apply -f`: client-side apply, as kubectl does it.
//!
//! What is applied is remembered in an annotation of the object; the next apply compares with it, so that fields set by
//! others stay and fields taken out of the manifest go. Server-side apply and pruning are refused by having no flag.

mod combine;
mod three_way;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    api::{JSON, PatchKind, Session, query::with_query, resource::Resource},
    connect::ConnectFlags,
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
    get::finish,
    manifest::{self, FileFlags, ManifestObject},
    output,
    print::{
        go_json, key_order,
        output_format::{OutputFormat, list_of},
    },
};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// kubectl's own name, so that both can work on the same objects.
const FIELD_MANAGER: &str = "kubectl-client-side-apply";
/// How often a patch is computed anew when the object changed meanwhile (kubectl's number).
const CONFLICT_RETRIES: usize = 5;

/// Arguments of `sluice apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    result: ResultFlags,
    #[command(flatten)]
    validate: super::create::ValidateFlag,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let applying = Applying { telling: args.result.telling()?, validation: args.validate.parameter()? };
    let objects = manifest::read(&args.files)?;
    if objects.is_empty() {
        return Err(Failure::usage("no objects passed to apply"));
    }
    let session = Session::open(connect).await?;
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for object in &objects {
        match applying.object(&session, object).await {
            Ok(result) => results.extend(result),
            Err(error @ (Failure::Server(_) | Failure::Usage(_))) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    match results.as_slice() {
        [] => {}
        [one] => output::write(&applying.telling.format.render(one, "")?)?,
        several => output::write(&applying.telling.format.render(&list_of(several), "")?)?,
    }
    finish(&failures)
}

struct Applying {
    telling: Telling,
    validation: &'static str,
}

impl Applying {
    /// Applies one object; what shall be printed as an object comes back, everything else is told at once.
    async fn object(&self, session: &Session, object: &ManifestObject) -> Result<Option<Value>, Failure> {
        let resource = manifest::resource_of(session, object).await?;
        if object.name().is_empty() {
            return Err(Failure::usage(match object.value["metadata"]["generateName"].as_str() {
                Some(prefix) => format!("from {prefix}: cannot use generate name with apply"),
                None => format!("error when applying {:?}: resource name may not be empty", object.source),
            }));
        }
        let namespace = object.namespace(session)?;
        let wanted = wanted(&object.value, &resource, &namespace);
        let path = resource.object(&namespace, object.name());
        let (result, done) = match session.get(&path, JSON).await {
            Ok(current) => self.update(session, &path, &wanted, current, &resource, object).await?,
            Err(error) if error.is_not_found() => {
                let words = format!("error when creating {:?}: ", object.source);
                let created = self.create(session, &resource, &namespace, &wanted).await;
                (created.map_err(|error| error.prefixed(&words))?, "created")
            }
            Err(error) => return Err(retrieving(error, object)),
        };
        let result = key_order::sorted(&result);
        if matches!(self.telling.format, OutputFormat::Human | OutputFormat::Name) {
            self.telling.tell(&resource, &result, done)?;
            return Ok(None);
        }
        Ok(Some(result))
    }

    async fn create(
        &self,
        session: &Session,
        resource: &Resource,
        namespace: &str,
        wanted: &Value,
    ) -> Result<Value, Failure> {
        if self.telling.dry_run == DryRun::Client {
            return Ok(wanted.clone());
        }
        session.post(&self.with_parameters(&resource.collection(Some(namespace))), wanted).await
    }

    async fn update(
        &self,
        session: &Session,
        path: &str,
        wanted: &Value,
        mut current: Value,
        resource: &Resource,
        object: &ManifestObject,
    ) -> Result<(Value, &'static str), Failure> {
        if current["metadata"]["annotations"][LAST_APPLIED].is_null() {
            output::warning(&format!(
                "resource {}/{} is missing the {LAST_APPLIED} annotation which is required by sluice apply. sluice apply should only be used on resources created declaratively by either sluice create --save-config or sluice apply. The missing annotation will be patched automatically.",
                resource.plural,
                object.name()
            ));
        }
        let shape = three_way::shape_of(&resource.api_version(), &resource.kind);
        let kind = if shape.is_some() { PatchKind::Strategic } else { PatchKind::Merge };
        let mut tries = 0;
        loop {
            let patch = three_way::patch(shape, &last_applied(&current), wanted, &current);
            if patch == json!({}) {
                return Ok((current, "unchanged"));
            }
            if self.telling.dry_run == DryRun::Client {
                return Ok((current, "configured"));
            }
            tries += 1;
            match session.patch(&self.with_parameters(path), kind, &patch).await {
                Ok(updated) => return Ok((updated, "configured")),
                Err(error) if error.is_conflict() && tries < CONFLICT_RETRIES => {
                    current = session.get(path, JSON).await?;
                }
                Err(error) => return Err(patching(error, &patch, object, resource)),
            }
        }
    }

    fn with_parameters(&self, path: &str) -> String {
        let parameters = [
            ("dryRun", self.telling.dry_run.query()),
            ("fieldManager", FIELD_MANAGER),
            ("fieldValidation", self.validation),
        ];
        with_query(path, &parameters)
    }
}

fn retrieving(error: Failure, object: &ManifestObject) -> Failure {
    error.prefixed(&format!("error when retrieving current configuration of {:?}: ", object.source))
}

fn patching(error: Failure, patch: &Value, object: &ManifestObject, resource: &Resource) -> Failure {
    let words = format!(
        "error when applying patch:\n{}\nto:\nResource: {:?}, GroupVersionKind: {:?}\nName: {:?}, Namespace: {:?}\nfor: {:?}: ",
        go_json::compact(&key_order::sorted(patch)),
        group_version(resource, &format!("Resource={}", resource.plural)),
        group_version(resource, &format!("Kind={}", resource.kind)),
        object.name(),
        object.value["metadata"]["namespace"].as_str().unwrap_or_default(),
        object.source,
    );
    match error {
        // kubectl tells an invalid object without the patch.
        Failure::Server(status) if status.reason == "Invalid" => Failure::Server(status),
        other => other.prefixed(&words),
    }
}

fn group_version(resource: &Resource, what: &str) -> String {
    format!("{}/{}, {what}", resource.group, resource.version)
}

/// The object with its namespace and the annotation that remembers it.
fn wanted(object: &Value, resource: &Resource, namespace: &str) -> Value {
    let mut wanted = object.clone();
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        if resource.namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
    }
    let remembered = format!("{}\n", go_json::compact(&key_order::sorted(&wanted)));
    wanted["metadata"]["annotations"][LAST_APPLIED] = remembered.into();
    wanted
}

fn last_applied(current: &Value) -> Value {
    let text = current["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or(Value::Null)
}
