//! Each recorded line is a body in base64 and what Go's decoder makes of it: `kubectl.txt` from kubectl 1.37 (1.33 sends the same
//! bytes), `every-field.txt` with every field of each kind set.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const KUBECTL: &str = include_str!("recorded/kubectl.txt");
const EVERY_FIELD: &str = include_str!("recorded/every-field.txt");

fn bodies(text: &str) -> impl Iterator<Item = (Vec<u8>, Value)> {
    text.lines().map(|line| {
        let (body, json) = line.split_once(' ').unwrap();
        (STANDARD.decode(body).unwrap(), serde_json::from_str(json).unwrap())
    })
}

#[test]
fn bodies_say_the_same_as_their_json() {
    for (body, json) in bodies(KUBECTL).chain(bodies(EVERY_FIELD)) {
        let (version, kind) = (json["apiVersion"].as_str().unwrap(), json["kind"].as_str().unwrap());
        let expected = crate::decode::decode(version, kind, json.to_string().as_bytes()).unwrap();
        assert_eq!(expected.strict, [""; 0], "{version} {kind}");
        let decoded = decode(&body).unwrap();
        assert_eq!(decoded.to_string(), expected.object.to_string(), "{version} {kind}");
    }
}

#[test]
fn create_deployment_reads_as_its_manifest() {
    let (body, _) = bodies(KUBECTL).next().unwrap();
    assert_eq!(
        decode(&body).unwrap().to_string(),
        r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"podinfo","labels":{"app":"podinfo"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"podinfo"}},"template":{"metadata":{"labels":{"app":"podinfo"}},"spec":{"containers":[{"name":"podinfo","image":"podinfo","ports":[{"containerPort":9898}],"resources":{}}]}},"strategy":{}},"status":{}}"#
    );
}

#[test]
fn truncated_bodies_are_read_or_refused() {
    let (body, _) = bodies(EVERY_FIELD).nth(1).unwrap();
    for length in 0..body.len() {
        let _ = decode(&body[..length]);
    }
}

/// An envelope around a message.
fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut type_meta = vec![0x0a, 2, b'v', b'1', 0x12, kind.len() as u8];
    type_meta.extend(kind.as_bytes());
    let mut body = MAGIC.to_vec();
    body.extend([0x0a, type_meta.len() as u8]);
    body.extend(type_meta);
    body.extend([0x12]);
    body.extend(length(raw.len()));
    body.extend(raw);
    body
}

fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn hostile_bodies_are_refused() {
    let many_containers = {
        let list: Vec<u8> = [0x12, 0].repeat(1_000_000);
        let spec = [vec![0x12], length(list.len()), list].concat();
        envelope("Pod", &spec)
    };
    let cases: [(&str, Vec<u8>, ProtobufError); 9] = [
        ("empty", Vec::new(), ProtobufError::Magic),
        ("json", b"{}".to_vec(), ProtobufError::Magic),
        (
            "no type",
            MAGIC.to_vec(),
            ProtobufError::UnknownKind { kind: String::new(), version: String::new() },
        ),
        ("huge length", envelope("Pod", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]), ProtobufError::Truncated),
        ("overlong number", envelope("Pod", &[0xff; 11]), ProtobufError::Malformed("integer overflow")),
        ("group", envelope("Pod", &[0x0b]), ProtobufError::Malformed("wire type")),
        ("number for a message", envelope("Pod", &[0x08, 1]), ProtobufError::WireType("metadata")),
        (
            "name not UTF-8",
            envelope("Pod", &[0x0a, 3, 0x0a, 1, 0xff]),
            ProtobufError::Malformed("invalid UTF-8"),
        ),
        ("many messages", many_containers, ProtobufError::TooMany("messages")),
    ];
    for (name, body, error) in cases {
        assert_eq!(read(&body), Err(error), "{name}");
    }
}

#[test]
fn unknown_fields_are_skipped() {
    let body = envelope("ConfigMap", &[0xfa, 0x3f, 1, b'x', 0xf0, 0x3f, 5, 0x0a, 3, 0x0a, 1, b'n']);
    assert_eq!(decode(&body).unwrap()["metadata"]["name"], "n");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in ["Pod", "Service", "Node", "Secret", "Event"] {
            let _ = decode(&envelope(kind, &bytes));
        }
        let _ = decode(&[MAGIC, &bytes].concat());
    }

    #[test]
    fn damaged_bodies_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in any::<prop::sample::Index>()) {
        let all: Vec<_> = bodies(EVERY_FIELD).collect();
        let mut body = all[which.index(all.len())].0.clone();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode(&body);
    }
}
