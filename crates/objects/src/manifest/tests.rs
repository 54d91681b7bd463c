use super::*;
use proptest::prelude::*;

fn names(text: &str) -> Vec<String> {
    let objects = parse(text).unwrap();
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn documents_and_lists_are_taken_apart() {
    let cases = [
        ("", vec![]),
        ("---\n# nothing\n---\n", vec![]),
        ("metadata: {name: a}\n---\n---\nmetadata:\n  name: b\n...\n", vec!["a", "b"]),
        ("{\"metadata\":{\"name\":\"a\"}}\n{\"metadata\":{\"name\":\"b\"}}", vec!["a", "b"]),
        (
            "kind: List\nitems:\n- metadata: {name: a}\n- kind: PodList\n  items: [{metadata: {name: b}}]\n",
            vec!["a", "b"],
        ),
        ("kind: PodList\nmetadata: {name: odd}\n", vec!["odd"]),
    ];
    for (text, expected) in cases {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn values_are_those_that_kubectl_reads() {
    let text = "mode: 0644\nport: 80\nquoted: \"80\"\nratio: 1.5\nyes: true\nnone: ~\ntime: 2026-01-02\nfolded: |\n  a\n  b\nhex: 0x10\n";
    let object = parse(text).unwrap().remove(0);
    let expected = serde_json::json!({
        "mode": 420, "port": 80, "quoted": "80", "ratio": 1.5, "yes": true, "none": null, "time": "2026-01-02",
        "folded": "a\nb\n", "hex": 16,
    });
    assert_eq!(object, expected);
}

#[test]
fn anchors_are_expanded() {
    let text = "base: &base {a: 1}\nother: *base\nmerged:\n  <<: *base\n  b: 2\n";
    let object = parse(text).unwrap().remove(0);
    assert_eq!(object["other"]["a"], 1);
    assert_eq!(object["merged"], serde_json::json!({"a": 1, "b": 2}));
}

#[test]
fn mistakes_have_their_place() {
    let cases = [
        ("kind: Pod\nkind: Pod\n", (2, 1)),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", (4, 3)),
        ("kind: Pod\nmetadata: [\n", (2, 11)),
        ("kind: Pod\n\tmetadata: x\n", (1, 7)),
        ("a: b: c\n", (1, 5)),
        ("a: 1\n---\nb: @x\n", (3, 4)),
        ("{\"a\": 1,\n \"a\": 2}", (2, 4)),
        ("{\"a\": 1\n", (2, 1)),
        ("{\"a\" 1}", (1, 6)),
        ("just text\n", (1, 1)),
    ];
    let places: Vec<_> = cases
        .iter()
        .map(|(text, place)| {
            let error = parse(text).unwrap_err();
            (*text, (error.line, error.column), *place, error.message)
        })
        .collect();
    for (text, found, expected, message) in places {
        assert_eq!(found, expected, "{text:?}: {message}");
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    }
}

#[test]
fn a_small_file_cannot_become_a_huge_one() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(parse(&text).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[a-c:\\-{}\\[\\],&*!|>'\"# \n\t0-9~<%@.]{0,60}") {
        let _ = parse(&text);
    }
}
