//! The Kubernetes objects of a scenario: YAML documents in, typed [`Event`]s out.
//!
//! Errors of the YAML parser and of the types keep their position: a document's line is added to the parser's.

use std::fmt;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use services::ServiceName;

use super::text::{Line, ParseError};

/// Kinds that a scenario may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `networking.k8s.io/v1` ServiceCIDR.
    ServiceCidr,
}

/// Kinds of a `delete` line, for the error message.
const KINDS: &str = "`Service`, `EndpointSlice`, `Node`, `Namespace` or `ServiceCIDR`";

/// Identity of an object: events of one key keep their order, whatever else is permuted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Namespace (`""` for Nodes and Namespaces) and name.
    pub name: ServiceName,
}

/// An object.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Service.
    Service(Box<core::Service>),
    /// An EndpointSlice.
    EndpointSlice(Box<discovery::EndpointSlice>),
    /// A Node.
    Node(Box<core::Node>),
    /// A Namespace.
    Namespace,
    /// A ServiceCIDR.
    ServiceCidr(Box<networking::ServiceCIDR>),
}

/// What a watch would tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is there, new or changed.
    Apply(Key, Object),
    /// The object is gone.
    Delete(Key),
}

impl Event {
    /// Whose event it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Apply(key, _) | Self::Delete(key) => key,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Service | Kind::EndpointSlice => write!(f, "{:?} {}", self.kind, self.name),
            Kind::Node | Kind::Namespace => write!(f, "{:?} {}", self.kind, self.name.name()),
            Kind::ServiceCidr => write!(f, "ServiceCIDR {}", self.name.name()),
        }
    }
}

/// Reads the documents of an `objects` or `apply` section.
pub(super) fn parse_documents(body: &[Line<'_>]) -> Result<Vec<Event>, ParseError> {
    let mut events = Vec::new();
    for document in body.split(|line| line.text.trim_end() == "---") {
        let said =
            |line: &&Line<'_>| !line.text.trim().is_empty() && !line.text.trim_start().starts_with('#');
        if document.iter().any(|line| said(&line)) {
            events.push(parse_document(document)?);
        }
    }
    Ok(events)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

fn parse_document(lines: &[Line<'_>]) -> Result<Event, ParseError> {
    let text: Vec<&str> = lines.iter().map(|line| line.text).collect();
    let text = text.join("\n");
    let header: Header = read(lines, &text)?;
    let namespace = header.metadata.namespace.as_deref().unwrap_or("default");
    let name = header.metadata.name.as_str();
    let (kind, object) = match (header.api_version.as_str(), header.kind.as_str()) {
        ("v1", "Service") => (Kind::Service, Object::Service(Box::new(read(lines, &text)?))),
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            (Kind::EndpointSlice, Object::EndpointSlice(Box::new(read(lines, &text)?)))
        }
        ("v1", "Node") => (Kind::Node, Object::Node(Box::new(read(lines, &text)?))),
        ("v1", "Namespace") => (Kind::Namespace, Object::Namespace),
        ("networking.k8s.io/v1", "ServiceCIDR") => {
            (Kind::ServiceCidr, Object::ServiceCidr(Box::new(read(lines, &text)?)))
        }
        (version, kind) => {
            let kinds = "v1 Service, Node or Namespace, discovery.k8s.io/v1 EndpointSlice or networking.k8s.io/v1 ServiceCIDR";
            let at = lines.iter().find(|line| line.text.starts_with("kind:")).unwrap_or(&lines[0]);
            return Err(at.error(0, format!("expected {kinds}, found `{version} {kind}`")));
        }
    };
    refuse_unknown(lines, &text, &header)?;
    let key = Key { kind, name: key_name(kind, namespace, name) };
    Ok(Event::Apply(key, with_namespace(object, namespace)))
}

/// Refuses fields that Kubernetes does not have, as the API server would: a typing error must not go unseen.
fn refuse_unknown(lines: &[Line<'_>], text: &str, header: &Header) -> Result<(), ParseError> {
    let value: serde_json::Value = read(lines, text)?;
    let decoded = objects::decode::decode(&header.api_version, &header.kind, value.to_string().as_bytes());
    let complaint = match decoded {
        Ok(decoded) => decoded.strict.into_iter().next(),
        Err(error) => Some(error.to_string()),
    };
    let Some(complaint) = complaint else { return Ok(()) };
    // The complaint ends in the field's path; the last part of it is what the line says.
    let field = complaint.rsplit(['.', '"']).find(|part| !part.is_empty()).unwrap_or_default();
    let (line, at) =
        lines.iter().find_map(|line| line.text.find(field).map(|at| (line, at))).unwrap_or((&lines[0], 0));
    Err(line.error(at, format!("expected a {} of Kubernetes, found {complaint}", header.kind)))
}

/// Objects get the namespace that the API server would have given them.
fn with_namespace(mut object: Object, namespace: &str) -> Object {
    match &mut object {
        Object::Service(service) => service.metadata.namespace = Some(namespace.to_owned()),
        Object::EndpointSlice(slice) => slice.metadata.namespace = Some(namespace.to_owned()),
        Object::Node(_) | Object::Namespace | Object::ServiceCidr(_) => {}
    }
    object
}

fn key_name(kind: Kind, namespace: &str, name: &str) -> ServiceName {
    match kind {
        Kind::Service | Kind::EndpointSlice => ServiceName::new(namespace, name),
        Kind::Node | Kind::Namespace | Kind::ServiceCidr => ServiceName::new("", name),
    }
}

fn read<T: DeserializeOwned>(lines: &[Line<'_>], text: &str) -> Result<T, ParseError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let plain = error.without_snippet();
        let place = plain.location();
        let row = place.map_or(1, |place| usize::try_from(place.line()).unwrap_or(1)).clamp(1, lines.len());
        let column = place.map_or(1, |place| usize::try_from(place.column()).unwrap_or(1));
        let line = lines[row - 1];
        let message = format!("expected a Kubernetes object, found a mistake in its YAML: {plain}");
        ParseError { file: line.file.to_owned(), line: line.number, column, message }
    })
}

/// Reads a line of a `delete` section: `Service default/podinfo`, `Node worker-2`.
pub(super) fn parse_delete(line: Line<'_>) -> Result<Event, ParseError> {
    let mut words = line.words();
    let word = words.need(KINDS)?;
    let kind = match word.text {
        "Service" => Kind::Service,
        "EndpointSlice" => Kind::EndpointSlice,
        "Node" => Kind::Node,
        "Namespace" => Kind::Namespace,
        "ServiceCIDR" => Kind::ServiceCidr,
        _ => return Err(word.expected(KINDS)),
    };
    let key = match kind {
        Kind::Service | Kind::EndpointSlice => {
            let word = words.need("NAMESPACE/NAME")?;
            let (namespace, name) =
                word.text.split_once('/').ok_or_else(|| word.expected("NAMESPACE/NAME"))?;
            Key { kind, name: ServiceName::new(namespace, name) }
        }
        Kind::Node | Kind::Namespace | Kind::ServiceCidr => {
            Key { kind, name: ServiceName::new("", words.need("a name")?.text) }
        }
    };
    words.finish()?;
    Ok(Event::Delete(key))
}
