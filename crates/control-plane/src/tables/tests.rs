//! Rows of kube-apiserver 1.37.2 (`recorded.jsonl`), with the objects that they were made from.

use super::*;
use objects::resource::RESOURCES;

/// Ages depend on when the rows were recorded; other durations are coarse enough.
const VARYING: [&str; 1] = ["Age"];

fn recorded_at() -> Timestamp {
    "2026-11-24T07:20:00Z".parse().unwrap()
}

#[test]
fn rows_are_kube_apiservers() {
    for line in include_str!("recorded.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let is = |r: &&Resource| case["resource"] == r.plural && case["group"] == r.group;
        let resource = RESOURCES.iter().find(is).unwrap();
        let table = render(resource, std::slice::from_ref(&case["object"]), recorded_at());
        let columns = table.columns.as_array().unwrap();
        assert_eq!(table.rows[0].cells.len(), columns.len(), "{}", resource.plural);
        for (index, column) in columns.iter().enumerate() {
            let name = text(column, "name");
            if !VARYING.contains(&name) {
                assert_eq!(table.rows[0].cells[index], case["cells"][index], "{name} of {line}");
            }
        }
        assert_eq!(json!(table.rows[0].conditions), case["conditions"], "{line}");
    }
}

#[test]
fn every_resource_has_as_many_cells_as_columns() {
    let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-11-24T07:19:00Z"}});
    for resource in RESOURCES {
        let table = render(resource, std::slice::from_ref(&object), recorded_at());
        assert_eq!(table.rows[0].cells.len(), table.columns.as_array().unwrap().len(), "{}", resource.plural);
    }
}

#[test]
fn ages_are_seen_from_now() {
    let resource = RESOURCES.iter().find(|r| r.plural == "namespaces").unwrap();
    let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-11-24T07:17:50Z"}, "status": {"phase": "Active"}});
    let table = render(resource, &[object], recorded_at());
    assert_eq!(table.rows[0].cells, [json!("x"), json!("Active"), json!("2m10s")]);
}
