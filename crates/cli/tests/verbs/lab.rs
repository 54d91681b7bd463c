//! The lab, verb by verb, as far as it needs no container.

use crate::cluster::{Cluster, Run};

fn ok(run: &Run) -> &str {
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    &run.out
}

#[test]
fn the_lab_from_deployment_to_service() {
    let cluster = Cluster::start();
    let created = cluster.sluice(&[
        "create",
        "deployment",
        "podinfo",
        "--image=stefanprodan/podinfo",
        "--replicas=3",
        "--port=9898",
    ]);
    assert_eq!(ok(&created), "deployment.apps/podinfo created\n");
    let done = cluster.sluice(&["wait", "--for=condition=Available", "deployment/podinfo"]);
    assert_eq!(ok(&done), "deployment.apps/podinfo condition met\n");
    let manifest = cluster.sluice(&[
        "expose",
        "deployment",
        "podinfo",
        "--port",
        "80",
        "--target-port",
        "9898",
        "--dry-run=client",
        "-o",
        "yaml",
    ]);
    assert!(
        ok(&manifest).starts_with("apiVersion: v1\nkind: Service\nmetadata:\n  creationTimestamp: null\n")
    );
    let file = cluster.file("podinfo-clusterip.yaml", &manifest.out);
    assert_eq!(ok(&cluster.sluice(&["apply", "-f", &file])), "service/podinfo created\n");
    let piped =
        cluster.sluice_with(&["apply", "-f", "-"], &manifest.out.replace("  creationTimestamp: null\n", ""));
    assert_eq!(ok(&piped), "service/podinfo configured\n");
    two_tables(&cluster);
    let scaled = cluster.sluice(&["scale", "deployment", "podinfo", "--replicas=1"]);
    assert_eq!(ok(&scaled), "deployment.apps/podinfo scaled\n");
    let ready = cluster.sluice(&["wait", "--for=jsonpath={.status.readyReplicas}=1", "deploy/podinfo"]);
    assert_eq!(ok(&ready), "deployment.apps/podinfo condition met\n");
    let deleted = cluster.sluice(&["delete", "service,deployment", "podinfo"]);
    let expected = "service \"podinfo\" deleted from default namespace\ndeployment.apps \"podinfo\" deleted from default namespace\n";
    assert_eq!(ok(&deleted), expected);
    let gone = cluster.sluice(&["get", "service", "podinfo"]);
    assert_eq!(
        (gone.code, gone.err.as_str()),
        (1, "Error from server (NotFound): services \"podinfo\" not found\n")
    );
}

fn two_tables(cluster: &Cluster) {
    let tables = cluster.sluice(&["get", "service,endpoints", "-l", "app=podinfo"]);
    let address = cluster.sluice(&["get", "service", "podinfo", "-o", "jsonpath={.spec.clusterIP}"]).out;
    assert!(address.starts_with("10.96."), "{address}");
    let lines: Vec<Vec<&str>> = tables.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    assert_eq!(lines[1][..5], ["service/podinfo", "ClusterIP", &address, "<none>", "80/TCP"]);
    assert!(lines[2].is_empty());
    assert_eq!(lines[3], ["NAME", "ENDPOINTS", "AGE"]);
    let endpoints: Vec<&str> = lines[4][1].split(',').collect();
    assert_eq!((lines[4][0], endpoints.len()), ("endpoints/podinfo", 3));
    assert!(endpoints.iter().all(|endpoint| endpoint.starts_with("10.244.") && endpoint.ends_with(":9898")));
    let warning = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n";
    assert_eq!((tables.code, tables.err.as_str()), (0, warning));
}

