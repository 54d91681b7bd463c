//! Lists, read page by page.

use serde_json::Value;

use super::{
    api::{Session, query::with_query, resource::Resource},
    failure::Failure,
};

/// Page size, kubectl's default of `--chunk-size`.
const PAGE: &str = "500";

/// Which objects of a type are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// One namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// Label selector.
    pub(crate) labels: String,
    /// Field selector.
    pub(crate) fields: String,
    /// `includeObject` of a Table: empty for metadata only, `Object` for all.
    pub(crate) include_object: &'static str,
}

impl Selection {
    /// Everything in one namespace.
    pub(crate) fn within(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::default() }
    }

    /// The path of the list with further query parameters.
    pub(crate) fn path(&self, resource: &Resource, more: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("fieldSelector", self.fields.as_str()),
            ("includeObject", self.include_object),
            ("labelSelector", self.labels.as_str()),
        ];
        parameters.extend_from_slice(more);
        with_query(&resource.collection(self.namespace.as_deref()), &parameters)
    }
}

/// Reads all pages into one list (or Table), with the metadata of the first.
pub(crate) async fn list(
    session: &Session,
    resource: &Resource,
    selection: &Selection,
    accept: &str,
) -> Result<Value, Failure> {
    let first = selection.path(resource, &[("limit", PAGE)]);
    let mut whole =
        session.get(&first, accept).await.map_err(|error| unable_to_list(error, resource, selection))?;
    while let Some(token) = whole["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
        let next = selection.path(resource, &[("continue", token), ("limit", PAGE)]);
        let mut page = session.get(&next, accept).await?;
        let key = if whole["kind"] == "Table" { "rows" } else { "items" };
        let more = page[key].take();
        if let (Some(all), Value::Array(more)) = (whole[key].as_array_mut(), more) {
            all.extend(more);
        }
        whole["metadata"]["continue"] = page["metadata"]["continue"].take();
    }
    Ok(whole)
}

/// kubectl names the selectors where a list is refused for them.
fn unable_to_list(error: Failure, resource: &Resource, selection: &Selection) -> Failure {
    match &error {
        Failure::Server(status) if status.reason == "BadRequest" => {
            let words = format!(
                "Unable to find {:?} that match label selector {:?}, field selector {:?}: ",
                format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural),
                selection.labels,
                selection.fields,
            );
            error.prefixed(&words)
        }
        _ => error,
    }
}

/// The items of a list, with the kind that list items leave out.
pub(crate) fn items(list: Value, resource: &Resource) -> Vec<Value> {
    let Value::Object(mut list) = list else { return Vec::new() };
    let Some(Value::Array(items)) = list.remove("items") else { return Vec::new() };
    let complete = |mut item: Value| {
        if item["kind"].is_null() {
            item["apiVersion"] = resource.api_version().into();
            item["kind"] = resource.kind.clone().into();
        }
        item
    };
    items.into_iter().map(complete).collect()
}
