//! Templates and what kubectl prints for them.

use serde_json::{Value, json};

use super::*;

fn services() -> Value {
    json!({"kind": "List", "items": [
        {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
         "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443, "name": "https"}]}},
        {"metadata": {"name": "b"},
         "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 53, "name": "dns"}, {"port": 80, "name": "http"}]}},
    ]})
}

#[test]
fn templates_print_what_kubectl_prints() {
    let cases = [
        ("{.items[*].metadata.name}", "a b"),
        ("{$.kind}: {.items[0].metadata.name}", "List: a"),
        ("{.items[-1].metadata.name}", "b"),
        (
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.clusterIP}{\"\\n\"}{end}",
            "a\t10.96.0.1\nb\t10.96.0.2\n",
        ),
        (
            "{range .items[*]}{.metadata.name}{'='}{range .spec.ports[*]}{.port},{end}{';'}{end}",
            "a=443,;b=53,80,;",
        ),
        ("{.items[?(@.metadata.name==\"b\")].spec.clusterIP}", "10.96.0.2"),
        ("{.items[1].spec.ports[?(@.port>60)].name}", "http"),
        ("{.items[*].spec.ports[?(@.name!='dns')].port}", "443 80"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
        ("{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}", "x"),
        ("{.items[*]['metadata.name','spec.clusterIP']}", "a b 10.96.0.1 10.96.0.2"),
        ("{.items[0]['spec','metadata']['clusterIP','name']}", "10.96.0.1 a"),
        ("{.items[1].spec.ports[0,1].port}", "53 80"),
        ("{.items[1].spec.ports[0:1].port}", "53"),
        ("{.items[1].spec.ports[1:].port}", "80"),
        ("{.items[1].spec.ports}", r#"[{"name":"dns","port":53},{"name":"http","port":80}]"#),
        ("{..clusterIP}", "10.96.0.1 10.96.0.2"),
        ("{.nope.never}", ""),
        ("plain", "plain"),
        ("{.kind}{\"\\n\"}", "List\n"),
    ];
    for (template, expected) in cases {
        let rendered = Template::parse(template).and_then(|parsed| parsed.render(&services()));
        assert_eq!(rendered.as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn bad_templates_are_refused() {
    let cases = [
        ("{.items[5]}", "array index out of bounds: index 5, length 2"),
        ("{.items", "unclosed action"),
        ("{end}", "not in range, nothing to end"),
        ("{range .items[*]}", "unterminated range"),
        ("{.items[x]}", "invalid array index x"),
        ("{.items[0].metadata.name[0]}", "string is not array or slice"),
        ("{items}", "unrecognized identifier items"),
    ];
    for (template, expected) in cases {
        let rendered = Template::parse(template).and_then(|parsed| parsed.render(&services()));
        assert_eq!(rendered, Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn single_paths_may_be_written_in_four_ways() {
    for text in ["spec.x", ".spec.x", "{.spec.x}", "{spec.x}"] {
        assert_eq!(relaxed(text), Ok(vec![Step::Field("spec".into()), Step::Field("x".into())]), "{text}");
    }
    assert!(relaxed("{.a}{.b}").is_err());
}
