//! Documents against kubectl's own output.

use serde_json::{Value, json};

use super::document;

#[test]
fn layout_is_that_of_kubectl() {
    let value = json!({"kind": "X", "a": {}, "b": [], "c": [1, [2, 3], {"y": null, "x": [true]}], "e": {"z10": 1, "z2": 1.5}});
    let expected = "a: {}\nb: []\nc:\n- 1\n- - 2\n  - 3\n- x:\n  - true\n  \"y\": null\ne:\n  z2: 1.5\n  z10: 1\nkind: X\n";
    assert_eq!(document(&value), expected);
    assert_eq!(document(&json!({})), "{}\n");
}

#[test]
fn strings_recorded_from_kubectl() {
    let strings: Value = serde_json::from_str(include_str!("testdata/strings.json")).unwrap();
    assert_eq!(document(&strings), include_str!("testdata/strings.yaml"));
}
