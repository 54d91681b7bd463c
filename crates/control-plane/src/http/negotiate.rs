//! What a client wants to read: the `Accept` header to one of the forms that we write.
//!
//! JSON only. Clients that would rather have protobuf name JSON as well and read what they get.

use http::HeaderMap;
use http::header::ACCEPT;
use objects::status::Status;

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Object,
    /// As rows for people.
    Table,
    /// Their metadata only.
    Metadata,
}

/// A form of the discovery documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discovery {
    /// One small document for each group and version.
    Plain,
    /// Everything at once, `apidiscovery.k8s.io/v2`.
    V2,
    /// The same as `v2beta1`, for kubectl to 1.29, which does not know its sucessor.
    V2Beta1,
}

const WRITTEN: &[&str] = &["application/json"];

/// One entry of an `Accept` header.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(self.media_type, "application/json" | "application/*" | "*/*")
    }
}

fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(range)
        .filter(|range| !range.media_type.is_empty())
        .collect()
}

fn range(text: &str) -> Range<'_> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    Range { media_type, parameters: parts.filter_map(|part| part.split_once('=')).collect() }
}

/// The form for objects.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Form::Object);
    }
    ranges
        .iter()
        .filter(|range| range.is_json())
        .find_map(form_of)
        .ok_or_else(|| Status::not_acceptable(WRITTEN))
}

fn form_of(range: &Range<'_>) -> Option<Form> {
    let meta = || range.parameter("g") == Some("meta.k8s.io") && range.parameter("v") == Some("v1");
    match range.parameter("as") {
        None => Some(Form::Object),
        Some("Table") if meta() => Some(Form::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta() => Some(Form::Metadata),
        Some(_) => None,
    }
}

/// The form for `/api` and `/apis`. A client that asks for `v2beta1` only fails on `v2`, so they are never confused.
pub(super) fn discovery(headers: &HeaderMap) -> Result<Discovery, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Discovery::Plain);
    }
    let found = ranges.iter().filter(|range| range.is_json()).find_map(discovery_of);
    found.ok_or_else(|| Status::not_acceptable(WRITTEN))
}

fn discovery_of(range: &Range<'_>) -> Option<Discovery> {
    let aggregated = range.parameter("g") == Some("apidiscovery.k8s.io")
        && range.parameter("as") == Some("APIGroupDiscoveryList");
    match range.parameter("v") {
        Some("v2") if aggregated => Some(Discovery::V2),
        Some("v2beta1") if aggregated => Some(Discovery::V2Beta1),
        _ if range.parameter("as").is_none() => Some(Discovery::Plain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accept(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn objects() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        let cases = [
            ("application/json", Some(Form::Object)),
            ("application/json, */*", Some(Form::Object)),
            ("*/*", Some(Form::Object)),
            (table, Some(Form::Table)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata)),
            ("application/json;as=Other;g=meta.k8s.io;v=v1", None),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ];
        for (text, expected) in cases {
            assert_eq!(form(&accept(text)).ok(), expected, "{text}");
        }
        assert_eq!(form(&HeaderMap::new()).ok(), Some(Form::Object));
    }

    #[test]
    fn discovery_versions_are_matched_exactly() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let cases = [
            ("application/json".to_owned(), Some(Discovery::Plain)),
            (format!("{v2},{beta},application/json"), Some(Discovery::V2)),
            (format!("{beta},application/json"), Some(Discovery::V2Beta1)),
            (
                "application/json;g=apidiscovery.k8s.io;v=v3;as=X,application/json".to_owned(),
                Some(Discovery::Plain),
            ),
            ("text/html".to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(discovery(&accept(&text)).ok(), expected, "{text}");
        }
    }
}
