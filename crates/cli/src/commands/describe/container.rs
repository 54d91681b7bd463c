//! The containers of a pod or of a pod template.

use std::fmt::Write as _;

use serde_json::Value;

use super::metadata::{list, or_none, pairs, plain, text, time};

/// Describes containers; `space` is the indentation of a template, `pod` gives values to downward fields.
pub(super) fn describe_all(
    out: &mut String,
    label: &str,
    containers: &Value,
    statuses: &Value,
    pod: &Value,
    space: &str,
) {
    let containers = list(containers);
    let none = if containers.is_empty() { " <none>" } else { "" };
    let _ = writeln!(out, "{space}{label}:{none}");
    for container in containers {
        let status = list(statuses).iter().find(|status| status["name"] == container["name"]);
        basics(out, container, status, space);
        words(out, "Command", &container["command"]);
        words(out, "Args", &container["args"]);
        if let Some(status) = status {
            state(out, "State", &status["state"]);
            if !status["lastState"]["terminated"].is_null() {
                state(out, "Last State", &status["lastState"]);
            }
            let ready = if status["ready"] == true { "True" } else { "False" };
            let _ = writeln!(out, "    Ready:\t{ready}");
            let _ = writeln!(out, "    Restart Count:\t{}", status["restartCount"].as_i64().unwrap_or(0));
        }
        resources(out, &container["resources"]);
        probes(out, container);
        environment_sources(out, &container["envFrom"]);
        environment(out, &container["env"], pod);
        mounts(out, &container["volumeMounts"]);
    }
}

fn basics(out: &mut String, container: &Value, status: Option<&Value>, space: &str) {
    let indent = if space.is_empty() { "" } else { " " };
    let _ = writeln!(out, "  {indent}{}:", text(&container["name"]));
    if let Some(status) = status {
        let _ = writeln!(out, "    Container ID:\t{}", text(&status["containerID"]));
    }
    let _ = writeln!(out, "    Image:\t{}", text(&container["image"]));
    if let Some(status) = status {
        let _ = writeln!(out, "    Image ID:\t{}", text(&status["imageID"]));
    }
    for (title, key) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let ports = ports(&container["ports"], key);
        let plural = if ports.contains(',') { "s" } else { "" };
        let _ = writeln!(out, "    {title}{plural}:\t{}", or_none(&ports));
    }
    if let Some(profile) = container["securityContext"]["seccompProfile"]["type"].as_str() {
        let _ = writeln!(out, "    SeccompProfile:\t{profile}");
    }
}

fn ports(ports: &Value, key: &str) -> String {
    let port = |port: &Value| {
        let number = port[key].as_i64().unwrap_or(0);
        let protocol = text(&port["protocol"]);
        match text(&port["name"]) {
            "" => format!("{number}/{protocol}"),
            name => format!("{number}/{protocol} ({name})"),
        }
    };
    list(ports).iter().map(port).collect::<Vec<_>>().join(", ")
}

fn words(out: &mut String, title: &str, words: &Value) {
    if list(words).is_empty() {
        return;
    }
    let _ = writeln!(out, "    {title}:");
    for line in list(words).iter().flat_map(|word| text(word).split('\n')) {
        let _ = writeln!(out, "      {line}");
    }
}

fn state(out: &mut String, title: &str, state: &Value) {
    let (running, waiting, terminated) = (&state["running"], &state["waiting"], &state["terminated"]);
    if !running.is_null() {
        let _ = writeln!(out, "    {title}:\tRunning\n      Started:\t{}", time(&running["startedAt"]));
    } else if !terminated.is_null() {
        let _ = writeln!(out, "    {title}:\tTerminated");
        for (name, key) in [("Reason", "reason"), ("Message", "message")] {
            if let Some(value) = terminated[key].as_str().filter(|value| !value.is_empty()) {
                let _ = writeln!(out, "      {name}:\t{value}");
            }
        }
        let _ = writeln!(out, "      Exit Code:\t{}", terminated["exitCode"].as_i64().unwrap_or(0));
        if let Some(signal) = terminated["signal"].as_i64().filter(|signal| *signal > 0) {
            let _ = writeln!(out, "      Signal:\t{signal}");
        }
        let _ = writeln!(out, "      Started:\t{}", time(&terminated["startedAt"]));
        let _ = writeln!(out, "      Finished:\t{}", time(&terminated["finishedAt"]));
    } else {
        let _ = writeln!(out, "    {title}:\tWaiting");
        if let Some(reason) = waiting["reason"].as_str().filter(|reason| !reason.is_empty()) {
            let _ = writeln!(out, "      Reason:\t{reason}");
        }
    }
}