#[test]
fn bad_manifests_change_nothing_and_are_named() {
    let cluster = Cluster::start();
    let service = |name: &str, spec: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n{spec}")
    };
    let cases = [
        (
            "unknown-field",
            service("a", "  prots: []\n  ports: [{port: 80}]\n"),
            "unknown field \"spec.prots\"",
        ),
        (
            "port",
            service("a", "  ports: [{port: 70000}]\n"),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "unnamed",
            service("a", "  ports: [{port: 80}, {port: 81}]\n"),
            "spec.ports[0].name: Required value",
        ),
        (
            "outside",
            service("a", "  clusterIP: 10.1.1.1\n  ports: [{port: 80}]\n"),
            "The range of valid IPs is 10.96.0.0/16",
        ),
        ("name", service("Xy_", "  ports: [{port: 80}]\n"), "metadata.name: Invalid value: \"Xy_\""),
        (
            "kind",
            "apiVersion: v1\nkind: Wibble\nmetadata: {name: a}\n".to_owned(),
            "no matches for kind \"Wibble\" in version \"v1\"",
        ),
        ("yaml", "apiVersion: v1\nkind: [\n".to_owned(), "error converting YAML to JSON: yaml: line"),
        ("nothing", String::new(), "error: no objects passed to apply"),
    ];
    for (name, text, expected) in cases {
        let file = cluster.file(&format!("{name}.yaml"), &text);
        let told = cluster.sluice(&["apply", "-f", &file]);
        assert!(told.code == 1 && told.err.contains(expected) && told.out.is_empty(), "{name}: {told:?}");
    }
    assert_eq!(cluster.sluice(&["get", "services", "-o", "name"]).out, "service/kubernetes\n");
}

#[test]
fn objects_are_labelled_patched_described_and_watched() {
    let cluster = Cluster::start();
    ok(&cluster.sluice(&["run", "nginx", "--image=nginx", "--port=80"]));
    ok(&cluster.sluice(&["wait", "--for=condition=Ready", "pod/nginx"]));
    assert_eq!(ok(&cluster.sluice(&["label", "pod", "nginx", "tier=front"])), "pod/nginx labeled\n");
    let again = cluster.sluice(&["label", "pod", "nginx", "tier=back"]);
    assert_eq!(again.err, "error: 'tier' already has a value (front), and --overwrite is false\n");
    assert_eq!(ok(&cluster.sluice(&["get", "pods", "-l", "tier=front", "-o", "name"])), "pod/nginx\n");
    assert_eq!(ok(&cluster.sluice(&["expose", "pod", "nginx", "--name=web"])), "service/web exposed\n");
    let described = cluster.sluice(&["describe", "pod", "nginx"]);
    assert!(
        ok(&described).contains("Labels:           run=nginx\n                  tier=front\n"),
        "{}",
        described.out
    );
    let service = cluster.sluice(&["describe", "service", "web"]);
    assert!(ok(&service).contains("Port:                     <unset>  80/TCP\n"), "{}", service.out);
    assert!(ok(&cluster.sluice(&["describe", "node", "worker-1"])).contains("PodCIDR:"));
    let patched = cluster.sluice(&["patch", "service", "web", "-p", r#"{"spec":{"clusterIP":"10.96.1.1"}}"#]);
    assert!(
        patched.err.starts_with("The Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: "),
        "{patched:?}"
    );
    assert_eq!(
        ok(&cluster.sluice(&["delete", "pod", "nginx"])),
        "pod \"nginx\" deleted from default namespace\n"
    );
    let none = cluster.sluice(&["get", "pods"]);
    assert_eq!(
        (none.code, none.out.as_str(), none.err.as_str()),
        (0, "", "No resources found in default namespace.\n")
    );
}

#[test]
fn a_pod_that_is_not_there_cannot_be_entered() {
    let cluster = Cluster::start();
    for verb in ["exec", "logs"] {
        let words: &[&str] = if verb == "exec" { &["exec", "nope", "--", "ls"] } else { &["logs", "nope"] };
        let told = cluster.sluice(words);
        assert!(told.code == 1 && told.err.contains("pods \"nope\" not found"), "{told:?}");
    }
}
