//! The parameters behind the `?` that the API knows; others are ignored, as upstream ignores them.

use objects::status::{FieldError, Status};
use serde_json::json;

/// What the parameters say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    pub(super) resource_version: String,
    pub(super) resource_version_match: String,
    pub(super) continue_token: String,
    pub(super) watch: bool,
    pub(super) allow_watch_bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) dry_run: bool,
    pub(super) field_validation: FieldValidation,
    pub(super) include_object: IncludeObject,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) propagation_policy: Option<String>,
    pub(super) orphan_dependents: Option<bool>,
    pub(super) container: String,
    /// Options with values that they cannot have.
    errors: Vec<FieldError>,
}

/// What to do about unknown and repeated fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a `Warning` header.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// What a table's rows carry of their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl Query {
    /// `options` is the kind that a refusal names, such as `CreateOptions`.
    ///
    /// # Errors
    /// If a parameter has a value that it cannot have.
    pub(super) fn parse(options: &str, text: &str) -> Result<Self, Status> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            query.take(&name, &value)?;
        }
        if query.errors.is_empty() { Ok(query) } else { Err(Status::invalid_options(options, &query.errors)) }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Status> {
        match name {
            "labelSelector" => value.clone_into(&mut self.label_selector),
            "fieldSelector" => value.clone_into(&mut self.field_selector),
            "resourceVersion" => value.clone_into(&mut self.resource_version),
            "resourceVersionMatch" => value.clone_into(&mut self.resource_version_match),
            "continue" => value.clone_into(&mut self.continue_token),
            "container" => value.clone_into(&mut self.container),
            "watch" => self.watch = flag(value),
            "allowWatchBookmarks" => self.allow_watch_bookmarks = flag(value),
            "sendInitialEvents" => self.send_initial_events = Some(flag(value)),
            "timeoutSeconds" => self.timeout_seconds = u64::try_from(number(value)?).ok(),
            "limit" => drop(number(value)?),
            "gracePeriodSeconds" => self.grace_period_seconds = Some(number(value)?),
            "propagationPolicy" => self.propagation_policy = Some(value.to_owned()),
            "orphanDependents" => self.orphan_dependents = Some(flag(value)),
            "dryRun" => self.take_dry_run(value),
            "fieldValidation" => self.take_field_validation(value),
            "includeObject" => self.include_object = include_object(value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_dry_run(&mut self, value: &str) {
        match value {
            "" => {}
            "All" => self.dry_run = true,
            other => self.errors.push(FieldError::not_supported("dryRun", json!([other]), &["All"])),
        }
    }

    fn take_field_validation(&mut self, value: &str) {
        self.field_validation = match value {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                return self.errors.push(FieldError::not_supported("fieldValidation", other, &supported));
            }
        };
    }
}

/// A flag is set by its name alone, and by anything that is not a no.
fn flag(value: &str) -> bool {
    !matches!(value, "false" | "0")
}

fn number(value: &str) -> Result<i64, Status> {
    value
        .parse()
        .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")))
}

fn include_object(value: &str) -> Result<IncludeObject, Status> {
    match value {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(
            "ListOptions",
            "labelSelector=app%3Dweb%2Ctier&watch=true&timeoutSeconds=7&limit=500&dryRun=All",
        )
        .unwrap();
        assert_eq!(query.label_selector, "app=web,tier");
        assert!(query.watch && query.dry_run);
        assert_eq!(query.timeout_seconds, Some(7));
        assert_eq!(query.field_validation, FieldValidation::Warn);
    }

    #[test]
    fn impossible_values_are_refused() {
        for (text, code) in [
            ("dryRun=Some", 422),
            ("fieldValidation=Maybe", 422),
            ("timeoutSeconds=soon", 400),
            ("limit=x", 400),
        ] {
            assert_eq!(Query::parse("CreateOptions", text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(
            Query::parse("CreateOptions", "dryRun=Some").unwrap_err().message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
        );
    }
}
