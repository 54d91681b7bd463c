//! All scenarios: what kube-proxy did with their packets, against the files' own lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use testnet::harness::Trial;
use testnet::oracle::kube_proxy;
use testnet::oracle::scenario::{ScenarioRecording, compare, play};
use testnet::scenario::Scenario;

use super::{done, program, recording, updates};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("scenarios", || done(lines_agree(&read()))),
        Trial::new("kube_proxy::scenarios", || done(kube_proxy_agrees())),
    ]
}

/// The lines that were recorded say what kube-proxy did. Those that are newer are counted.
fn lines_agree(recording: &ScenarioRecording) -> Vec<String> {
    let (mut differences, mut counts) = (Vec::new(), BTreeMap::<_, u32>::new());
    for scenario in scenarios() {
        for node in &scenario.facts.nodes {
            let (different, counted) = compare(&scenario, node, recording);
            differences.extend(different);
            counted.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        }
    }
    eprintln!("scenarios: packet lines: {counts:?}");
    differences
}

/// kube-proxy does what the files say, or is recorded.
fn kube_proxy_agrees() -> Vec<String> {
    let program = program();
    let version = kube_proxy::version(&program).unwrap();
    let mut played = ScenarioRecording::default();
    played.version = version;
    for scenario in scenarios().iter().filter(|scenario| scenario.has_packets()) {
        for node in &scenario.facts.nodes {
            play(&program, scenario, node, &mut played)
                .unwrap_or_else(|error| panic!("{}: {error:?}", scenario.file));
        }
    }
    if updates() {
        fs::write(recording("scenarios"), played.to_string()).unwrap();
    }
    lines_agree(&played)
}

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "scenario"));
    paths.sort();
    let only = std::env::var("ORACLE_SCENARIO").ok();
    let wanted =
        |path: &&std::path::PathBuf| only.as_ref().is_none_or(|only| path.to_string_lossy().contains(only));
    let parse = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        Scenario::parse(&format!("scenarios/{name}"), &fs::read_to_string(path).unwrap()).unwrap()
    };
    paths.iter().filter(wanted).map(parse).collect()
}

fn read() -> ScenarioRecording {
    let path = recording("scenarios");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ScenarioRecording::parse(&text)
        .unwrap_or_else(|line| panic!("{}:{line} is not understood", path.display()))
}
