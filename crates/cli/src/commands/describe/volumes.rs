//! The volumes of a pod or of a pod template.

use std::fmt::Write as _;

use serde_json::Value;

use super::metadata::{list, plain, text};

/// Describes volumes; `space` is the indentation of a template.
pub(super) fn describe_all(out: &mut String, volumes: &Value, space: &str) {
    if list(volumes).is_empty() {
        let _ = writeln!(out, "{space}Volumes:\t<none>");
        return;
    }
    let _ = writeln!(out, "{space}Volumes:");
    let indent = if space.is_empty() { "" } else { " " };
    for volume in list(volumes) {
        let _ = writeln!(out, "  {indent}{}:", text(&volume["name"]));
        describe(out, volume);
    }
}

fn describe(out: &mut String, volume: &Value) {
    let mut lines = |kind: &str, fields: &[(&str, String)]| {
        let _ = writeln!(out, "    Type:\t{kind}");
        for (title, value) in fields {
            let _ = writeln!(out, "    {title}:\t{value}");
        }
    };
    let given = |key: &str| Some(&volume[key]).filter(|source| !source.is_null());
    let optional = |source: &Value| (source["optional"] == true).to_string();
    let or = |value: &Value, other: &str| if value.is_null() { other.to_owned() } else { plain(value) };
    if let Some(path) = given("hostPath") {
        let fields = [("Path", plain(&path["path"])), ("HostPathType", or(&path["type"], "<none>"))];
        lines("HostPath (bare host directory volume)", &fields);
    } else if let Some(empty) = given("emptyDir") {
        let fields = [("Medium", plain(&empty["medium"])), ("SizeLimit", or(&empty["sizeLimit"], "<unset>"))];
        lines("EmptyDir (a temporary directory that shares a pod's lifetime)", &fields);
    } else if let Some(secret) = given("secret") {
        let fields = [("SecretName", plain(&secret["secretName"])), ("Optional", optional(secret))];
        lines("Secret (a volume populated by a Secret)", &fields);
    } else if let Some(map) = given("configMap") {
        let fields = [("Name", plain(&map["name"])), ("Optional", optional(map))];
        lines("ConfigMap (a volume populated by a ConfigMap)", &fields);
    } else if let Some(projected) = given("projected") {
        let fields: Vec<_> = list(&projected["sources"]).iter().flat_map(projected_source).collect();
        lines("Projected (a volume that contains injected data from multiple sources)", &fields);
    } else {
        let kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        lines(kinds.rev().find(|key| *key != "name").unwrap_or("<unknown>"), &[]);
    }
}

fn projected_source(source: &Value) -> Vec<(&'static str, String)> {
    let optional = |object: &Value| ("Optional", (object["optional"] == true).to_string());
    if let Some(secret) = source.get("secret") {
        vec![("SecretName", plain(&secret["name"])), optional(secret)]
    } else if source.get("downwardAPI").is_some() {
        vec![("DownwardAPI", "true".to_owned())]
    } else if let Some(map) = source.get("configMap") {
        vec![("ConfigMapName", plain(&map["name"])), optional(map)]
    } else if let Some(token) = source.get("serviceAccountToken") {
        vec![("TokenExpirationSeconds", plain(&token["expirationSeconds"]))]
    } else {
        Vec::new()
    }
}
