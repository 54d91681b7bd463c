//! What needs no server: usage errors, generated manifests, the overview.

use std::process::Command;

use crate::cluster::{Run, run};

fn sluice(words: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(words).env("HOME", "/nonexistent").env_remove("KUBECONFIG");
    run(command, "")
}

#[test]
fn mistakes_are_told_in_kubectls_words_with_exit_code_1() {
    let cases: [(&[&str], &str); 12] = [
        (&["create", "deployment", "web"], "error: required flag(s) \"image\" not set"),
        (
            &["create", "deployment", "web", "--image=nginx", "--dry-run=foo"],
            "error: Invalid dry-run value (foo). Must be \"none\", \"server\", or \"client\".",
        ),
        (&["create", "service", "clusterip", "x"], "error: at least one tcp port specifier must be provided"),
        (&["create"], "error: must specify one of -f and -k"),
        (&["run", "x"], "error: required flag(s) \"image\" not set"),
        (
            &["get", "pods", "--frobnicate"],
            "error: unknown flag: --frobnicate\nSee 'sluice get --help' for usage.",
        ),
        (
            &["get", "pods", "-q"],
            "error: unknown shorthand flag: 'q' in -q\nSee 'sluice get --help' for usage.",
        ),
        (&["scale", "deployment/x"], "error: required flag(s) \"replicas\" not set"),
        (&["apply", "-f", "/nonexistent/x.yaml"], "error: the path \"/nonexistent/x.yaml\" does not exist"),
        (&["completion", "tcsh"], "error: unsupported shell type \"tcsh\""),
        (
            &["port-forward", "pod/x", "80"],
            "error: `port-forward` is not a command of sluice: not yet: reach a service from a pod, `sluice exec -it POD -- curl SERVICE`",
        ),
        (
            &["frobnicate"],
            "error: unknown command \"frobnicate\" for \"sluice\"\nRun 'sluice --help' for usage.",
        ),
    ];
    for (words, expected) in cases {
        let told = sluice(words);
        assert_eq!((told.code, told.err.trim_end()), (1, expected), "{words:?}");
        assert_eq!(told.out, "", "{words:?}");
    }
}

#[test]
fn manifests_are_generated_without_a_server() {
    let deployment = sluice(&[
        "create",
        "deployment",
        "web",
        "--image=nginx",
        "--port=80",
        "--dry-run=client",
        "-o",
        "yaml",
    ]);
    assert_eq!(deployment.out, include_str!("testdata/create-deployment.yaml"));
    let pod = sluice(&["run", "x", "--image=nginx", "--dry-run=client", "-o", "json"]);
    assert_eq!(pod.out, include_str!("testdata/run.json"));
    let service = sluice(&[
        "create",
        "service",
        "clusterip",
        "svc1",
        "--tcp=80:9898",
        "--dry-run=client",
        "-o",
        "yaml",
    ]);
    assert_eq!(service.out, include_str!("testdata/create-service.yaml"));
    let named = sluice(&["create", "namespace", "foo", "--dry-run=client"]);
    assert_eq!((named.out.as_str(), named.code), ("namespace/foo created (dry run)\n", 0));
}

#[test]
fn overview_help_and_completion_end_well() {
    let overview = sluice(&[]);
    assert!(overview.out.contains("sluice demo") && overview.code == 0, "{overview:?}");
    let help = sluice(&["get", "--help"]);
    assert!(help.out.contains("--all-namespaces") && help.code == 0, "{help:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = sluice(&["completion", shell]);
        assert!(script.out.contains("sluice") && script.code == 0, "{shell}");
    }
}

#[test]
fn the_programs_own_version_needs_no_server() {
    let version = sluice(&["version", "--client"]);
    assert!(version.out.starts_with("Client Version: v") && version.code == 0, "{version:?}");
}

#[test]
fn a_server_that_does_not_answer_is_told() {
    let file = std::env::temp_dir().join(format!("sluice-refused-{}", std::process::id()));
    let config = r#"{"apiVersion":"v1","kind":"Config","current-context":"a","clusters":[{"name":"a","cluster":{"server":"https://127.0.0.1:1"}}],"users":[],"contexts":[{"name":"a","context":{"cluster":"a","user":""}}]}"#;
    std::fs::write(&file, config).unwrap();
    let told = sluice(&["get", "pods", "--kubeconfig", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let expected =
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n";
    assert_eq!((told.code, told.err.as_str()), (1, expected));
}
