//! The texts are those of kube-apiserver 1.37.2, recorded.

use super::*;
use serde_json::json;

fn refusal(group_version: &str, kind: &str, body: &str) -> String {
    match decode(group_version, kind, body.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(decoded) => strict_error(group_version, kind, &decoded.strict).unwrap_or_default(),
    }
}

const SERVICES: &[(&str, &str)] = &[
    (
        r#"{"kind":"Service","spec":{"prots":[{"port":80}]},"x":1}"#,
        r#"strict decoding error: unknown field "spec.prots", unknown field "x""#,
    ),
    (
        r#"{"spec":{"ports":[{"port":80,"port":81,"nmae":"x"}]}}"#,
        r#"strict decoding error: duplicate field "spec.ports[0].port", unknown field "spec.ports[0].nmae""#,
    ),
    (r#"{"spec":{"Ports":[{"port":80}]}}"#, r#"strict decoding error: unknown field "spec.Ports""#),
    (
        r#"{"metadata":{"labels":{"a":"b","a":"c"}}}"#,
        r#"strict decoding error: duplicate field "metadata.labels.a""#,
    ),
    (
        r#"{"spec":{"ports":[{"port":"80"}]}}"#,
        "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (
        r#"{"spec":{"type":5}}"#,
        "json: cannot unmarshal number into Go struct field ServiceSpec.spec.type of type v1.ServiceType",
    ),
    (
        r#"{"metadata":{"name":5},"spec":{"type":5}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    ),
    (
        r#"{"metadata":[],"spec":{"type":5}}"#,
        "json: cannot unmarshal array into Go struct field Service.metadata of type v1.ObjectMeta",
    ),
    (
        r#"{"metadata":{"labels":{"a":1}}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    ),
    (
        r#"{"metadata":{"labels":["a"]}}"#,
        "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
    ),
    (
        r#"{"spec":{"ports":{}}}"#,
        "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
    ),
    (
        r#"{"spec":{"ports":[5]}}"#,
        "json: cannot unmarshal number into Go struct field ServiceSpec.spec.ports of type v1.ServicePort",
    ),
    (
        r#"{"spec":{"ports":[{"port":80.5}]}}"#,
        "json: cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (
        r#"{"spec":{"ports":[{"port":80000000000}]}}"#,
        "json: cannot unmarshal number 80000000000 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (
        r#"{"spec":{"ports":[{"targetPort":true}]}}"#,
        "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
    ),
    (
        r#"{"metadata":{"creationTimestamp":"x"}}"#,
        r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#,
    ),
    (
        r#"{"metadata":{"creationTimestamp":5}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
    ),
    (
        r#"{"spec":{"publishNotReadyAddresses":"yes"}}"#,
        "json: cannot unmarshal string into Go struct field ServiceSpec.spec.publishNotReadyAddresses of type bool",
    ),
];

#[test]
fn services_are_refused_in_kube_apiservers_words() {
    for (body, text) in SERVICES {
        let expected = format!("Service in version \"v1\" cannot be handled as a Service: {text}");
        assert_eq!(refusal("v1", "Service", body), expected, "{body}");
    }
}

#[test]
fn other_kinds_are_refused_in_kube_apiservers_words() {
    let quantity =
        r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let pod = |cpu: &str| {
        format!(r#"{{"spec":{{"containers":[{{"name":"x","resources":{{"limits":{{"cpu":{cpu}}}}}}}]}}}}"#)
    };
    let cases = [
        ("v1", "Pod", pod("\"abc\""), quantity),
        ("v1", "Pod", pod("true"), quantity),
        ("v1", "Secret", r#"{"data":{"x":"!!"}}"#.to_owned(), "illegal base64 data at input byte 0"),
        ("v1", "Secret", r#"{"data":{"x":5}}"#.to_owned(), "json: cannot unmarshal number into Go struct field Secret.data of type []uint8"),
        ("apps/v1", "Deployment", r#"{"spec":{"selector":5}}"#.to_owned(), "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector"),
        ("apps/v1", "Deployment", r#"{"spec":{"selecter":5,"template":{"spec":{"containers":[{"image":"y","ports":[{"continerPort":5}],"image":"z"}]}}}}"#.to_owned(),
            r#"strict decoding error: unknown field "spec.selecter", unknown field "spec.template.spec.containers[0].ports[0].continerPort", duplicate field "spec.template.spec.containers[0].image""#),
    ];
    for (version, kind, body, text) in cases {
        let short = version.rsplit('/').next().unwrap();
        let expected = format!("{kind} in version \"{short}\" cannot be handled as a {kind}: {text}");
        assert_eq!(refusal(version, kind, &body), expected, "{body}");
    }
}

#[test]
fn bodies_that_are_no_object_of_the_kind() {
    let type_meta = r#"json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b315d)"#;
    let lost = |why: &str| {
        format!(
            "the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse error: {why}"
        )
    };
    let cases = [
        (r#"{"apiVersion":"v1", "kind": "#, lost(r#"unexpected end of JSON input ({"apiVersion":"v1", "kind": )"#)),
        ("[1]", lost(type_meta)),
        ("", lost("unexpected end of JSON input (<empty>)")),
        (r#"{"apiVersion":"v1","kind":"Pod"}"#, "Pod in version \"v1\" cannot be handled as a Service: converting (v1.Pod) to (core.Service): unknown conversion".to_owned()),
        (r#"{"apiVersion":"apps/v1","kind":"Service"}"#, "Service in version \"v1\" cannot be handled as a Service: no kind \"Service\" is registered for version \"apps/v1\" in scheme \"pkg/runtime/scheme.go:111\"".to_owned()),
        (r#"{"apiVersion":"v1","kind":"Wibble"}"#, "Wibble in version \"v1\" cannot be handled as a Service: no kind \"Wibble\" is registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:111\"".to_owned()),
    ];
    for (body, expected) in cases {
        assert_eq!(refusal("v1", "Service", body), expected, "{body}");
    }
}

#[test]
fn objects_come_out_in_written_form() {
    let body = json!({
        "metadata": {"name": "web", "creationTimestamp": null, "labels": {"b": "2", "a": null}},
        "spec": {"ports": [{"port": 80, "nodePort": 0, "name": ""}], "externalIPs": [], "clusterIP": null, "odd": 1},
    });
    let decoded = decode("v1", "Service", body.to_string().as_bytes()).unwrap();
    assert_eq!(decoded.strict, ["unknown field \"spec.odd\""]);
    assert_eq!(
        decoded.object.to_string(),
        r#"{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","labels":{"a":"","b":"2"}},"spec":{"ports":[{"port":80}]},"status":{"loadBalancer":{}}}"#
    );
}

#[test]
fn pointers_keep_their_zeros_and_times_are_normalised() {
    let body = r#"{"metadata":{"name":"d","creationTimestamp":"2026-01-02T05:04:05.123+02:00"},"spec":{"replicas":0,"template":{"spec":{"containers":[{"name":"c"}]}}}}"#;
    let decoded = decode("apps/v1", "Deployment", body.as_bytes()).unwrap();
    assert_eq!(
        decoded.object.to_string(),
        r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d","creationTimestamp":"2026-01-02T03:04:05Z"},"spec":{"replicas":0,"template":{"metadata":{},"spec":{"containers":[{"name":"c","resources":{}}]}},"strategy":{}},"status":{}}"#
    );
    let mut again = decoded.object.clone();
    canonicalize(crate::schema::of_kind("apps", "Deployment").unwrap(), &mut again);
    assert_eq!(again, decoded.object);
}

#[test]
fn hostile_bodies_are_refused() {
    let nested = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
    let deep = format!("{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{nested}}}]}}}}");
    assert!(refusal("v1", "Service", &deep).contains("recursion limit exceeded"));
    let wide = format!(r#"{{"spec":{{"ports":[{}{{}}]}}}}"#, "{},".repeat(300_000));
    assert!(refusal("v1", "Service", &wide).contains("more than 50000 objects in one body"));
}
