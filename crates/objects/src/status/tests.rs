use serde_json::json;

use super::{FieldError, Status};
use crate::resource::by_kind;

#[test]
fn texts_are_those_of_kube_apiserver() {
    let services = by_kind("v1", "Service").unwrap();
    let deployments = by_kind("apps/v1", "Deployment").unwrap();
    let cases = [
        (Status::not_found(services, "x"), 404, "services \"x\" not found"),
        (Status::not_found(deployments, "x"), 404, "deployments.apps \"x\" not found"),
        (Status::already_exists(services, "x", false), 409, "services \"x\" already exists"),
        (
            Status::stale(services, "x"),
            409,
            "Operation cannot be fulfilled on services \"x\": the object has been modified; please apply your \
             changes to the latest version and try again",
        ),
        (
            Status::invalid(services, "x", &[FieldError::required("spec.ports", "")]),
            422,
            "Service \"x\" is invalid: spec.ports: Required value",
        ),
        (
            Status::invalid(
                deployments,
                "x",
                &[FieldError::invalid("a", 0, "b"), FieldError::duplicate("c", "d")],
            ),
            422,
            "Deployment.apps \"x\" is invalid: [a: Invalid value: 0: b, c: Duplicate value: \"d\"]",
        ),
        (Status::expired(3, 7), 410, "too old resource version: 3 (7)"),
        (Status::too_large_revision(9, 7), 504, "Timeout: Too large resource version: 9, current: 7"),
        (Status::too_large(3145728), 413, "Request entity too large: limit is 3145728"),
    ];
    for (status, code, message) in cases {
        assert_eq!((status.code, status.message.as_str()), (code, message));
        assert_eq!(status.to_json()["code"], code);
    }
}

#[test]
fn details_name_the_resource_and_for_invalid_the_kind() {
    let services = by_kind("v1", "Service").unwrap();
    assert_eq!(
        Status::not_found(services, "x").to_json()["details"],
        json!({"name": "x", "kind": "services"})
    );
    let unsupported = FieldError::not_supported("spec.type", "X", &["ClusterIP", "NodePort"]);
    assert_eq!(
        Status::invalid(services, "x", &[unsupported]).to_json()["details"],
        json!({"name": "x", "kind": "Service", "causes": [{
            "reason": "FieldValueNotSupported",
            "message": "Unsupported value: \"X\": supported values: \"ClusterIP\", \"NodePort\"",
            "field": "spec.type",
        }]})
    );
}

#[test]
fn values_are_printed_as_go_prints_them() {
    let cases = [
        (json!("a\"\\\n\u{1}é"), r#""a\"\\\n\x01é""#),
        (json!({"k": "<&>"}), r#"{"k":"\u003c\u0026\u003e"}"#),
        (json!(["a", 1]), r#"["a",1]"#),
        (json!(null), "null"),
    ];
    for (value, shown) in cases {
        assert_eq!(FieldError::invalid("f", value, "d").to_string(), format!("f: Invalid value: {shown}: d"));
    }
}
