//! The shape of the kinds: which fields a message has, of which type, under which protobuf number.
//!
//! One table (`schema/kinds.txt`) serves the strict JSON decoder, the protobuf decoder and whoever needs a list's merge key, so
//! that they cannot disagree. It tells shapes, never meaning: defaults and rules are in `defaults` and `validate`. The
//! types of `k8s-openapi` cannot serve here: they keep neither Go's type names (which error texts show) nor protobuf numbers
//! nor which empty fields kube-apiserver writes.

mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

/// A message's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(usize);

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text; with the name of its Go type where that is not `string`.
    Text(Option<&'static str>),
    /// True or false.
    Bool,
    /// A signed number of 32 bits.
    Int32,
    /// A signed number of 64 bits.
    Int64,
    /// Base64 in JSON, bytes in protobuf.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// An amount with a unit, such as `100m` or `1Gi`.
    Quantity,
    /// A number or a name.
    IntOrString,
    /// Any JSON (`FieldsV1`, `RawExtension`).
    Raw,
    /// A list.
    List(Box<Shape>),
    /// An object with free keys.
    Map(Box<Shape>),
    /// Another message.
    Message(MessageId),
}

/// When a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Always, as a zero value if need be.
    Always,
    /// Not if it is empty; a message is written even then (Go's `omitempty`).
    NotEmpty,
    /// Not if it is zero (Go's `omitzero`).
    NotZero,
    /// If it was given (a pointer in Go): zero is a value.
    Given,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Number in protobuf; 0 if protobuf does not carry it.
    pub number: u32,
    /// What it holds.
    pub shape: Shape,
    /// When it is written.
    pub presence: Presence,
    /// The key by which a strategic merge patch matches list items; `Some("")` for lists that merge as sets.
    pub merge_key: Option<&'static str>,
    /// True if a strategic merge patch may carry `$retainKeys` for it.
    pub retain_keys: bool,
}

/// One part of a message.
#[derive(Debug)]
pub enum Member {
    /// A field of its own.
    Field(Field),
    /// Fields that JSON writes in line and protobuf as a message under this number.
    Inline(u32, MessageId),
}

/// A message: an object of JSON with known fields.
#[derive(Debug)]
pub struct Message {
    /// Name of its Go type: `ServicePort`.
    pub name: &'static str,
    /// True if it carries `apiVersion` and `kind` itself.
    pub typed: bool,
    /// Its parts, in the order in which kube-apiserver writes them.
    pub members: Vec<Member>,
}

struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, MessageId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| table::parse(include_str!("schema/kinds.txt")));

impl MessageId {
    /// The message.
    pub fn message(self) -> &'static Message {
        &TABLE.messages[self.0]
    }
}

/// The message of a kind; `group` tells apart kinds that share a name (`Event`).
pub fn of_kind(group: &str, kind: &str) -> Option<&'static Message> {
    let label = group.split('.').next().unwrap_or_default();
    let qualified = format!("{label}.{kind}");
    let id = TABLE.by_name.get(qualified.as_str()).or_else(|| TABLE.by_name.get(kind))?;
    Some(id.message()).filter(|message| message.typed)
}

/// Any message by its Go name, such as `PodSpec`.
pub fn named(name: &str) -> Option<&'static Message> {
    TABLE.by_name.get(name).map(|id| id.message())
}

impl Message {
    /// The field of that JSON name, also among those written in line.
    pub fn field(&'static self, name: &str) -> Option<&'static Field> {
        self.members.iter().find_map(|member| match member {
            Member::Field(field) => Some(field).filter(|field| field.name == name),
            Member::Inline(_, id) => id.message().field(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_their_fields_are_found() {
        let service = of_kind("", "Service").unwrap();
        let spec = service.field("spec").unwrap();
        let Shape::Message(id) = spec.shape else { panic!("{spec:?}") };
        let ports = id.message().field("ports").unwrap();
        assert_eq!((ports.number, ports.merge_key), (1, Some("port")));
        assert_eq!(of_kind("discovery.k8s.io", "EndpointSlice").unwrap().name, "EndpointSlice");
        assert!(of_kind("events.k8s.io", "Event").unwrap().field("note").is_some());
        assert!(of_kind("", "Event").unwrap().field("message").is_some());
        assert!(of_kind("", "ServiceSpec").is_none() && of_kind("", "Wibble").is_none());
    }

    #[test]
    fn fields_in_line_and_marks() {
        let volumes = named("PodSpec").unwrap().field("volumes").unwrap();
        assert_eq!((volumes.merge_key, volumes.retain_keys), (Some("name"), true));
        assert_eq!(named("Volume").unwrap().field("emptyDir").unwrap().presence, Presence::Given);
        assert_eq!(named("ObjectMeta").unwrap().field("finalizers").unwrap().merge_key, Some(""));
        let kind = named("ServiceSpec").unwrap().field("type").unwrap();
        assert_eq!(kind.shape, Shape::Text(Some("v1.ServiceType")));
    }
}