fn resources(out: &mut String, resources: &Value) {
    for (title, key) in [("Limits", "limits"), ("Requests", "requests")] {
        let entries = pairs(&resources[key]);
        if !entries.is_empty() {
            let _ = writeln!(out, "    {title}:");
        }
        for (name, quantity) in entries {
            let _ = writeln!(out, "      {name}:\t{}", plain(quantity));
        }
    }
}

fn probes(out: &mut String, container: &Value) {
    let probes =
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")];
    for (title, key) in probes {
        if !container[key].is_null() {
            let _ = writeln!(out, "    {title}:\t{}", probe(&container[key]));
        }
    }
}

fn probe(probe: &Value) -> String {
    let number = |key: &str| probe[key].as_i64().unwrap_or(0);
    let attributes = format!(
        "delay={}s timeout={}s period={}s successThreshold={} failureThreshold={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold"),
    );
    let (exec, http, tcp) = (&probe["exec"], &probe["httpGet"], &probe["tcpSocket"]);
    if !exec.is_null() {
        let words: Vec<&str> = list(&exec["command"]).iter().map(text).collect();
        format!("exec [{}] {attributes}", words.join(" "))
    } else if !http.is_null() {
        let scheme = text(&http["scheme"]).to_lowercase();
        let host = text(&http["host"]);
        format!("http-get {scheme}://{host}:{}{} {attributes}", plain(&http["port"]), text(&http["path"]))
    } else if !tcp.is_null() {
        format!("tcp-socket {}:{} {attributes}", text(&tcp["host"]), plain(&tcp["port"]))
    } else if !probe["grpc"].is_null() {
        let grpc = &probe["grpc"];
        format!("grpc <pod>:{} {} {attributes}", plain(&grpc["port"]), text(&grpc["service"]))
    } else {
        format!("unknown {attributes}")
    }
}

fn environment_sources(out: &mut String, sources: &Value) {
    if list(sources).is_empty() {
        return;
    }
    let _ = writeln!(out, "    Environment Variables from:");
    for source in list(sources) {
        let (kind, object) = if source["configMapRef"].is_null() {
            ("Secret", &source["secretRef"])
        } else {
            ("ConfigMap", &source["configMapRef"])
        };
        let prefix = match text(&source["prefix"]) {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        let _ = writeln!(
            out,
            "      {}\t{kind}{prefix}\tOptional: {}",
            text(&object["name"]),
            object["optional"] == true
        );
    }
}

fn environment(out: &mut String, variables: &Value, pod: &Value) {
    let none = if list(variables).is_empty() { "\t<none>" } else { "" };
    let _ = writeln!(out, "    Environment:{none}");
    for variable in list(variables) {
        let (name, source) = (text(&variable["name"]), &variable["valueFrom"]);
        let shown = if source.is_null() {
            text(&variable["value"]).replace('\n', "\n      \t")
        } else {
            from_source(source, pod)
        };
        let _ = writeln!(out, "      {name}:\t{shown}");
    }
}

fn from_source(source: &Value, pod: &Value) -> String {
    let (field, resource) = (&source["fieldRef"], &source["resourceFieldRef"]);
    let (secret, map) = (&source["secretKeyRef"], &source["configMapKeyRef"]);
    if !field.is_null() {
        let path = text(&field["fieldPath"]);
        // Like kubectl, which tells names and the like but no field of spec or status.
        let pointer = Some(path)
            .filter(|path| path.starts_with("metadata."))
            .map(|path| format!("/{}", path.replace('.', "/")));
        let value = pointer.and_then(|pointer| pod.pointer(&pointer)).map(plain).unwrap_or_default();
        format!("{value} ({}:{path})", text(&field["apiVersion"]))
    } else if !resource.is_null() {
        format!(" ({})", text(&resource["resource"]))
    } else if !secret.is_null() {
        let (key, name) = (text(&secret["key"]), text(&secret["name"]));
        format!("<set to the key '{key}' in secret '{name}'>\tOptional: {}", secret["optional"] == true)
    } else {
        let (key, name) = (text(&map["key"]), text(&map["name"]));
        format!("<set to the key '{key}' of config map '{name}'>\tOptional: {}", map["optional"] == true)
    }
}

fn mounts(out: &mut String, mounts: &Value) {
    let mut sorted: Vec<&Value> = list(mounts).iter().collect();
    sorted.sort_by_key(|mount| text(&mount["mountPath"]));
    let none = if sorted.is_empty() { "\t<none>" } else { "" };
    let _ = writeln!(out, "    Mounts:{none}");
    for mount in sorted {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        let path = match text(&mount["subPath"]) {
            "" => String::new(),
            path => format!(",path={path:?}"),
        };
        let _ =
            writeln!(out, "      {} from {} ({mode}{path})", text(&mount["mountPath"]), text(&mount["name"]));
    }
}
